"""What every `area add KIND` shares: the area, what is added, a manifest within the area, and how its verb is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorograph.acquisition.own.own_settings import Provenance
from chorograph.ground.settings import placed, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.verb import Verb

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: Adds to an area what settings ask for; counts and warnings go to the ledger.
Add = Callable[["Area", Any, Ledger, Progress], None]


@dataclass(frozen=True, kw_only=True)
class Step(Provenance):
    """Settings of every `chorograph area add KIND`."""

    area: Path = setting(help="the area folder, made with `chorograph area new` or another verb")
    from_: Path = setting(help="the file or folder that is added")
    replace: bool = setting(False, help="put what is added in the place of what stands there with other values")

    def inputs(self) -> list[Path]:
        """Return the files and folders that are read: where one changes, the step is done again."""
        return [self.from_]

    @property
    def called(self) -> str:
        """What is added is called so in the name of its manifest."""
        return self.from_.name

    @property
    def again(self) -> bool:
        """Whether it is done again though it was done before."""
        return False


@dataclass(frozen=True, kw_only=True)
class FromSource(Step):
    """Settings of a kind that may come of a source (`chorograph list sources`) instead of files."""

    from_: str = setting(help="a file or folder, or SOURCE:ADDRESS of a source of `chorograph list sources`")  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if not self.is_source:
            object.__setattr__(self, "from_", str(placed(self.path)))

    @property
    def is_source(self) -> bool:
        """Whether it comes of a source."""
        from chorograph.acquisition.sources.source import is_source

        return is_source(self.from_)

    @property
    def path(self) -> Path:
        """The file or folder; `UnknownNameError` for what begins like a source that there is not."""
        from chorograph.acquisition.sources.source import check_path

        return check_path(self.from_)

    def inputs(self) -> list[Path]:
        """Return the file or folder; a source is none."""
        return [] if self.is_source else [self.path]

    @property
    def called(self) -> str:
        """What is added is called so in the name of its manifest."""
        return self.from_ if self.is_source else self.path.name


@dataclass(frozen=True, kw_only=True)
class OfRegions:
    """A setting of kinds that may name regions by their ids."""

    region_id: str = setting("region_id", help="the column that names a region, where there is one")


@dataclass(frozen=True, kw_only=True)
class OfLayers:
    """A setting of kinds that may be read from a file of features."""

    layer: str | None = setting(None, help="the layer of a file of features that has several")


def adding(kind: str, summary: str, settings: type[Step], add: Add, *, tables: Sequence[str], example: str) -> Verb:
    """Return the verb `area add KIND`: `add` runs unless it was done with these settings and files.

    It is done again too where one of the `tables` that it fills is missing. Doing it again is harmless: rows and
    pictures that are there already are left.
    """

    def run(asked: Any, progress: Progress) -> Outcome:
        from chorograph.area.folder import Area
        from chorograph.ground.files import slug

        area = Area.open(asked.area)
        manifest = area.path / "added" / f"{kind}-{slug(asked.called)}.manifest.json"
        if asked.again or not all(area.has(table) for table in tables):
            manifest.unlink(missing_ok=True)
        return run_stage(
            f"area add {kind}",
            manifest=manifest,
            config=plain(asked),
            inputs=asked.inputs(),
            work=lambda ledger: add(area, asked, ledger, progress),
            shared=[area.table_path(table) for table in (*tables, *(["images"] if "captions" in tables else []))],
        )

    return Verb(
        f"area add {kind}", summary, settings, run, ("area",), f"chorograph area add {kind} my-area --from {example}"
    )
