"""`describe`: regions in words, from the tables, each sentence with its evidence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import above, at_least, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph describe`."""

    area: Path = setting(help="the area folder")
    region: list[str] = setting([], help="the regions, by id; default: all")
    predictions: str | None = setting(
        None, help="predictions filed in the area (predict --save NAME); default: the only ones there are"
    )
    writer: str | None = setting(
        None, help="a language model that words the facts, openai:MODEL@URL; default: the facts as they are"
    )
    concurrency: int = setting(8, help="requests that are under way together", within=at_least(1))
    timeout_s: float = setting(120.0, help="seconds that the model has for an answer", within=above(0))
    max_requests: int | None = setting(None, help="most requests, of all runs", within=at_least(0))
    max_total_tokens: int | None = setting(None, help="most tokens, of all runs", within=at_least(0))


def run(settings: Settings, progress: Progress) -> Outcome:
    """Describe, into the area's `descriptions.parquet`."""
    from chorograph.area.folder import Area
    from chorograph.captioning.describing.run import describe_area
    from chorograph.captioning.settings import CaptionSettings

    area = Area.open(settings.area)
    endpoint = CaptionSettings(
        concurrency=settings.concurrency,
        timeout_s=settings.timeout_s,
        max_requests=settings.max_requests,
        max_total_tokens=settings.max_total_tokens,
    )

    def work(ledger: Ledger) -> None:
        describe_area(
            area,
            ledger,
            regions=settings.region,
            run=settings.predictions,
            writer=settings.writer,
            settings=endpoint,
            progress=progress,
        )

    tables = ("regions", "images", "indicators", "poi_counts", "triples", "entities", "captions")
    return run_stage(
        "describe",
        manifest=area.path / "descriptions.manifest.json",
        config=plain(settings),
        inputs=[*(settings.area / f"{name}.parquet" for name in tables), settings.area / "predictions"],
        work=work,
    )


VERB = Verb(
    "describe",
    "Describe regions in words: facts from the tables, each sentence with its evidence.",
    Settings,
    run,
    ("area",),
    "chorograph describe my-area --region R001",
)
