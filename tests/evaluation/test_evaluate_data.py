from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny

from chorograph.acquisition.layouts.rsicd import import_rsicd
from chorograph.acquisition.own.image_folder import import_image_folder
from chorograph.area.folder import Area
from chorograph.evaluation.examples.layouts import of_role, read_captioned, read_classified
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger


def _kinds(data: Path) -> list[tuple[str, str]]:
    return [(example.file.name, str(example.kind)) for example in read_classified(data, Ledger())]


@pytest.mark.parametrize("below", ["", "2750"])
def test_class_folders_also_one_folder_further_down(tmp_path: Path, below: str) -> None:
    tiny.write_classes(tmp_path / "set" / below, ["AnnualCrop", "River"], 2)
    expected = [(f"{k.lower()}_{n}.jpg", k) for k in ("AnnualCrop", "River") for n in (0, 1)]
    assert _kinds(tmp_path / "set") == expected


def test_class_folders_below_roles(tmp_path: Path) -> None:
    for role in ("train", "test"):
        tiny.write_classes(tmp_path / role, ["a", "b"], 1 if role == "test" else 3)
    examples = read_classified(tmp_path, Ledger())
    assert len(of_role(examples, "train")) == 6
    assert len(of_role(examples, "test")) == 2
    assert len({example.key for example in examples}) == 8
    with pytest.raises(InputError, match="role val; the data has test, train"):
        of_role(examples, "val")


def test_an_area_with_classes_and_a_given_split(tmp_path: Path) -> None:
    tiny.write_classes(tmp_path / "set", ["a", "b"], 2)
    import_image_folder(tmp_path / "set", tmp_path / "area", Ledger())
    area = Area.open(tmp_path / "area")
    split = area.images[["image_id"]].assign(role=["train", "test", "train", "test"])
    area.write_split("held", split)
    examples = read_classified(tmp_path / "area", Ledger(), split="held")
    assert [example.kind for example in examples] == ["a", "a", "b", "b"]
    assert [example.kind for example in of_role(examples, "test")] == ["a", "b"]
    assert [example.role for example in read_classified(tmp_path / "area", Ledger())] == [None] * 4


def _csv(tmp_path: Path, encoding: str, word: str = "river") -> Path:
    return tiny.write_captions_csv(tmp_path / "rsicd" / "rsicd_test.csv", 3, "RSICD_images", encoding, word)


@pytest.mark.parametrize(("encoding", "word"), [("utf-8", "réservoir"), ("gb18030", "水库"), ("utf-8-sig", "river")])
def test_five_captions_an_image_as_a_table(tmp_path: Path, encoding: str, word: str) -> None:
    path = _csv(tmp_path, encoding, word)
    for data in (path, path.parent):
        examples = read_captioned(data, Ledger())
        assert [example.key for example in examples] == ["0.tif", "1.tif", "2.tif"]
        assert [len(example.captions) for example in examples] == [5, 5, 5]
        assert examples[0].captions[4] == f"a {word}, number 0 and 4"
        assert examples[0].file.parent.name == "RSICD_images"


def test_karpathy_splits(tmp_path: Path) -> None:
    images = [
        {"filename": f"{n}.tif", "split": role, "sentences": [{"raw": f"road {n}"}, {"raw": " "}]}
        for n, role in enumerate(["train", "val", "test"])
    ]
    for n in range(3):
        tiny.write_picture(tmp_path / "imgs" / f"{n}.tif", n)
    (tmp_path / "dataset_ucm.json").write_text(json.dumps({"images": images, "dataset": "UCM"}))
    ledger = Ledger()
    examples = read_captioned(tmp_path, ledger)
    assert ledger.dropped["empty caption"] == 3
    assert [example.captions for example in of_role(examples, "test")] == [("road 2",)]


def test_nwpu_captions(tmp_path: Path) -> None:
    content = {
        kind: [
            {
                "filename": "001.jpg",
                "split": "test",
                "raw": f"a {kind}",
                **{f"raw_{n}": f"{kind} {n}" for n in range(1, 5)},
            }
        ]
        for kind in ("airplane", "bridge")
    }
    for number, kind in enumerate(content):
        tiny.write_picture(tmp_path / "NWPU_images" / kind / "001.jpg", number)
    (tmp_path / "dataset_nwpu.json").write_text(json.dumps(content))
    examples = read_captioned(tmp_path, Ledger())
    assert [len(example.captions) for example in examples] == [5, 5]
    # The file name alone says nothing here: the class folder decides.
    assert [example.file.parent.name for example in examples] == ["airplane", "bridge"]
    assert [example.kind for example in read_classified(tmp_path, Ledger())] == ["airplane", "bridge"]


