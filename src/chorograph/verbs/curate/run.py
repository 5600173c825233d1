"""`curate`: image-text pairs of Parquet files through a recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorograph.ground.settings import at_least, placed, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph curate`."""

    recipe: str = setting(help="a recipe file with `steps`, or the name of one that ships with chorograph")
    in_: list[str] = setting(help="Parquet files, folders or patterns, each as PATH or SOURCE=PATH")
    out: Path = setting(Path("curated"), help="folder for the corpus, what was dropped, statistics and report")
    engine: str = setting("native", help="native, or ray for many machines", choices=("native", "ray"))
    ray_address: str | None = setting(None, help="HOST:PORT of a running Ray cluster; without it, Ray runs here")
    set: list[str] = setting([], help="NAME=VALUE for an argument of the recipe")
    partition_rows: int = setting(
        1_000_000, help="rows of a partition: what an interruption costs at most", within=at_least(1)
    )
    batch_rows: int = setting(1024, help="rows that the steps see at once", within=at_least(1))
    device: str = setting("cpu", help="where models run: cpu, cuda, cuda:1")
    keep_work: bool = setting(True, help="keep partitions and fetched images, so that a source can be added later")


def inputs(settings: Settings) -> list[Path]:
    """Return the recipe; the identities of the partitions stand among the manifest's settings."""
    from chorograph.ground.recipe_file import find_recipe

    return [find_recipe(settings.recipe)]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Run the recipe's steps with models by name; the plan is printed on stderr before."""
    from functools import partial

    from rich.console import Console

    from chorograph.models.encoders.registry import load_encoder

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    return curate_with(
        settings, progress, partial(load_encoder, device=settings.device), partial(console.print, markup=False)
    )


def curate_with(
    settings: Settings, progress: Progress, load_encoder: Callable[[str], Any], announce: Callable[[str], None]
) -> Outcome:
    """Run the recipe's steps; `announce` is told the plan, line by line, before it runs."""
    from chorograph.curation.run.curate import curate
    from chorograph.curation.run.partitions import find_partitions, placed_input
    from chorograph.curation.run.plan import read_plan
    from chorograph.ground.recipe_file import read_arguments

    (recipe,) = inputs(settings)
    plan = read_plan(recipe, read_arguments(settings.set))
    hidden: Counter[str] = Counter()
    partitions = find_partitions(
        settings.in_, plan.columns, settings.partition_rows, lambda reason: hidden.update([reason])
    )
    for line in plan.lines():
        announce(line)
    rows = sum(partition.rows for partition in partitions)
    announce(f"{rows:,} rows in {len(partitions):,} partitions, engine {settings.engine}")

    def work(ledger: Ledger) -> None:
        for reason, number in hidden.items():
            ledger.drop(reason, number)
        curate(
            plan,
            partitions,
            settings.out,
            ledger,
            load_encoder=load_encoder,
            engine_name=settings.engine,
            ray_address=settings.ray_address,
            batch_rows=settings.batch_rows,
            keep_work=settings.keep_work,
            progress=progress,
        )

    config = {
        # Neither the engine nor its address changes the result, nor do the sizes of batches.
        **{name: value for name, value in plain(settings).items() if name in ("out", "set")},
        "in_": [placed_input(text) for text in settings.in_],
        "recipe": str(placed(recipe)),
        "plan": plan.lines(),
        "partitions": [partition.identity for partition in partitions],
    }
    return run_stage("curate", manifest=settings.out / "manifest.json", config=config, inputs=[recipe], work=work)


VERB = Verb(
    "curate",
    "Filter image-text pairs of Parquet files by a recipe: keywords, fetching, duplicates, relevance.",
    Settings,
    run,
    ("recipe",),
    "chorograph curate zhang2024_rs5m --in laion=pairs/*.parquet --out rs5m",
)
