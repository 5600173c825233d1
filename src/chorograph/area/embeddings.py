"""Vectors of images at rest: a table of the area."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chorograph.area.vector_tables import VectorTable, read_vector_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Embeddings:
    """Image-level vectors: `vectors` (n, dim) float32, one row for each of `image_ids`; `sha256` of each image.

    `fingerprint` is the encoder's: with the hash of an image it says whether a stored vector still holds.

    Example:
        >>> import numpy as np
        >>> import chorograph as cg
        >>> ids = np.array(["a", "b"], dtype=object)
        >>> embeddings = cg.Embeddings("mine", "1", ids, np.array(["", ""], dtype=object), np.eye(2, dtype="float32"))
        >>> len(embeddings), embeddings.dim, embeddings.to_frame().loc["b"].tolist()
        (2, 2, [0.0, 1.0])
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

    def __len__(self) -> int:
        """Return how many images have a vector."""
        return len(self.image_ids)

    def __repr__(self) -> str:
        """Say of how many images, how wide, and by which model."""
        return f"<Embeddings of {len(self)} images, {self.dim} wide, by {self.model}>"

    def _repr_html_(self) -> str:
        """Show the first vectors in a notebook."""
        return f"<p>{escape(repr(self))}</p>{self.to_frame().head().to_html(max_cols=8, float_format='{:.3f}'.format)}"

    def to_frame(self) -> pd.DataFrame:
        """Return the vectors as a table: a row an image, indexed by `image_id`, a column a dimension."""
        import pandas as pd

        return pd.DataFrame(self.vectors, index=pd.Index(self.image_ids, name="image_id"))

    def write(self, path: Path) -> Path:
        """Write the table atomically; `AreaError` where a vector is not finite."""
        columns = {"image_id": self.image_ids, "sha256": self.sha256}
        return VectorTable(self.model, columns, self.vectors, {"fingerprint": self.fingerprint}).write(path)

    @classmethod
    def read(cls, path: Path) -> Embeddings:
        """Read a table of vectors; `InputError` where there is none, `AreaError` where it is damaged."""
        table = read_vector_table(path, ("image_id", "sha256"), "chorograph embed", "embeddings")
        ids, sha256 = table.columns["image_id"], table.columns["sha256"]
        return cls(table.model, table.notes.get("fingerprint", ""), ids, sha256, table.vectors)
