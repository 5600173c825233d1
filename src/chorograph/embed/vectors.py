"""Vectors of images at rest: a Parquet table of fixed-size float32 lists."""

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


@dataclass(frozen=True)
class Embeddings:
    """Image-level vectors: `vectors` (n, dim) float32, one row for each of `image_ids`; `sha256` of each image.

    `fingerprint` is the encoder's: with the hash of an image it says whether a stored vector still holds.
    """

    model: str
    fingerprint: str
    image_ids: NDArray[np.object_]
    sha256: NDArray[np.object_]
    vectors: NDArray[np.float32]

    @property
    def dim(self) -> int:
        """The width of the vectors."""
        return int(self.vectors.shape[1])

    def write(self, path: Path) -> Path:
        """Write the table atomically; `AreaError` where a vector is not finite."""
        if not np.isfinite(self.vectors).all():
            row = int(np.flatnonzero(~np.isfinite(self.vectors).all(1))[0])
            raise AreaError(f"{self.model} gave a vector that is not finite for image {self.image_ids[row]!r}")
        flat = pa.array(np.ascontiguousarray(self.vectors).reshape(-1), type=pa.float32())
        table = pa.table(
            {
                "image_id": pa.array(self.image_ids, type=pa.string()),
                "embedding": pa.FixedSizeListArray.from_arrays(flat, self.dim),
                "model": pa.array([self.model] * len(self.image_ids), type=pa.string()),
                "sha256": pa.array(self.sha256, type=pa.string()),
            }
        ).replace_schema_metadata({_FINGERPRINT: self.fingerprint.encode()})
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")
        return path

    @classmethod
    def read(cls, path: Path) -> Embeddings:
        """Read a table of vectors; `InputError` where there is none, `AreaError` where it is damaged."""
        if not path.is_file():
            held = sorted(p.stem for p in path.parent.glob("*.parquet"))
            raise InputError(
                f"{path} does not exist; run `chorograph embed` first (this area has: {', '.join(held) or 'none'})"
            )
        try:
            table = pq.read_table(path)
            flat: Any = table.column("embedding").combine_chunks()
            vectors = np.asarray(flat.flatten(), dtype=np.float32).reshape(len(table), flat.type.list_size)
            return cls(
                model=str(table.column("model")[0]) if len(table) else path.stem,
                fingerprint=(table.schema.metadata or {}).get(_FINGERPRINT, b"").decode(),
                image_ids=np.asarray(table.column("image_id").to_pylist(), dtype=object),
                sha256=np.asarray(table.column("sha256").to_pylist(), dtype=object),
                vectors=vectors,
            )
        except (OSError, ValueError, KeyError, AttributeError, pa.ArrowException) as error:
            raise AreaError(f"{path} cannot be read as embeddings: {error}") from error
