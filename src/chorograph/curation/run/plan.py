"""The plan: a recipe's steps, put in phases. In a phase rows are judged one by one, then all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from chorograph.curation.packs import PackWriter
from chorograph.curation.rows import Context, Decision, Drop, Row, RowStep, TableStep
from chorograph.curation.steps.captions import CaptionRules
from chorograph.curation.steps.duplicates import ByteDuplicates, EmbeddingDuplicates, HashDuplicates, UrlDuplicates
from chorograph.curation.steps.encoding import DetectorScore, Encode, Relevance
from chorograph.curation.steps.fetch import Fetch
from chorograph.curation.steps.keywords import Keywords
from chorograph.curation.steps.quantiles import Quantiles
from chorograph.curation.steps.ratings import Ratings
from chorograph.curation.steps.validity import ValidImages
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.image_formats import format_of
from chorograph.ground.recipe_file import fill, read_recipe_file
from chorograph.ground.settings import configure


@dataclass(frozen=True)
class Columns:
    """What the input calls its columns. Only the caption must be there; an empty name is no column."""

    caption: str = "caption"
    url: str = "url"
    source: str = ""
    licence: str = ""
    lon: str = ""
    lat: str = ""
    captured: str = ""
    image: str = ""


@dataclass(frozen=True)
class Output:
    """How the corpus is written: its name (shards are named by source where it is empty), its split, its shards."""

    name: str = ""
    val_share: float = 0.05
    samples_per_shard: int = 10_000
    rs5m_keys: bool = False
    view: str = "satellite"

    def __post_init__(self) -> None:
        if not 0 <= self.val_share < 1 or self.samples_per_shard < 1:
            raise InputError("output: val_share lies from 0 to below 1, samples_per_shard is 1 or more")


@dataclass(frozen=True)
class Take:
    """Put the images that the input holds where later steps find them."""

    name: ClassVar[str] = "take"

    def apply(self, rows: Sequence[Row], context: Context) -> list[Drop | None]:
        """Pack each row's bytes."""
        drops: list[Drop | None] = []
        with PackWriter(Path(context.packs)) as writer:
            for row in rows:
                data = row.pop("image", None)
                drops.append(_unkept(data))
                if drops[-1] is None:
                    record = writer.add(row["key"], {}, data)
                    row.update(pack=record.pack, offset=record.offset, length=record.length)
        return drops

    def describe(self) -> str:
        """Say what it does."""
        return "images as the input holds them"


def _unkept(data: bytes | None) -> Drop | None:
    """Return why bytes are not taken as an image: what is kept must be read back from shards by its extension."""
    if not data:
        return Drop("no image")
    return None if format_of(data) else Drop("image of no known format")


@dataclass(frozen=True)
class RepeatedRows:
    """Keep one of rows that say the same: source, URL, caption and image. Part of every plan."""

    name: ClassVar[str] = "repeated_rows"
    reason: ClassVar[str] = "same row again"
    columns: ClassVar[tuple[str, ...]] = ()

    def decide(self, table: pa.Table, store: Path | None = None) -> Decision:
        """Drop rows whose key an earlier row has."""
        keys = table["key"].to_numpy()
        again = np.ones(len(keys), dtype=bool)
        again[np.unique(keys, return_index=True)[1]] = False
        rows = np.flatnonzero(again)
        return Decision(rows, [self.reason] * len(rows), np.full(len(rows), np.nan), keys[rows])

    def describe(self) -> str:
        """Say what it does."""
        return "rows that are wholly the same are one"


_ROW: tuple[type[Any], ...] = (Keywords, CaptionRules, Ratings, Fetch, ValidImages, Encode, Relevance, DetectorScore)
ROW_STEPS: dict[str, type[Any]] = {step.name: step for step in _ROW}
_TABLE: tuple[type[Any], ...] = (UrlDuplicates, ByteDuplicates, HashDuplicates, EmbeddingDuplicates, Quantiles)
TABLE_STEPS: dict[str, type[Any]] = {step.name: step for step in _TABLE}
#: What a step needs, and which steps give it.
_NEEDS = {
    "valid_images": ("fetch", "take"),
    "encode": ("fetch", "take"),
    "relevance": ("fetch", "take"),
    "detector": ("fetch", "take"),
    "byte_duplicates": ("valid_images",),
    "hash_duplicates": ("valid_images",),
    "embedding_duplicates": ("encode",),
}


