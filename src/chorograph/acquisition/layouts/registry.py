"""The layouts by name: how published data lies in folders, and what reads it into an area."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from chorograph.ground.registry import Registry
from chorograph.ground.stage import Ledger, Progress


class Importer(Protocol):
    """Builds an area folder out of a published layout."""

    def __call__(self, source: Path, out: Path, ledger: Ledger, *, skip_bad: bool, progress: Progress) -> None:
        """Read the files below `source` and write the area `out`; with `skip_bad`, count unreadable images."""


LAYOUTS: Registry[Importer] = Registry("layout")
LAYOUTS.add(
    "urbanclip",
    "chorograph.acquisition.layouts.urbanclip:import_urbanclip",
    "captions, tiles and labels of Chinese cities",
    paper="Yan et al. 2024, UrbanCLIP",
)
LAYOUTS.add(
    "urbanvlp",
    "chorograph.acquisition.layouts.urbanvlp:import_urbanvlp",
    "satellite tiles, street views, captions of both, and labels",
    paper="Hao et al. 2025, UrbanVLP",
)
LAYOUTS.add(
    "knowcl",
    "chorograph.acquisition.layouts.knowcl:import_knowcl",
    "a knowledge graph, imagery by region, and indicators",
    paper="Liu et al. 2023, Knowledge-infused contrastive learning for urban imagery-based socioeconomic prediction",
)
LAYOUTS.add(
    "urbankg",
    "chorograph.acquisition.layouts.urbankg:import_urbankg",
    "typed facts, and indicators of anonymous regions in three parts",
    paper="Ning and Liu 2024, LLM_UrbanKG",
)
LAYOUTS.add(
    "rsicd",
    "chorograph.acquisition.layouts.rsicd:import_rsicd",
    "aerial images of 30 classes with five captions each, and other sets of the same form",
    paper="Lu et al. 2017, Exploring models and data for remote sensing image caption generation",
)
LAYOUTS.add(
    "image-folder",
    "chorograph.acquisition.own.image_folder:import_image_folder",
    "any folder of class folders of images, as torchvision's ImageFolder reads it",
)
LAYOUTS.add(
    "rs5m",
    "chorograph.acquisition.pack:import_rs5m",
    "the split archives of image-text pairs with CSV files of captions beside them",
    paper="Zhang et al. 2024, RS5M and GeoRSCLIP",
)
