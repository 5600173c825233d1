"""Tables of captions as people have them: every form says the same, and what would be read wrong is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chorograph.ground.errors import InputError
from chorograph.shards.caption_tables import ImageFiles, by_image, read_caption_rows
from chorograph.shards.pairs import open_pairs

SAID = {"images/0.jpg": ("a road", "a café"), "images/1.jpg": ("a river",)}
ROWS = [(name, caption) for name, captions in SAID.items() for caption in captions]
COCO = {
    "images": [{"id": number, "file_name": name} for number, name in enumerate(SAID)],
    "annotations": [{"image_id": str(list(SAID).index(name)), "caption": caption} for name, caption in ROWS],
}
KARPATHY = {
    "images": [
        {"filename": name, "split": "test", "sentences": [{"raw": caption} for caption in captions]}
        for name, captions in SAID.items()
    ]
}


def _csv(separator: str, header: str = "filepath,title") -> str:
    return "".join(f"{separator.join(row)}\r\n" for row in [header.split(","), *ROWS])


FORMS = {
    "a.csv": _csv(",").encode("utf-8-sig"),
    "b.csv": _csv(";", "Image,Caption").encode("cp1252"),
    "c.tsv": ("\n" + _csv("\t")).encode("utf-16"),
    "d.csv": _csv("|", "image_name,comment").replace("/", "\\").encode(),
    "e.jsonl": "".join(json.dumps({"file_name": name, "text": said}) + "\n" for name, said in ROWS).encode("utf-16"),
    "f.jsonl": json.dumps([{"image": name, "captions": said} for name, said in SAID.items()]).encode(),
    "g.json": "".join(json.dumps({"file_name": name, "text": said}) + "\n" for name, said in SAID.items()).encode(),
    "h.json": json.dumps([[{"image": name, "caption": said}] for name, said in ROWS]).encode("utf-8-sig"),
    "i.json": json.dumps(SAID).encode(),
    "j.json": json.dumps(COCO).encode(),
    "k.json": json.dumps(KARPATHY, indent=1).encode(),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_says_the_same(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FORMS[name])
    found = by_image(read_caption_rows(tmp_path / name))
    assert {image: row.captions for image, row in found.items()} == SAID
    for image in SAID:
        (tmp_path / image).parent.mkdir(exist_ok=True)
        (tmp_path / image).write_bytes(b"image")
    pairs = open_pairs([tmp_path / name], lambda reason: pytest.fail(reason))
    assert [pairs.captions(row) for row in range(len(pairs))] == list(SAID.values())


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.json", json.dumps({**COCO, "annotations": [{"image_id": 0, "caption": None}]}), "annotation 1 .*no text"),
        ("a.json", json.dumps({**COCO, "images": [{"id": 0, "file_name": "a"}] * 2}), "several images have the id '0'"),
        ("a.json", '[{"image": "0.jpg", "caption": NaN}]', "image 1 .*no text"),
        ("a.jsonl", '{"image": "0.jpg", "caption": "a"}\n{"image"\n', "row 2: no JSON"),
        ("a.csv", "images/0.jpg,a road\n", "its first line is a row"),
        ("a.csv", "url,caption\nhttp://x/0.jpg,a road\n", "chorograph curate"),
        ("a.csv", "<html>", "a web page"),
        ("a.tsv", "PAR1", "a Parquet table"),
    ],
)
def test_what_would_be_read_wrong_is_refused(name: str, data: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(data)
    with pytest.raises(InputError, match=said):
        list(read_caption_rows(tmp_path / name))


def test_a_guessed_encoding_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("file,text\n0.jpg,cafés and roads\n".encode("cp1252"))
    told: list[str] = []
    assert [row.captions for row in read_caption_rows(tmp_path / "a.csv", told.append)] == [("cafés and roads",)]
    assert "cp1252" in told[0]


def test_an_image_is_found_by_what_a_table_gives_of_its_path(tmp_path: Path) -> None:
    for name in ("a/0.JPG", "a/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    files = ImageFiles(tmp_path)
    assert files.find("0", "row 1") == files.find("/elsewhere/0.jpg", "row 1") == tmp_path / "a" / "0.JPG"
    assert files.find("b/1.png", "row 1") == tmp_path / "b" / "1.png"
    assert files.find("2.png", "row 1") is None
    with pytest.raises(InputError, match="row 4: image '1' could be"):
        files.find("1", "row 4")
