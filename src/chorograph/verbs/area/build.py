"""`area build`: an area from anybody's own files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorograph.acquisition.own.own_settings import OwnFiles
from chorograph.ground.drafts import home_of, real, sweep
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, make_folder, read_manifest
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
    """Build the area; its manifest lies within. One that this verb built is built anew, and takes its place whole."""
    before = _built_before(settings.out)

    def work(ledger: Ledger, out: Path) -> None:
        from chorograph.acquisition.own.build import build_area
        from chorograph.area.rebuilding import check_only_built, keep_the_rest

        if before is not None:
            check_only_built(settings.out)
        build_area(settings, out, ledger, progress)
        if before is not None:
            keep_the_rest(settings.out, out, before.get("counts", {}))
        _describe(settings, out)

    return make_folder(
        "area build",
        out=settings.out,
        config=plain(settings),
        inputs=inputs(settings),
        work=work,
        replace=before is not None,
    )


def _built_before(out: Path) -> dict[str, Any] | None:
    """Return the manifest of the build that stands at `out`, None where there is none."""
    out = real(out)
    sweep(home_of(out), out.name)  # killed while one took the place of another, a build puts the old one back
    manifest = out / "manifest.json"
    if not manifest.is_file() or not (out / "area.toml").is_file():
        return None
    before = read_manifest(manifest)
    return before if before.get("stage") == "area build" else None


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
