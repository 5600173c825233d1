"""Files: JSON in and out, hashes, names. Writing is whole or absent: see `drafts`."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chorograph.ground.drafts import atomic_folder as atomic_folder
from chorograph.ground.drafts import atomic_path as atomic_path
from chorograph.ground.errors import ChorographError, InputError
from chorograph.ground.file_sorts import sort_of
from chorograph.ground.schema import check, check_depth

#: Settings, manifests and results are smaller than this, in bytes; a file of zeros that claims gigabytes is none.
MAX_TEXT = 256 * 1024**2
#: A table of text that is read whole is smaller, in bytes.
MAX_TABLE = 1024**3
#: A table that is read whole has fewer rows.
MAX_ROWS = 100_000_000


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


def read_text(path: Path, most: int = MAX_TEXT) -> str:
    """Return the text (UTF-8) of a small file of settings or results.

    Raises `InputError` naming it: it does not exist, is a folder, pipe or device, holds more than `most` bytes, or
    other bytes than text.
    """
    check_regular(path, most)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text: byte {error.start + 1} is no UTF-8") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def check_regular(path: Path, most: int | None = None) -> None:
    """Raise `InputError` unless `path` is a regular file of at most `most` bytes: no folder, pipe or device."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except NotADirectoryError:
        above = next(folder for folder in path.parents if folder.is_file())
        raise InputError(f"{above} is {sort_of(above) or 'a file'}, not a folder with {path.name}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is {'a folder' if stat.S_ISDIR(status.st_mode) else 'a pipe or device'}, not a file")
    if most is not None and status.st_size > most:
        raise InputError(f"{path} holds {status.st_size:,} bytes, and such a file has {most:,} at most")


def check_row_count(path: Path, rows: int) -> None:
    """Raise `InputError` where a table says that it holds more rows than any of ours: few bytes can say a billion."""
    if rows > MAX_ROWS:
        raise InputError(f"{path} says that it holds {rows:,} rows, and such a table has {MAX_ROWS:,} at most")


def read_json(path: Path, schema: Any = object, most: int = MAX_TEXT) -> Any:
    """Read a JSON file of the form of `schema` (see `chorograph.ground.schema`).

    Raises `InputError` naming the file, and the place in it: missing, damaged, larger than `most` bytes, of another
    form.
    """
    text = read_text(path, most)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not readable JSON ({error})") from error
    check_depth(content, str(path))
    return check(content, schema, str(path))


@contextmanager
def naming_damage(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Turn what a reader raises on a damaged file into an `InputError` that names it, `what` it should be, a remedy."""
    try:
        yield
    except (ChorographError, MemoryError):
        raise
    except Exception as error:  # each library raises its own
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error).strip() or type(error).__name__
        if "pickle" in said or "trust_remote_code" in said:  # the libraries' advice is to switch safety off
            said = "it is damaged, or holds Python objects or code, which are never read"
        raise InputError(f"{path} cannot be read as {what}: {said}; {remedy}") from error


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
    try:
        path = (root / relative).resolve()
    except (ValueError, OSError, RuntimeError) as error:  # a zero character; a link to itself
        raise InputError(f"{relative!r} is no path: {error}") from error
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
