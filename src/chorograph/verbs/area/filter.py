"""`area filter`: An area without some of its regions and images, beside the one that stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.errors import SettingError
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, make_folder
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph area filter`."""

    area: Path = setting(help="the area folder; nothing in it is changed")
    out: Path = setting(help="the area folder to make, with the rest and removed.parquet: what was left out, and why")
    all_zero: list[str] = setting([], help="indicators: a region where all of them are 0 is left out")
    caption_word: list[str] = setting([], help="a word: an image of which a caption has it is left out, such as ocean")


def inputs(settings: Settings) -> list[Path]:
    """Return the area's tables."""
    return sorted(settings.area.glob("*.parquet"))


def run(settings: Settings, progress: Progress) -> Outcome:
    """Write the rest of the area to `out`."""
    if not settings.all_zero and not settings.caption_word:
        raise SettingError("say what is left out: --all-zero INDICATOR or --caption-word WORD")

    def work(ledger: Ledger, out: Path) -> None:
        from chorograph.acquisition.filtering import choose, write_filtered
        from chorograph.area.folder import Area

        area = Area.open(settings.area)
        write_filtered(area, out, choose(area, settings.all_zero, settings.caption_word), ledger)

    return make_folder("area filter", out=settings.out, config=plain(settings), inputs=inputs(settings), work=work)


VERB = Verb(
    "area filter",
    "Write an area without some of its regions and images beside it: all zero, or a word in a caption.",
    Settings,
    run,
    ("area",),
    "chorograph area filter my-area --all-zero population --all-zero carbon --caption-word ocean --out land",
)
