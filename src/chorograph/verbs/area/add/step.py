"""What every `area add KIND` shares: the area, what is added, and a manifest within the area."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import Provenance
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, run_stage

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Step(Provenance):
    """Settings of every `chorograph area add KIND`."""

    area: Path = setting(help="the area folder, made with `chorograph area new` or another verb")
    from_: Path = setting(help="the file or folder that is added")
    replace: bool = setting(False, help="put what is added in the place of what stands there with other values")


def run_step(
    kind: str, settings: Step, inputs: Sequence[Path], tables: Sequence[str], work: Callable[[Area, Ledger], None]
) -> Outcome:
    """Run a step unless it was done with these settings and files, and the tables it fills are there.

    Doing it again is harmless: rows and pictures that are there already are left.
    """
    from chorograph.area.folder import Area
    from chorograph.ground.files import slug

    area = Area.open(settings.area)
    manifest = area.path / "added" / f"{kind}-{slug(settings.from_.name)}.manifest.json"
    if not all(area.has(table) for table in tables):
        manifest.unlink(missing_ok=True)
    return run_stage(
        f"area add {kind}",
        manifest=manifest,
        config=plain(settings),
        inputs=inputs,
        work=lambda ledger: work(area, ledger),
    )
