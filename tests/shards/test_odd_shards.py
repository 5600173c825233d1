"""Shards as people pack them: what is no pair is counted, with a remedy; what is packed is read whole."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from chorograph.area.folder import Area
from chorograph.ground.errors import AreaError, ImageError, InputError
from chorograph.shards.folder_pairs import holds_pairs
from chorograph.shards.pairs import expand_shards, open_pairs

N = range(8)


def tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def pairs(image: str, text: str) -> list[tuple[str, bytes]]:
    return [member for n in N for member in ((image.format(n), b"image"), (text.format(n), b"a road"))]


SHARDS = {
    "latlon": (pairs("tile_34.05{}_-118.jpg", "tile_34.05{}_-118.txt"), "8 x name with a dot.*tile_34.*rename"),
    "twopart": (pairs("{}.input.jpg", "{}.output.txt"), "8 x name with a dot.*0.input.jpg.*rename"),
    "unsorted": (
        sorted(pairs("{}.jpg", "{}.txt"), key=lambda member: member[0][-3:]),
        r"8 x image without a caption \(0.jpg\).*8 x duplicate key.*--sort=name",
    ),
    "folders": (pairs("images/{}.jpg", "captions/{}.txt"), r"8 x image without a caption \(images/0.jpg\).*one name"),
    "other json": (
        [m for n in N for m in ((f"{n}.jpg", b"1"), (f"{n}.json", b'{"text": "a road"}'))],
        r"8 x json without a caption \(0.jpg \+ json\).*`caption` or `captions`",
    ),
    "absolute": (pairs("/data/{}.jpg", "/data/{}.txt"), "16 x member leads out of the shard.*tar -C FOLDER"),
    "other format": (pairs("{}.heic", "{}.txt"), r"8 x caption without an image \(0.heic \+ txt\); images end in jpg"),
    "nothing": ([], "empty"),
}


@pytest.mark.parametrize("case", SHARDS)
def test_no_pair_comes_with_reasons_an_example_and_a_remedy(case: str, tmp_path: Path) -> None:
    members, said = SHARDS[case]
    counted: Counter[str] = Counter()
    with pytest.raises(InputError, match=said):
        open_pairs([tar(tmp_path / "a.tar", members)], lambda reason: counted.update([reason]))
    assert sum(counted.values()) in (0, 8, 16)


def test_a_shard_that_is_none_is_named_among_others(tmp_path: Path) -> None:
    tar(tmp_path / "0.tar", [*pairs("{}.jpg", "{}.txt"), ("8.jpg", b"1"), ("8.png", b"2"), ("8.txt", b"a road")])
    (tmp_path / "1.tar").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    counted: Counter[str] = Counter()
    opened = open_pairs([tmp_path], lambda reason: counted.update([reason]))
    assert len(opened) == 9
    assert counted.pop("second image of one key") == 1
    assert [(reason.startswith("1.tar is a Git LFS pointer"), number) for reason, number in counted.items()] == [
        (True, 1)
    ]


def test_a_page_named_tar_is_a_page(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"<html>404 not found</html>" * 50)
    with pytest.raises(InputError, match=r"a\.tar is a web page"):
        open_pairs([tmp_path / "a.tar"], lambda reason: None)


def test_all_captions_of_a_json_are_read(tmp_path: Path) -> None:
    five = [f"caption {n}" for n in range(5)]
    listed = json.dumps({"captions": five}).encode()
    members = [("a.jpg", b"1"), ("a.txt", b"caption 0"), ("a.json", listed), ("b.jpg", b"2"), ("b.txt", b"a road")]
    opened = open_pairs([tar(tmp_path / "a.tar", members)], lambda reason: None)
    assert [opened.captions(row) for row in range(2)] == [tuple(five), ("a road",)]
    assert opened.numbers.tolist() == [5, 1]
    both = json.dumps({"caption": five[:2]}).encode()
    opened = open_pairs([tar(tmp_path / "b.tar", [("a.jpg", b"1"), ("a.json", both)])], lambda reason: None)
    assert opened.captions(0) == ("caption 0", "caption 1")


def _folder(root: Path) -> Path:
    for n in N:
        (root / "sub").mkdir(parents=True, exist_ok=True)
        (root / "sub" / f"{n}.jpg").write_bytes(b"%d" % n)
    return root


def test_a_folder_of_pairs(tmp_path: Path) -> None:
    root = _folder(tmp_path / "f")
    for n in range(6):
        (root / "sub" / f"{n}.txt").write_text(f"road {n}\n")
    (root / "sub" / "other.txt").write_text("nobody's")
    counted: Counter[str] = Counter()
    opened = open_pairs([root], lambda reason: counted.update([reason]))
    assert opened.keys == tuple(f"sub/{n}.jpg" for n in range(6))
    assert (opened.captions(3), opened.image(3)) == (("road 3",), b"3")
    assert counted == {"image without a caption": 2, "caption without an image": 1}
    assert expand_shards([root]) == [root]


@pytest.mark.parametrize("name", ["train.csv", "train.tsv", "metadata.jsonl"])
def test_tables_of_pairs(name: str, tmp_path: Path) -> None:
    root = _folder(tmp_path / "f")
    rows = [(f"sub/{n % 6}.jpg", f"road {n}") for n in range(8)] + [("sub/none.jpg", "x"), ("sub/1.jpg", "")]
    mark = "\t" if name.endswith("tsv") else ","
    if name.endswith("jsonl"):
        text = "".join(json.dumps({"file_name": file, "text": said}) + "\n" for file, said in rows)
    else:
        text = "".join(f"{file}{mark}{said}\n" for file, said in [("filepath", "title"), *rows])
    (root / name).write_text(text)
    counted: Counter[str] = Counter()
    for place in (root / name, root):
        opened = open_pairs([place], lambda reason: counted.update([reason]))
        assert len(opened) == 6
        assert opened.captions(0) == ("road 0", "road 6")
    assert counted == {"image is not there": 2, "row without a file name or caption": 2}


def test_a_table_names_no_file_of_outside(tmp_path: Path) -> None:
    root = _folder(tmp_path / "f")
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (root / "train.csv").write_text("filepath,title\nsub/1.jpg,a road\n../secret.jpg,a secret\n")
    with pytest.raises(InputError, match=r"train\.csv, row 3: .*leads out"):
        open_pairs([root / "train.csv"], lambda reason: None)


def test_an_image_that_vanished_is_missing(tmp_path: Path) -> None:
    root = _folder(tmp_path / "f")
    (root / "sub" / "1.txt").write_text("a road")
    opened = open_pairs([root], lambda reason: None)
    (root / "sub" / "1.jpg").unlink()
    with pytest.raises(ImageError, match="missing"):
        opened.image(0)


def test_what_is_no_area_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    tar(tmp_path / "sub" / "0.tar", pairs("{}.jpg", "{}.txt"))
    (tmp_path / "train.csv").write_text("filepath,title\n")
    (tmp_path / "a.pt").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert not holds_pairs(tmp_path / "sub")
    for place, said in {
        ".": "shards lie in .*sub",
        "train.csv": r"a table \(CSV\)",
        "a.pt": "Git LFS",
        "no": "exist",
    }.items():
        with pytest.raises(AreaError, match=said):
            Area.open(tmp_path / place)


def test_a_table_without_images_says_why(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("filepath,title\na.jpg,a road\nb.jpg,\n")
    with pytest.raises(
        InputError, match=r"1 x image is not there \(a.jpg\), 1 x row without a file name or caption \(.*row 3\); give"
    ):
        open_pairs([tmp_path / "train.csv"], lambda reason: None)
