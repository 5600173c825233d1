"""Files: JSON in and out, hashes, names. Writing is whole or absent: see `drafts`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from chorograph.ground.drafts import atomic_folder as atomic_folder
from chorograph.ground.drafts import atomic_path as atomic_path
from chorograph.ground.errors import InputError


def write_json(target: Path, content: object) -> None:
    """Write `content` as indented JSON, atomically; NaN is refused, as other readers refuse it."""
    with atomic_path(target) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str)
        temporary.write_text(text + "\n", encoding="utf-8")


def write_json_lines(target: Path, records: Iterable[object]) -> None:
    """Write one JSON value a line, atomically; `ValueError` for a number that JSON has not."""
    with atomic_path(target) as temporary:
        temporary.write_text(
            "".join(json.dumps(record, allow_nan=False) + "\n" for record in records), encoding="utf-8"
        )


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or damaged one is an `InputError` naming it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not readable JSON ({error})") from error


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Return the hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def within(folder: Path, relative: str) -> Path:
    """Return `folder / relative`, refusing a path that leads out of the folder (`..`, absolute, symbolic link)."""
    root = folder.resolve()
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise InputError(f"{relative!r} leads out of {folder}; paths inside an area stay inside it")
    return path


def slug(name: str) -> str:
    """Turn a name into a file name of its own: names that differ never share one.

    A name of ASCII letters, digits and `._+-` stays as it is. Any other keeps what can be read of it, and eight digits
    of its SHA-256 tell it apart: `rcf:256` becomes `rcf-256~5b1bd4c3`.
    """
    if re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9._+-]*", name) and not name.endswith((".", "-")) and len(name) <= 120:
        return name
    readable = re.sub(r"[^\w.+-]+", "-", name).strip("-.")[:48]
    # No plain name holds a tilde. What cannot be encoded (half a surrogate pair) is told apart too.
    return f"{readable}~{sha256_bytes(name.encode('utf-8', 'surrogatepass'))[:8]}"


def lossy_slug(name: str) -> str:
    """Return the file name that version 0.1 gave to a name, by which its areas are still found."""
    return re.sub(r"[^A-Za-z0-9._+]+", "-", name).strip("-.") or "unnamed"
