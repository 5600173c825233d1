"""`curate look`: a contact sheet of a shard, an area or a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import SEEDS, at_least, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph curate look`."""

    shard: Path = setting(help="a shard (tar), or an area or folder with images")
    out: Path | None = setting(None, help="the contact sheet, a JPEG or PNG (default: beside the shard)")
    number: int = setting(48, help="images on the sheet, drawn at random", within=at_least(1))
    seed: int = setting(0, help="what draws them", within=SEEDS)


def inputs(settings: Settings) -> list[Path]:
    """Return what is looked at."""
    return [settings.shard]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Draw the sheet. It leaves no manifest: it is done whenever asked."""
    from chorograph.curation.look import contact_sheet, draw_some, write_sheet

    out = settings.out or settings.shard.with_name(f"{settings.shard.name.partition('.')[0]}-look.jpg")
    ledger = Ledger()
    pictures = draw_some(settings.shard, settings.number, settings.seed, ledger.drop)
    write_sheet(out, contact_sheet(pictures))
    ledger.count("images on the sheet", len(pictures))
    manifest = {"stage": "look", "config": {**plain(settings), "out": str(out)}}
    return Outcome({**manifest, "counts": ledger.counts, "dropped": dict(ledger.dropped)}, skipped=False)


VERB = Verb(
    "curate look",
    "Draw a contact sheet of a shard, an area or a folder.",
    Settings,
    run,
    ("shard",),
    "chorograph curate look rs5m/corpus/shards/laion-train-0000.tar --out sheet.jpg",
)
