"""A row on its way through the funnel, and what a step answers about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

#: A row as the steps see it; the columns are those of `SCHEMA`. What a step finds out it writes into the row.
Row = dict[str, Any]

#: What a partition holds after each phase. `step`, `reason`, `score` and `kept` are empty while a row is still in.
SCHEMA = pa.schema(
    [
        ("key", pa.uint64()),  # a hash of all that the input says of the row
        ("source", pa.string()),
        ("url", pa.string()),
        ("caption", pa.string()),
        ("licence", pa.string()),
        ("lon", pa.float64()),
        ("lat", pa.float64()),
        ("captured", pa.string()),
        ("pack", pa.string()),  # where the image's bytes lie, see `chorograph.curation.packs`
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("sha256", pa.string()),
        ("phash", pa.uint64()),
        ("turned", pa.binary()),  # the eight hashes of the image turned and mirrored, where they were asked for
        ("vector", pa.binary()),  # float16
        ("vector_model", pa.string()),
        ("relevance", pa.float64()),
        ("detector", pa.float64()),
        ("step", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("kept", pa.uint64()),  # of a duplicate: the row that stayed
    ]
)


@dataclass(frozen=True)
class Drop:
    """Why a row leaves: a reason to count by, and the number that decided where there is one."""

    reason: str
    score: float | None = None


@dataclass(frozen=True)
class Context:
    """What row steps are given beside the rows: where images are packed, and how a model's name becomes a model."""

    packs: str
    load_encoder: Callable[[str], Any] | None = None


class RowStep(Protocol):
    """A step that judges each row by itself."""

    name: ClassVar[str]

    def apply(self, rows: Sequence[Row], context: Context) -> list[Drop | None]:
        """Return, for each row, why it leaves, or None where it stays."""

    def describe(self) -> str:
        """Say in a line what it does, for the printed plan."""


@dataclass(frozen=True)
class Decision:
    """Which rows of a table leave: positions, reasons, and (where there are such) scores and the row that stayed."""

    rows: NDArray[np.int64]
    reasons: list[str]
    scores: NDArray[np.float64]
    kept: NDArray[np.uint64] | None = None


class TableStep(Protocol):
    """A step that must see all rows at once; it is given the few columns that it names."""

    name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    def decide(self, table: pa.Table, store: Path | None = None) -> Decision:
        """Return which rows leave; the table holds `key`, `source` and `columns`.

        In the folder `store` a step may keep what spares it work when rows are added; it must not change the answer.
        """

    def describe(self) -> str:
        """Say in a line what it does, for the printed plan."""


@runtime_checkable
class ReducingStep(TableStep, Protocol):
    """A table step with a column that is too large for all rows at once."""

    def reduce(self, part: pa.Table, store: Path) -> pa.Table:
        """Return what `decide` needs of a partition's rows; the rest the step keeps in `store`, on disk."""