def test_plain_lists_of_captions(tmp_path: Path) -> None:
    for n in range(2):
        tiny.write_picture(tmp_path / f"{n}.jpg", n)
    grouped = [{"image": f"{n}.jpg", "class": "Pond", "captions": [f"pond {n}", "water"]} for n in range(2)]
    flat = [{"image": f"{n}.jpg", "caption": text} for n in range(2) for text in (f"pond {n}", "water")]
    coco = {
        "images": [{"id": 7 + n, "file_name": f"{n}.jpg"} for n in range(2)],
        "annotations": [
            {"image_id": 7 + n, "caption": text, "id": n} for n in range(2) for text in (f"pond {n}", "water")
        ],
    }
    for content in (grouped, flat, [flat], coco):
        (tmp_path / "captions.json").write_text(json.dumps(content))
        examples = read_captioned(tmp_path, Ledger())
        assert [example.captions for example in examples] == [("pond 0", "water"), ("pond 1", "water")]


def test_a_corpus(tmp_path: Path) -> None:
    tiny.write_picture(tmp_path / "src" / "images" / "a.jpg", 0)
    (tmp_path / "src" / "captions.json").write_text(
        json.dumps([{"image": "a.jpg", "class": "Pond", "captions": ["a pond", "water"]}])
    )
    import_rsicd(tmp_path / "src", tmp_path / "area", Ledger())
    assert [e.captions for e in read_captioned(tmp_path / "area", Ledger())] == [("a pond", "water")]
    assert [e.kind for e in read_classified(tmp_path / "area", Ledger())] == ["Pond"]


@pytest.mark.real
def test_the_public_rsicd(real_data) -> None:  # type: ignore[no-untyped-def]
    folder = real_data("rsicd")
    classified, captioned = read_classified(folder, Ledger()), read_captioned(folder, Ledger())
    assert len(classified) == len(captioned) == 3000
    assert len({example.kind for example in classified}) == 30
    assert sum(len(example.captions) for example in captioned) == 15000


def test_a_class_folder_without_images_is_named(tmp_path: Path) -> None:
    tiny.write_classes(tmp_path, ["a", "b"], 1)
    (tmp_path / "Empty").mkdir()
    with pytest.raises(InputError, match="Empty holds no images"):
        read_classified(tmp_path, Ledger())


def test_a_missing_image_is_named_with_its_row(tmp_path: Path) -> None:
    path = _csv(tmp_path, "utf-8")
    (path.parent / "RSICD_images" / "1.tif").unlink()
    with pytest.raises(InputError, match=r"rsicd_test\.csv, row 7: image '1\.tif' is not below"):
        read_captioned(path, Ledger())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"picture;caption\n", "needs columns filepath and title, not picture, caption"),
        ("x.csv", b"filename,title\n", "lists no images"),
        ("x.csv", b"filename,title\na.jpg\n", "row 2: the name of its image or its caption is missing"),
        ("x.csv", b"filename,title\n\xff\x81\x8d,x\n", "line 2 is not UTF-8"),
        ("captions.json", b"{", "not readable JSON"),
        ("captions.json", b"[]", "not a list of images"),
        ("captions.json", b'[{"image": "a.jpg"}]', "image 1 lacks 'captions'"),
        ("dataset_x.json", b'{"images": [{"filename": "a.jpg", "sentences": []}]}', "image 1 lacks 'split'"),
        ("dataset_x.json", b'{"airplane": [7]}', "image 1 lacks"),
        (
            "captions.json",
            b'{"images": [], "annotations": [{"image_id": 3, "caption": "x"}]}',
            "COCO's form: it lacks '3'",
        ),
        ("note.txt", b"", "holds no caption file"),
    ],
)
def test_caption_files_that_are_not_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_captioned(tmp_path, Ledger())


def test_what_could_be_meant_twice_is_asked_back(tmp_path: Path) -> None:
    for name in ("a_test.csv", "b_test.csv"):
        (tmp_path / name).write_text("filename,title\n0.jpg,x\n")
    with pytest.raises(InputError, match="say which"):
        read_captioned(tmp_path, Ledger())
    tiny.write_picture(tmp_path / "one" / "0.jpg", 0)
    tiny.write_picture(tmp_path / "two" / "0.jpg", 1)
    with pytest.raises(InputError, match="could be"):
        read_captioned(tmp_path / "a_test.csv", Ledger())


def test_captions_without_classes_are_no_classification(tmp_path: Path) -> None:
    tiny.write_picture(tmp_path / "0.jpg", 0)
    (tmp_path / "captions.json").write_text('[{"image": "0.jpg", "captions": ["x"]}]')
    with pytest.raises(InputError, match="names no classes"):
        read_classified(tmp_path, Ledger())


def test_parts_are_read_by_any_of_their_names(tmp_path: Path) -> None:
    for part in ("Train", "validation", "TEST"):
        tiny.write_classes(tmp_path / part, ["a", "b"], 1)
    (tmp_path / "lost+found").mkdir()
    ledger = Ledger()
    examples = read_classified(tmp_path, ledger)
    assert sorted({example.role for example in examples if example.role}) == ["test", "train", "val"]
    assert {example.kind for example in examples} == {"a", "b"}
    assert sum(ledger.dropped.values()) == 1
