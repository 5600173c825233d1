"""Tables of vectors at rest: Parquet with text columns, a fixed-size float32 list and the model that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from chorograph.area.tables import row_list
from chorograph.ground.errors import AreaError, InputError
from chorograph.ground.files import atomic_path, check_row_count


@dataclass(frozen=True)
class VectorTable:
    """`vectors` (n, dim) float32 by `model`; `columns` of n texts each, the id first; `notes` about the whole table."""

    model: str
    columns: Mapping[str, NDArray[np.object_]]
    vectors: NDArray[np.float32]
    notes: Mapping[str, str]

    def write(self, path: Path) -> Path:
        """Write the table atomically; `AreaError` where a vector is not finite."""
        if not np.isfinite(self.vectors).all():
            row = int(np.flatnonzero(~np.isfinite(self.vectors).all(1))[0])
            name, ids = next(iter(self.columns.items()))
            kind = name.removesuffix("_id")
            raise AreaError(f"{self.model} gave a vector that is not finite for {kind} {ids[row]!r}")
        flat = pa.array(np.ascontiguousarray(self.vectors).reshape(-1), type=pa.float32())
        columns: dict[str, Any] = {name: pa.array(texts, type=pa.string()) for name, texts in self.columns.items()}
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, self.vectors.shape[1])
        columns["model"] = pa.array([self.model] * len(self.vectors), type=pa.string())
        notes = {f"chorograph.{name}": text for name, text in self.notes.items()}
        with atomic_path(path) as temporary:
            pq.write_table(pa.table(columns).replace_schema_metadata(notes), temporary, compression="zstd")
        return path


def read_vector_table(path: Path, columns: tuple[str, ...], made_by: str, what: str) -> VectorTable:
    """Read a table of vectors and the text columns named.

    Raises `InputError` that names the verb `made_by` where there is no such file, `AreaError` where it is damaged or
    does not hold `what`.
    """
    if not path.is_file():
        held = ", ".join(sorted(p.stem for p in path.parent.glob("*.parquet"))) or "none"
        raise InputError(f"{path} does not exist; run `{made_by}` first (this area has: {held})")
    try:
        with pq.ParquetFile(path) as file:
            check_row_count(path, file.metadata.num_rows)
            table = file.read([name for name in file.schema_arrow.names if name in (*columns, "embedding", "model")])
            metadata = file.schema_arrow.metadata or {}
        flat: Any = table.column("embedding").combine_chunks()
        notes = {key.decode(): value.decode() for key, value in metadata.items() if key.startswith(b"chorograph.")}
        found = VectorTable(
            model=str(table.column("model")[0]) if len(table) else path.stem,
            columns={name: np.asarray(table.column(name).to_pylist(), dtype=object) for name in columns},
            vectors=np.asarray(flat.flatten(), dtype=np.float32).reshape(len(table), flat.type.list_size),
            notes={key.removeprefix("chorograph."): text for key, text in notes.items()},
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError, pa.ArrowException) as error:
        raise AreaError(f"{path} cannot be read as {what}: {error}") from error
    _check(found, path, columns[0])
    return found


def _check(found: VectorTable, path: Path, key: str) -> None:
    """Raise `AreaError` naming the row of an id that is missing or appears twice, or of a vector that is not finite."""
    for name, texts in found.columns.items():
        if (odd := np.array([not isinstance(text, str | None) for text in texts], dtype=bool)).any():
            raise AreaError(f"{path}: {name} is text, not {texts[odd][0]!r} ({row_list(odd)})")
    ids = pd.Series(found.columns[key], dtype=object)
    if (missing := ids.isna()).any():
        raise AreaError(f"{path}: {key} is empty in {row_list(missing)}")
    if (twice := ids.duplicated()).any():
        raise AreaError(f"{path}: {key} {ids[twice].iloc[0]!r} appears twice ({row_list(twice)})")
    if not found.vectors.shape[1]:
        raise AreaError(f"{path}: its vectors have no numbers")
    endless: Any = ~np.isfinite(found.vectors).all(axis=1)
    if endless.any():
        raise AreaError(f"{path}: embedding is not finite in {row_list(endless)}; make it again")
