"""`caption`: captions of an area's images."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorograph.captioning.settings import CaptionSettings
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.verb import Verb

if TYPE_CHECKING:
    import pandas as pd

    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(CaptionSettings):
    """Settings of `chorograph caption`."""

    area: Path = setting(help="the area folder")
    engine: str = setting(
        "plain",
        help="how requests are run: plain (this process), or a Daft plan for millions of them, native or ray",
        choices=("plain", "native", "ray"),
    )
    ray_address: str | None = setting(None, help="a Ray cluster, HOST:PORT or auto; default: one on this machine")
    csv: Path | None = setting(None, help="also write city, image and caption here, sorted, as UrbanCLIP's second task")


def inputs(settings: Settings) -> list[Path]:
    """Return the tables that facts are taken from, and the models that are files or folders."""
    tables = [settings.area / f"{name}.parquet" for name in ("images", "poi_counts", "triples", "entities", "regions")]
    named = [*settings.captioner.partition(":")[2].split("+"), settings.prompt]
    return tables + [Path(name) for name in named if name and Path(name).exists()]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Write captions: they replace earlier ones of the same origin; those by others stay."""
    from chorograph.area.folder import Area
    from chorograph.captioning.registry import CAPTIONERS
    from chorograph.captioning.run.area import book_path, caption_area, failures

    CAPTIONERS[settings.captioner.partition(":")[0]]  # a name that nobody knows ends the work before it begins
    area = Area.open(settings.area)

    def work(ledger: Ledger) -> None:
        import pandas as pd

        plan: dict[str, Any] = {"engine": settings.engine, "ray_address": settings.ray_address}
        written, origin = caption_area(area, shared(settings), ledger, progress, **plan)
        kept = area.captions[area.captions["origin"] != origin]
        ledger.count("captions", len(written))
        ledger.count("captions by others, kept", len(kept))
        ledger.outputs.append(area.write("captions", pd.concat([kept, written], ignore_index=True)))
        if settings.csv is not None:
            ledger.outputs.append(_write_csv(area, written, settings.csv))

    return run_stage(
        "caption",
        manifest=area.path / "captions.manifest.json",
        # Requests that failed for a reason that may pass are asked again by the next run.
        config={**_asked(settings), "failed": failures(book_path(area, settings.captioner))},
        inputs=inputs(settings),
        work=work,
        shared=[area.table_path("captions")],
    )


def shared(settings: Settings) -> CaptionSettings:
    """Return the settings that captioners read, without those of the verb."""
    return CaptionSettings(**{field.name: getattr(settings, field.name) for field in fields(CaptionSettings)})


def _asked(settings: Settings) -> dict[str, Any]:
    """Return the settings that decide the captions; how patiently they are asked for does not."""
    patience = ("concurrency", "timeout_s", "retries", "wait_s", "engine", "ray_address")
    return {name: value for name, value in plain(settings).items() if name not in patience}


def _write_csv(area: Area, captions: pd.DataFrame, path: Path) -> Path:
    """Write city, image, caption, sorted; the city is the region's group, or the area."""
    from chorograph.ground.files import atomic_path

    regions = area.regions.set_index("region_id")["group"] if area.has_regions else {}
    region_of = area.images.drop_duplicates("image_id").set_index("image_id")["region_id"]
    groups = captions["image_id"].map(region_of).map(regions)
    city = [group if isinstance(group, str) else area.name for group in groups]
    table = captions.assign(city=city, image=captions["image_id"])[["city", "image", "caption"]]
    with atomic_path(path) as temporary:
        table.sort_values(["city", "image", "caption"]).to_csv(temporary, index=False)
    return path


VERB = Verb(
    "caption",
    "Write captions: from facts, by a model that runs here, or by an endpoint.",
    Settings,
    run,
    ("area",),
    "chorograph caption my-area --captioner openai:qwen3-vl@http://localhost:8000/v1",
)
