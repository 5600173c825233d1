"""`area build`: an area from anybody's own files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chorograph.acquisition.own.own_settings import OwnFiles
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, make_folder, read_manifest, run_stage
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings(OwnFiles):
    """Settings of `chorograph area build`."""

    describe: list[str] = setting(
        [],
        help="INDICATOR=KEY:VALUE,KEY:VALUE, or a TOML file: what an indicator is (title, scale, per, need, kind), as "
        "`chorograph area describe` says it",
    )
    out: Path = setting(
        help="the area folder to make; one that this verb made is built anew, and what other verbs added stays"
    )


def inputs(settings: Settings) -> list[Path]:
    """Return the user's files."""
    return [*settings.paths(), *(Path(word) for word in settings.describe if Path(word).suffix == ".toml")]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Build the area; its manifest lies within. One that this verb built is built anew in its place."""
    if (before := _built_before(settings.out)) is not None:
        return _rebuild(settings, before, progress)

    def work(ledger: Ledger, out: Path) -> None:
        from chorograph.acquisition.own.build import build_area

        build_area(settings, out, ledger, progress)
        _describe(settings, out)

    return make_folder(
        "area build",
        out=settings.out,
        config=plain(settings),
        inputs=inputs(settings),
        work=work,
    )


def _built_before(out: Path) -> dict[str, Any] | None:
    """Return the manifest of the build that stands at `out`, None where there is none."""
    manifest = out / "manifest.json"
    if not manifest.is_file() or not (out / "area.toml").is_file():
        return None
    before = read_manifest(manifest)
    return before if before.get("stage") == "area build" else None


def _rebuild(settings: Settings, before: dict[str, Any], progress: Progress) -> Outcome:
    """Build beside, and move what was built into the area: what other verbs put there stays."""
    aside = settings.out.resolve().with_name(f".{settings.out.resolve().name}.rebuilding")

    def work(ledger: Ledger) -> None:
        from chorograph.acquisition.own.build import build_area
        from chorograph.area.rebuilding import check_only_built, put_in_place

        check_only_built(settings.out)
        shutil.rmtree(aside, ignore_errors=True)  # of a build that was stopped
        try:
            named = replace(settings, name=settings.name or settings.out.resolve().name)
            build_area(named, aside, ledger, progress)
            _describe(settings, aside)
            put_in_place(aside, settings.out, before.get("counts", {}))
            _describe(settings, settings.out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    return run_stage(
        "area build",
        manifest=settings.out / "manifest.json",
        config=plain(settings),
        inputs=inputs(settings),
        work=work,
    )


def _describe(settings: Settings, area: Path) -> None:
    """Say in the area what its indicators are; raises for a column that it does not have."""
    if settings.describe:
        from chorograph.area.descriptions import parse_descriptions, write_descriptions
        from chorograph.area.folder import Area

        write_descriptions(Area.open(area), parse_descriptions(settings.describe))


VERB = Verb(
    "area build",
    "Build an area from your own tiles, polygons and tables.",
    Settings,
    run,
    example="chorograph area build --tiles tiles --tiles-table tiles.csv --regions tracts.geojson "
    "--region-id geoid --indicators indicators.csv --out my-area",
)
