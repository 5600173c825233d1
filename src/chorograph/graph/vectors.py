"""Vectors of regions out of a graph, at rest: beside the vectors of images, with region_id in place of image_id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chorograph.area.vector_tables import VectorTable, read_vector_table


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
        notes = {"fingerprint": self.fingerprint, "note": self.note}
        return VectorTable(self.model, {"region_id": self.region_ids}, self.vectors, notes).write(path)

    @classmethod
    def read(cls, path: Path) -> GraphEmbeddings:
        """Read a table of vectors; `InputError` where there is none, `AreaError` where it holds something else."""
        table = read_vector_table(path, ("region_id",), "chorograph graph embed", "vectors of regions")
        fingerprint, note = table.notes.get("fingerprint", ""), table.notes.get("note", "")
        return cls(table.model, fingerprint, table.columns["region_id"], table.vectors, note)
