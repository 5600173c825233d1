"""Tables that users name (embeddings, splits, predictions): where the one of a name lies."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from chorograph.ground.files import lossy_slug, slug

_SUFFIXES = (".parquet", ".safetensors", ".manifest.json")


def named_file(folder: Path, name: str) -> Path:
    """Return where the table called `name` lies in `folder`, whether or not it is there.

    Version 0.1 let names fall together (`a:b` and `a/b` were both `a-b`). Such a file is still taken for `name`, unless
    it says inside that it is another's.
    """
    path, old = folder / f"{slug(name)}.parquet", folder / f"{lossy_slug(name)}.parquet"
    return path if path == old or _any(path) or not _any(old) or _is_anothers(old, name) else old


def _any(path: Path) -> bool:
    try:
        return any(path.with_suffix(suffix).is_file() for suffix in _SUFFIXES)
    except OSError:
        return False  # longer than a file's name can be


def _is_anothers(path: Path, name: str) -> bool:
    said = _name_inside(path) if path.is_file() else None
    # A file by another stem was named by something else than what it says, and says nothing about `name`.
    return said is not None and said != name and lossy_slug(said) == path.stem


def _name_inside(path: Path) -> str | None:
    """Return the name that a table says it has: in its metadata, or as the model of its vectors."""
    try:
        with pq.ParquetFile(path) as file:
            if name := (file.schema_arrow.metadata or {}).get(b"chorograph.name"):
                return str(name.decode())
            if "model" not in file.schema_arrow.names or not file.metadata.num_rows:
                return None
            batch = next(file.iter_batches(batch_size=1, columns=["model"]))
            return str(batch.column("model")[0].as_py())
    except (OSError, ValueError, pa.ArrowException):
        return None  # what is damaged is for its reader to say
