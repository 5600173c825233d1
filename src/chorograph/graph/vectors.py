"""Vectors of regions out of a graph, at rest: beside the vectors of images, with region_id in place of image_id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from chorograph.area.errors import AreaError, InputError
from chorograph.area.files import atomic_path

_FINGERPRINT = b"chorograph.fingerprint"
_NOTE = b"chorograph.note"


@dataclass(frozen=True)
class GraphEmbeddings:
    """Region-level vectors (n, dim) float32; `note` says what whoever predicts from them should know."""

    model: str
    fingerprint: str
    region_ids: NDArray[np.object_]
    vectors: NDArray[np.float32]
    note: str = ""

    def write(self, path: Path) -> Path:
        """Write the table atomically; `AreaError` where a vector is not finite."""
        if not np.isfinite(self.vectors).all():
            row = int(np.flatnonzero(~np.isfinite(self.vectors).all(1))[0])
            raise AreaError(f"{self.model} gave a vector that is not finite for region {self.region_ids[row]!r}")
        flat = pa.array(np.ascontiguousarray(self.vectors).reshape(-1), type=pa.float32())
        table = pa.table(
            {
                "region_id": pa.array(self.region_ids, type=pa.string()),
                "embedding": pa.FixedSizeListArray.from_arrays(flat, self.vectors.shape[1]),
                "model": pa.array([self.model] * len(self.region_ids), type=pa.string()),
            }
        ).replace_schema_metadata({_FINGERPRINT: self.fingerprint.encode(), _NOTE: self.note.encode()})
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
        return path

    @classmethod
    def read(cls, path: Path) -> GraphEmbeddings:
        """Read a table of vectors; `InputError` where there is none, `AreaError` where it holds something else."""
        if not path.is_file():
            held = sorted(p.stem for p in path.parent.glob("*.parquet"))
            there = ", ".join(held) or "none"
            raise InputError(f"{path} does not exist; run `chorograph graph embed` first (this area has: {there})")
        try:
            table = pq.read_table(path)
            flat: Any = table.column("embedding").combine_chunks()
            vectors = np.asarray(flat.flatten(), dtype=np.float32).reshape(len(table), flat.type.list_size)
            said = table.schema.metadata or {}
            return cls(
                model=str(table.column("model")[0]) if len(table) else path.stem,
                fingerprint=said.get(_FINGERPRINT, b"").decode(),
                region_ids=np.asarray(table.column("region_id").to_pylist(), dtype=object),
                vectors=vectors,
                note=said.get(_NOTE, b"").decode(),
            )
        except (OSError, ValueError, KeyError, AttributeError, pa.ArrowException) as error:
            raise AreaError(f"{path} cannot be read as vectors of regions: {error}") from error
