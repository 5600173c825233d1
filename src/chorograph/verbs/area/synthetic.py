"""`area synthetic`: a city drawn from a seed, with a known best attainable score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import SEEDS, at_least, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, make_folder
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph area synthetic`."""

    out: Path = setting(help="the area folder to make; must not exist yet")
    regions: int = setting(240, help="number of regions", within=at_least(1))
    tiles_per_region: int = setting(5, help="satellite tiles a region", within=at_least(1))
    street_views_per_region: int = setting(2, help="street-level views a region", within=at_least(0))
    seed: int = setting(0, help="decides everything about the city", within=SEEDS)


def inputs(settings: Settings) -> list[Path]:
    """Return nothing: the seed decides all."""
    return []


def run(settings: Settings, progress: Progress) -> Outcome:
    """Draw the city; its manifest lies within."""

    def work(ledger: Ledger, out: Path) -> None:
        from chorograph.synthetic import SyntheticCityConfig, build_synthetic

        city = SyntheticCityConfig(
            regions=settings.regions,
            tiles_per_region=settings.tiles_per_region,
            street_views_per_region=settings.street_views_per_region,
            seed=settings.seed,
        )
        area = build_synthetic(city, out, progress=progress)
        ledger.count("regions", len(area.regions))
        ledger.count("images", len(area.images))
        ledger.count("captions", len(area.captions))

    return make_folder(
        "area synthetic",
        out=settings.out,
        config=plain(settings),
        inputs=inputs(settings),
        work=work,
    )


VERB = Verb(
    "area synthetic",
    "Draw a synthetic city from a seed.",
    Settings,
    run,
    ("out",),
    "chorograph area synthetic city --regions 120 --seed 7",
)
