"""`caption`: captions of an area's images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.captioning.registry import captioner
from chorograph.ground.settings import SEEDS, at_least, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph caption`."""

    area: Path = setting(help="the area folder")
    captioner: str = setting(
        "template", help="who writes: template (facts into sentences), hf:FOLDER or hf:FOLDER+ADAPTER (a BLIP-2)"
    )
    per_image: int = setting(2, help="captions an image", within=at_least(1))
    seed: int = setting(0, help="decides the wording", within=SEEDS)


def inputs(settings: Settings) -> list[Path]:
    """Return the tables that facts are taken from."""
    return [settings.area / f"{name}.parquet" for name in ("images", "poi_counts", "triples", "entities")]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Write captions: they replace earlier ones of the same origin; those by others stay."""
    from chorograph.area.folder import Area

    write = captioner(settings.captioner)  # a name that nobody knows ends the work before it begins
    area = Area.open(settings.area)

    def work(ledger: Ledger) -> None:
        import pandas as pd

        written = write(area, settings.per_image, settings.seed, ledger)
        kept = area.captions[~area.captions["origin"].isin({settings.captioner, *written["origin"]})]
        ledger.count("captions", len(written))
        ledger.count("captions by others, kept", len(kept))
        ledger.outputs.append(area.write("captions", pd.concat([kept, written], ignore_index=True)))

    return run_stage(
        "caption",
        manifest=area.path / "captions.manifest.json",
        config=plain(settings),
        inputs=inputs(settings),
        work=work,
    )


VERB = Verb(
    "caption",
    "Write captions from facts, without a language model.",
    Settings,
    run,
    ("area",),
    "chorograph caption my-area --per-image 2",
)
