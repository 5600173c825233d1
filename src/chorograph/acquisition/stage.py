"""The `area` verbs as stages: configuration in, an area folder and its manifest out."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from chorograph.acquisition.config import BuildConfig, CheckConfig, ImportConfig, PackConfig, SyntheticConfig
from chorograph.ground.errors import AreaError
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage

_IMPORTERS = {
    "urbanclip": "chorograph.acquisition.layouts.urbanclip:import_urbanclip",
    "urbanvlp": "chorograph.acquisition.layouts.urbanvlp:import_urbanvlp",
    "knowcl": "chorograph.acquisition.layouts.knowcl:import_knowcl",
    "urbankg": "chorograph.acquisition.layouts.urbankg:import_urbankg",
    "rsicd": "chorograph.acquisition.layouts.rsicd:import_rsicd",
    "image-folder": "chorograph.acquisition.own.image_folder:import_image_folder",
    "rs5m": "chorograph.acquisition.pack:import_rs5m",
}


def build(config: BuildConfig, progress: Progress) -> Outcome:
    """Run `area build`."""
    from chorograph.acquisition.own.own_files import build_area

    own = [config.tiles, config.tiles_table, config.regions, config.triples, config.poi, *config.indicators]
    return _make(
        "area build", config, [p for p in own if p is not None], lambda ledger: build_area(config, ledger, progress)
    )


def import_(config: ImportConfig, progress: Progress) -> Outcome:
    """Run `area import`."""
    module, _, name = _IMPORTERS[config.layout].partition(":")
    importer: Callable[..., Any] = getattr(import_module(module), name)
    return _make(
        "area import",
        config,
        [config.src],
        lambda ledger: importer(config.src, config.out, ledger, skip_bad=config.skip_bad, progress=progress),
    )


def pack(config: PackConfig, progress: Progress) -> Outcome:
    """Run `area pack`."""
    from chorograph.acquisition.pack import pack as pack_areas

    return _make("area pack", config, list(config.areas), lambda ledger: pack_areas(config, ledger, progress))


def synthetic(config: SyntheticConfig, progress: Progress) -> Outcome:
    """Run `area synthetic`."""
    from chorograph.synthetic import SyntheticCityConfig, build_synthetic

    city = SyntheticCityConfig(
        regions=config.regions,
        tiles_per_region=config.tiles_per_region,
        street_views_per_region=config.street_views_per_region,
        seed=config.seed,
    )

    def work(ledger: Ledger) -> None:
        area = build_synthetic(city, config.out, progress=progress)
        ledger.count("regions", len(area.regions))
        ledger.count("images", len(area.images))
        ledger.count("captions", len(area.captions))

    return _make("area synthetic", config, [], work)


def check(config: CheckConfig, progress: Progress) -> Outcome:
    """Run `area check`; raises `AreaError` listing every problem."""
    from chorograph.area.check import check_area
    from chorograph.area.folder import Area

    area = Area.open(config.area)
    problems = check_area(area, open_images=config.images, progress=progress)
    if problems:
        raise AreaError(f"{config.area} has {len(problems)} problems:\n" + "\n".join(f"- {p}" for p in problems))
    return Outcome({"stage": "area check", "config": plain(config), "counts": _sizes(area)}, skipped=False)


def info(config: CheckConfig, progress: Progress) -> Outcome:
    """Run `area info`: what the area holds."""
    from chorograph.area.folder import Area

    area = Area.open(config.area)
    facts = {
        "title": area.title,
        "synthetic": area.synthetic,
        "indicators": {
            str(name): {"unit": str(rows["unit"].iloc[0]), "regions": int(rows["value"].notna().sum())}
            for name, rows in area.indicators.groupby("indicator")
        },
        "embeddings": sorted(p.stem for p in (area.path / "embeddings").glob("*.parquet")),
        "sources": [f"{source.name} ({source.licence})" for source in area.sources],
        **dict(area.facts),
    }
    return Outcome(
        {"stage": "area info", "config": plain(config), "counts": _sizes(area), "facts": facts}, skipped=False
    )


def _sizes(area: Any) -> dict[str, int]:
    from chorograph.area.tables import TABLES

    sizes = {name: len(area.read(name)) for name in TABLES if area.has(name)}
    if "images" in sizes:
        sizes["images held"] = int(area.images["uri"].notna().sum())
    return sizes


def _make(name: str, config: Any, inputs: list[Path], work: Callable[[Ledger], None]) -> Outcome:
    return run_stage(name, manifest=config.out / "manifest.json", config=plain(config), inputs=inputs, work=work)
