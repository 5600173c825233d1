"""Captions of images as people have them: texts beside, tables of file and title, metadata.jsonl."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chorograph.acquisition.own.imagery.pictures import find_pictures, folded, stem_of
from chorograph.acquisition.own.own_settings import Reading
from chorograph.acquisition.own.reading.tables import as_text, is_nested, read_table
from chorograph.ground.decoding import decoded
from chorograph.ground.errors import InputError
from chorograph.ground.files import MAX_TABLE, check_regular
from chorograph.ground.stage import Ledger

_FILE = ("filepath", "file_name", "filename", "file", "image", "image_id", "img", "path", "tile", "image_path")
_TEXT = ("caption", "title", "text", "sentence", "description")
#: A text beside a picture that is longer is no caption.
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Said:
    """One caption: what it calls its image, the sentence, and the place it stands at."""

    image: str
    caption: str
    where: str


def read_captions(source: Path, reading: Reading, ledger: Ledger) -> tuple[list[Said], dict[str, Path]]:
    """Return captions in order, and the pictures that lie beside them by their path.

    `source` is a table (CSV, TSV, Parquet, JSON lines) with a column of files and one or more of captions, or a folder:
    with `metadata.jsonl` or `metadata.csv`, or with a text of the same name beside each picture (every line a caption),
    in sub-folders too. Raises `InputError` naming file and line; a picture without a text is counted.
    """
    if source.is_dir():
        pictures = find_pictures(source, ledger)
        listed = next((path for name in ("metadata.jsonl", "metadata.csv") if (path := source / name).is_file()), None)
        said = _listed(listed, reading) if listed else list(_beside(pictures, reading, ledger))
    else:
        said, pictures = _listed(source, reading), {}
    if not said:
        raise InputError(
            f"{source} holds no captions: neither metadata.jsonl, metadata.csv nor a .txt beside a picture "
            f"({len(pictures)} pictures)"
        )
    return said, pictures


def match_images(said: Iterable[Said], known: Iterable[str]) -> tuple[list[tuple[str, Said]], list[Said]]:
    """Return (image id, caption) of captions whose image is known, and the others.

    An image is known by its id, by its path without suffix, or by its file name alone where that is of one image.
    """
    finder = image_finder(known)
    found, lost = [], []
    for one in said:
        image = finder(one.image)
        if image is None:
            lost.append(one)
        else:
            found.append((image, one))
    return found, lost


def image_finder(known: Iterable[str]) -> Callable[[str], str | None]:
    """Return a function from what a table calls an image to the image's id, None where it is none of `known`."""
    exact = {name: name for name in known}
    short: dict[str, str | None] = {}
    alike: dict[str, str | None] = {}
    for name in exact:
        alike[folded(name)] = None if folded(name) in alike else name
        stem = Path(stem_of(name)).name
        short[stem] = None if stem in short else name

    def find(name: str) -> str | None:
        plain = name.replace("\\", "/").removeprefix("./")
        found = exact.get(plain) or exact.get(stem_of(plain)) or short.get(Path(stem_of(plain)).name)
        return found or alike.get(folded(plain))

    return find


def _listed(path: Path, reading: Reading) -> list[Said]:
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return list(_of_json_lines(path))
    table = read_table(path, reading)
    file = table.need(_FILE)
    columns = [c for c in table.columns if c.lower() in _TEXT or any(c.lower().startswith(f"{t}_") for t in _TEXT)]
    if not columns:
        table.need(_TEXT)
    files = table.filled(file)
    texts = [[_sentences(cell) for cell in table.frame[column]] for column in columns]
    said = []
    for row, name in enumerate(files):
        where = f"{path}, {table.unit} {table.lines[row]}"
        sentences = [sentence for text in texts for sentence in text[row]]
        if not sentences:
            raise InputError(f"{path}: {columns[0]} is empty in {table.line(np.arange(len(files)) == row)}")
        said += [Said(name, sentence, where) for sentence in sentences]
    return said


def _sentences(cell: Any) -> list[str]:
    """Return the captions that a cell holds: one, or in Parquet a list of them."""
    parts = cell if is_nested(cell) else [cell]
    return [text for part in parts if (text := as_text(part)) is not None]


def _of_json_lines(path: Path) -> Iterator[Said]:
    check_regular(path, MAX_TABLE)
    text, _ = decoded(path, path.read_bytes(), None)
    for number, line in enumerate(text.split("\n"), start=1):  # other signs of a line's end may stand within JSON
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise InputError(f"{path}: line {number} is not an object with a file name and a caption")
        file = next((record[name] for name in _FILE if isinstance(record.get(name), str)), None)
        value = next((record[name] for name in (*_TEXT, "captions", "sentences") if name in record), None)
        sentences = [value] if isinstance(value, str) else value
        good = isinstance(sentences, list) and sentences and all(isinstance(s, str) and s.strip() for s in sentences)
        if file is None or not isinstance(sentences, list) or not good:
            raise InputError(
                f"{path}: line {number} needs a file ({', '.join(_FILE[:3])}…) and a text ({', '.join(_TEXT[:3])}…): "
                f"{line[:80]}"
            )
        for sentence in sentences:
            yield Said(file, sentence.strip(), f"{path}, line {number}")


def _beside(pictures: dict[str, Path], reading: Reading, ledger: Ledger) -> Iterator[Said]:
    """Yield the captions of texts that lie beside pictures, every filled line one."""
    for name, path in pictures.items():
        text = next((beside for s in (".txt", ".caption") if (beside := path.with_suffix(s)).is_file()), None)
        if text is None:
            ledger.drop("picture without a caption")
            continue
        if text.stat().st_size > _MOST_BYTES:
            raise InputError(f"{text} is too long for a caption")
        content, _ = decoded(text, text.read_bytes(), reading.encoding)
        lines = [(number, line.strip()) for number, line in enumerate(content.splitlines(), start=1) if line.strip()]
        if not lines:
            ledger.drop("picture whose caption is empty")
        for number, line in lines:
            yield Said(name, line, f"{text}, line {number}")
