"""What `curate` and its companions can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting


@dataclass(frozen=True)
class CurateConfig:
    """Settings of `chorograph curate`."""

    recipe: str = setting(help="a recipe file with `steps`, or the name of one that ships with chorograph")
    in_: list[str] = setting(help="Parquet files, folders or patterns, each as PATH or SOURCE=PATH")
    out: Path = setting(Path("curated"), help="folder for the corpus, what was dropped, statistics and report")
    engine: str = setting("native", help="native, or ray for many machines", choices=("native", "ray"))
    ray_address: str | None = setting(None, help="HOST:PORT of a running Ray cluster; without it, Ray runs here")
    set: list[str] = setting([], help="NAME=VALUE for an argument of the recipe")
    partition_rows: int = setting(1_000_000, help="rows of a partition: what an interruption costs at most")
    batch_rows: int = setting(1024, help="rows that the steps see at once")
    device: str = setting("cpu", help="where models run: cpu, cuda, cuda:1")
    keep_work: bool = setting(True, help="keep partitions and fetched images, so that a source can be added later")


@dataclass(frozen=True)
class FitDetectorConfig:
    """Settings of `chorograph curate fit-detector`."""

    positive: Path = setting(help="images that show the topic: a folder, an area or corpus, or a shard")
    negative: Path = setting(help="images that do not")
    out: Path = setting(Path("detector"), help="folder for the fitted head")
    model: str = setting("efficientnet-lite0", help="the encoder under the head; any that needs no fitting")
    device: str = setting("cpu", help="where the encoder runs")
    seed: int = setting(0, help="what shares out train, validation and test")


@dataclass(frozen=True)
class LookConfig:
    """Settings of `chorograph curate look`."""

    shard: Path = setting(help="a shard (tar), or an area or folder with images")
    out: Path | None = setting(None, help="the contact sheet, a JPEG or PNG (default: beside the shard)")
    number: int = setting(48, help="images on the sheet, drawn at random")
    seed: int = setting(0, help="what draws them")


@dataclass(frozen=True)
class DecontaminateConfig:
    """Settings of `chorograph curate decontaminate`."""

    corpus: Path = setting(help="the corpus to clean")
    against: list[Path] = setting(help="test sets: areas, folders of images, or shards")
    out: Path = setting(help="the clean corpus, a new folder")
    distance: int = setting(6, help="bits of 64 that two perceptual hashes may differ in and be the same picture")
