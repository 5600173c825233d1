"""`area pack`: areas as one corpus whose images lie in WebDataset tars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import at_least, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, make_folder
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph area pack`."""

    areas: list[Path] = setting(help="the area folders; given several times, one corpus of all")
    out: Path = setting(help="the corpus to make; must not exist yet")
    split: str | None = setting(None, help="take only images of a given split, by their roles there")
    roles: str = setting("train,val", help="the roles that are taken, separated by commas")
    shard_samples: int = setting(10_000, help="images a shard", within=at_least(1))


def inputs(settings: Settings) -> list[Path]:
    """Return the areas."""
    return list(settings.areas)


def run(settings: Settings, progress: Progress) -> Outcome:
    """Pack the areas; the corpus' manifest lies within."""

    def work(ledger: Ledger, out: Path) -> None:
        from chorograph.acquisition.pack import pack
        from chorograph.area.folder import Area

        pack(
            [Area.open(path) for path in settings.areas],
            out,
            ledger,
            split=settings.split,
            roles=[name.strip() for name in settings.roles.split(",")],
            shard_samples=settings.shard_samples,
            progress=progress,
        )

    return make_folder(
        "area pack",
        out=settings.out,
        config=plain(settings),
        inputs=inputs(settings),
        work=work,
    )


VERB = Verb(
    "area pack",
    "Pack areas into one corpus of WebDataset tars.",
    Settings,
    run,
    ("areas",),
    "chorograph area pack rsicd my-area --out corpus",
)