@dataclass(frozen=True)
class Phase:
    """Steps that judge rows one by one, then steps that need all rows that are left."""

    row_steps: tuple[RowStep, ...]
    table_steps: tuple[TableStep, ...]


@dataclass(frozen=True)
class Plan:
    """A recipe that was read and checked."""

    title: str
    columns: Columns
    phases: tuple[Phase, ...]
    output: Output
    resolved: dict[str, Any] = field(repr=False)

    @property
    def step_names(self) -> tuple[str, ...]:
        """The names of all steps, in order; `repeated_rows` first."""
        steps: list[Any] = [step for phase in self.phases for step in (*phase.row_steps, *phase.table_steps)]
        names = [step.name for step in steps]
        return (RepeatedRows.name, *(name for name in names if name != RepeatedRows.name))

    def lines(self) -> list[str]:
        """Return the plan as lines to print."""
        lines = [self.title]
        for number, phase in enumerate(self.phases, start=1):
            lines.append(f"phase {number}")
            lines += [f"  each row    {step.name}: {step.describe()}" for step in phase.row_steps]
            lines += [f"  all rows    {step.name}: {step.describe()}" for step in phase.table_steps]
        split = f"{1 - self.output.val_share:.0%} train, {self.output.val_share:.0%} val by content"
        return [*lines, f"output: a corpus {self.output.name or 'with shards by source'}, {split}"]


def read_plan(path: Path, arguments: Mapping[str, str] | None = None) -> Plan:
    """Read a recipe's `columns`, `steps` and `output`; `{name}` is filled from `arguments`.

    Raises `InputError` for a file that is not such YAML, lacks a step that another needs or an argument, and
    `UnknownNameError` with near misses for an unknown key, step or setting, each naming the file.
    """
    given = arguments or {}
    content = read_recipe_file(path, "steps", given)
    if not content["steps"]:
        raise InputError(f"{path} is no recipe of `curate`: its list of steps is empty")

    def missing(name: str) -> InputError:
        return InputError(f"{path} needs --set {name}=…")

    used = {key: fill(content.get(key), given, missing) for key in ("columns", "steps", "output")}
    columns = configure(Columns, used["columns"] or {}, where=f"{path}, columns")
    output = configure(Output, used["output"] or {}, where=f"{path}, output")
    steps: list[Any] = [_step(item, number, path) for number, item in enumerate(used["steps"], start=1)]
    if columns.image:
        # Before the first step that needs pixels; the native keyword filter stays in front.
        steps.insert(1 if isinstance(steps[0], Keywords) else 0, Take())
    _check_order([step.name for step in steps], path)
    plan = {"columns": asdict(columns), "steps": [{step.name: asdict(step)} for step in steps]}
    return Plan(
        str(content.get("title", path.stem)), columns, _phases(steps), output, {**plan, "output": asdict(output)}
    )


def _step(item: object, number: int, path: Path) -> Any:
    if isinstance(item, str):
        item = {item: {}}
    if not isinstance(item, dict) or len(item) != 1:
        raise InputError(f"{path}: step {number} must be one name with its settings, not {item!r}")
    name, settings = next(iter(item.items()))
    known: dict[str, type[Any]] = {**ROW_STEPS, **TABLE_STEPS}
    if name not in known:
        raise UnknownNameError.of(f"step (number {number} of {path})", str(name), known)
    if settings is not None and not isinstance(settings, dict):
        raise InputError(f"{path}: the settings of step {number} ({name}) are names and values, not {settings!r}")
    return configure(known[name], settings or {}, where=f"{path}, step {number} ({name})")


def _check_order(names: Sequence[str], path: Path) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InputError(f"{path}: the step {name} appears twice")
        needed = _NEEDS.get(name, ())
        if needed and not set(needed) & set(names[:place]):
            wanted = " or ".join("columns: image" if need == "take" else need for need in needed)
            raise InputError(f"{path}: the step {name} needs {wanted} before it")


def _phases(steps: Sequence[Any]) -> tuple[Phase, ...]:
    phases: list[tuple[list[Any], list[Any]]] = [([], [RepeatedRows()])]
    for step in steps:
        if step.name in TABLE_STEPS:
            phases[-1][1].append(step)
            continue
        # A row step after a step that saw all rows begins a phase; `repeated_rows` alone does not count.
        if len(phases[-1][1]) > (1 if len(phases) == 1 else 0):
            phases.append(([], []))
        phases[-1][0].append(step)
    return tuple(Phase(tuple(rows), tuple(tables)) for rows, tables in phases)
