"""Vectors of regions out of AlphaEarth's and TESSERA's files, named with their version, year and licence."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chorograph.acquisition.own.joining import LEAST_COVERED
from chorograph.acquisition.sources.rasters import SUFFIXES
from chorograph.acquisition.sources.vectors import alphaearth, tessera
from chorograph.acquisition.sources.vectors.fields import Field, pooled
from chorograph.area.folder import Source
from chorograph.area.raster_files import NoRasterError, open_raster
from chorograph.graph.vectors import GraphEmbeddings
from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.acquisition.own.own_settings import EmbeddingSettings
    from chorograph.ground.stage import Ledger, Progress


class _Opened(Protocol):
    """Opens a file of vectors."""

    def __call__(self, path: Path, /) -> AbstractContextManager[Field]: ...


@dataclass(frozen=True)
class Made:
    """Vectors that somebody made: of what source, their files, how one is opened, and each one's version and year.

    `unit`: whether vectors have length one, and means are brought to it.
    """

    source: Source
    files: list[Path]
    opened: _Opened
    versions: list[tuple[str | None, int | None]]
    width: int
    unit: bool


def made_elsewhere(path: Path) -> Made | None:
    """Return what a file or folder holds in AlphaEarth's or TESSERA's form; None for anything else."""
    if path.is_dir() and (tiles := tessera.tiles_of(path)):
        return _tessera(path, tiles)
    if path.suffix.lower() in SUFFIXES:
        files = [path]
    elif path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    else:
        return None
    for file in files[:1]:
        try:
            with open_raster(file) as dataset:
                if alphaearth.is_alphaearth(dataset):
                    versions = [alphaearth.version_of(other.absolute()) for other in files]
                    return Made(alphaearth.SOURCE, files, alphaearth.field_of, versions, alphaearth.WIDTH, unit=True)
                if tessera.is_tessera(dataset):
                    return _tessera(path, files)
        except NoRasterError:
            return None
    return None


def _tessera(path: Path, files: list[Path]) -> Made:
    folder = path if path.is_dir() else path.parent
    versions = [tessera.version_of(file, folder) for file in files]
    return Made(tessera.SOURCE, files, tessera.field_of, versions, tessera.WIDTH, unit=False)


def region_vectors(
    made: Made, asked: EmbeddingSettings, regions: gpd.GeoDataFrame, ledger: Ledger, progress: Progress
) -> GraphEmbeddings:
    """Return a vector a region: numbers dequantised, then averaged by each cell's share of the region.

    AlphaEarth's have length one, and so has a region's. A region of which less than a hundredth has vectors has none,
    and is counted. Raises `InputError` where files are of two years or versions, or nobody says which, or no region is
    covered.
    """
    version, year = _one(made, asked)
    held = regions[regions.geometry.notna()].reset_index(drop=True)

    def fields() -> Iterator[Field]:
        for done, file in enumerate(made.files, start=1):
            with made.opened(file) as field:
                yield field
            progress("reading vectors", done, len(made.files))

    vectors, shares = pooled(fields(), held.geometry.to_numpy(), made.width)
    known = np.isfinite(vectors).all(1) & (shares >= LEAST_COVERED)
    if not known.any():
        raise InputError(f"{made.files[0].parent}: no region touches a cell with a vector; is it of another place?")
    ledger.drop("region without geometry", len(regions) - len(held))
    ledger.drop("region without vectors", int((~known).sum()))
    if partly := int((known & (shares < 0.99)).sum()):
        ledger.warnings.append(f"{partly} regions have vectors in part only; theirs is the mean of those")
    kept = vectors[known]
    if made.unit:
        kept = kept / np.maximum(np.linalg.norm(kept, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    stored = kept.astype(np.float32)
    told = f"{made.source.name} {version}, {year}, {made.source.licence}"
    ledger.facts["vectors"] = {
        "made by": made.source.name, "version": version, "year": year, "licence": made.source.licence,
        "files": len(made.files), "mean": "by each cell's share of a region, after dequantising",
    }  # fmt: skip
    digest = hashlib.sha256(stored.tobytes()).hexdigest()
    return GraphEmbeddings(asked.name, digest, held["region_id"].to_numpy(object)[known], stored, note=told)


def _one(made: Made, asked: EmbeddingSettings) -> tuple[str, int]:
    """Return the version and year of all files; `InputError` where there are two, or none is known."""
    found: list[Any] = []
    for position, (said, word) in enumerate(((asked.version, "version"), (asked.year, "year"))):
        told: set[Any] = {pair[position] for pair in made.versions} - {None}
        if len(told) > 1:
            raise InputError(
                f"{made.files[0].parent} holds {made.source.name} of {len(told)} {word}s "
                f"({', '.join(map(str, sorted(told)))}): each is a space of its own; give one"
            )
        one = said if said is not None else next(iter(told), None)
        if one is None or (told and said is not None and said not in told):
            wrong = f"is of {word} {next(iter(told))}" if told else f"does not say its {word}"
            raise InputError(f"{made.files[0]} {wrong}; say --{word}")
        found.append(one)
    return found[0], found[1]
