"""UrbanCLIP's caption files: pairs of sentence and image, in whichever nesting they were published."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from chorograph.ground.errors import InputError
from chorograph.ground.files import MAX_TABLE, check_regular


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Return (image, sentence) pairs, in order, of a .json or .json.gz file.

    A list for each image, one list for all (as released) and a plain list of records are all read. Raises
    `InputError` naming the file and the record that is not {"caption": text, "image": text}.
    """
    check_regular(path, MAX_TABLE)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_TABLE + 1)
        if len(data) > MAX_TABLE:
            raise InputError(f"{path} unpacks to more than {MAX_TABLE:,} bytes")
        content = json.loads(data.decode("utf-8"))
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not readable JSON: {error}") from error
    pairs = []
    for number, record in enumerate(_flat(content), start=1):
        if not isinstance(record, dict) or not all(isinstance(record.get(key), str) for key in ("caption", "image")):
            raise InputError(f"{path}: record {number} is not {{caption: text, image: text}}: {str(record)[:80]}")
        pairs.append((record["image"], record["caption"].strip()))
    if not pairs:
        raise InputError(f"{path} holds no captions")
    return pairs


def caption_table(pairs: list[tuple[str, str]], origin: str) -> pd.DataFrame:
    """Return the captions of (image_id, sentence) pairs as the contract's table, ranked in their order."""
    frame = pd.DataFrame(pairs, columns=["image_id", "caption"])
    frame["rank"] = frame.groupby("image_id").cumcount()
    frame["caption_id"] = frame["image_id"] + "#" + frame["rank"].astype(str)
    return frame.assign(origin=origin)


def _flat(content: Any) -> Iterator[Any]:
    if isinstance(content, list):
        for item in content:
            yield from _flat(item) if isinstance(item, list) else [item]
    else:
        yield content
