"""`area import`: an area from a published layout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.acquisition.layouts.registry import LAYOUTS
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, make_folder
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph area import`."""

    layout: str = setting(help="how the published files lie (`chorograph list layouts`)", choices=LAYOUTS)
    src: Path = setting(help="the folder that holds the published files")
    out: Path = setting(help="the area folder to make; must not exist yet")
    skip_bad: bool = setting(False, help="go on past images that cannot be read, and count them by reason")


def inputs(settings: Settings) -> list[Path]:
    """Return the folder of published files."""
    return [settings.src]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Import the layout; the area's manifest lies within."""

    def work(ledger: Ledger, out: Path) -> None:
        read = LAYOUTS[settings.layout]
        read(settings.src, out, ledger, skip_bad=settings.skip_bad, progress=progress)

    return make_folder(
        "area import",
        out=settings.out,
        config=plain(settings),
        inputs=inputs(settings),
        work=work,
    )


VERB = Verb(
    "area import",
    "Build an area from a published layout.",
    Settings,
    run,
    ("layout", "src", "out"),
    "chorograph area import rsicd downloads/rsicd rsicd",
)
