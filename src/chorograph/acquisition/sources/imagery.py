"""Satellite imagery of a source into an area: which windows, the picture of each, placeholders, what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import pandas as pd

from chorograph.acquisition.own.own_settings import Provenance
from chorograph.acquisition.sources.coverage import coverage_path, write_coverage
from chorograph.acquisition.sources.journal import Row, open_journal
from chorograph.acquisition.sources.keeping import Keeper, held_before, keep_all
from chorograph.acquisition.sources.outlined import boxes_of, masked
from chorograph.acquisition.sources.placeholders import drop_placeholders, known_placeholders
from chorograph.acquisition.sources.source import Imagery, Picture, Take, open_source
from chorograph.acquisition.sources.source_settings import FetchSettings
from chorograph.acquisition.sources.windows import Wanted, outlines, rectangles_of, squares_of, tiles_of
from chorograph.area.folder import Area, Source
from chorograph.area.growing import add_rows, add_source
from chorograph.ground.errors import InputError, SettingError
from chorograph.ground.files import slug
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Progress, silent

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.acquisition.sources.source_settings import SourceImagery


def add_source_imagery(
    area: Area,
    address: str,
    name: str,
    asked: SourceImagery,
    ledger: Ledger,
    progress: Progress = silent,
    *,
    replace: bool = False,
) -> None:
    """Add pictures of the area's regions from `address` (`xyz:…`), under `name` in the folders `added` and `coverage`.

    What an earlier run had is not fetched again, also where it was killed. Raises `InputError` where there are no
    regions or nothing could be had.
    """
    if not area.has_regions:
        raise InputError(f"{area.path} has no regions to picture; chorograph area new OUT --regions FILE makes them")
    source: Imagery = open_source(address, asked, "imagery")
    wanted = wanted_windows(area.regions, asked)
    if not wanted.windows:
        raise InputError(
            "no window has its middle in a region; give a larger --zoom, a finer --resolution-m, or --by region"
        )
    known, images = known_placeholders(asked.placeholder), area.images
    names, windows = wanted.frame["image_id"].tolist(), wanted.windows
    with open_journal(area.path / "added" / f"imagery-{slug(name)}.journal", identity(asked, address)) as journal:
        keeper = Keeper(area.path, journal, set(images["uri"].dropna()))
        for row in held_before(images, names, lambda number: source.url(windows[number])):
            journal.rows.setdefault(row.name, row)

        shapes = area.regions.set_index("region_id").geometry

        def fetch(left: Sequence[int], take: Take) -> None:
            def cut(place: int, picture: Picture) -> None:
                number = left[place]
                polygon = shapes[wanted.frame["region_id"].iloc[number]]
                take(place, masked(picture, windows[number], polygon))

            source.fetch([windows[number] for number in left], cut if asked.by == "mask" else take)

        rows = keep_all(
            keeper, names, lambda number: source.url(windows[number]), fetch, ledger, progress, "pictures",
            again=asked.retry_missing,
        )  # fmt: skip
        rows = drop_placeholders(keeper, rows, known, asked.repeated, ledger)
        about = about_of(source.about, asked)
        add_rows(area, "images", image_rows(wanted.frame, rows, about, "satellite"), ledger, replace=replace)
        add_source(area, about)
        write_coverage(coverage_path(area, name), wanted.frame, list(outlines(windows)), rows, area.regions, ledger)


def wanted_windows(regions: gpd.GeoDataFrame, asked: SourceImagery) -> Wanted:
    """Return the windows that settings ask for: map tiles of a zoom, or squares or rectangles of a resolution."""
    if (asked.zoom is None) == (asked.resolution_m is None):
        raise SettingError("say how finely: --zoom for map tiles, or --resolution-m for rasters")
    if asked.zoom is not None:
        return tiles_of(regions, asked.zoom, asked.pixels) if asked.by == "square" else boxes_of(regions, asked.zoom)
    metres = float(asked.resolution_m or 0)
    if asked.by != "square":
        return rectangles_of(regions, metres, asked.grid_crs)
    return squares_of(regions, metres, asked.pixels, asked.grid_crs)


def image_rows(frame: pd.DataFrame, rows: Sequence[Row], about: Source, view: str) -> pd.DataFrame:
    """Return the rows of the table of images of what is held."""
    columns = {name: [getattr(row, name) for row in rows] for name in ("uri", "sha256", "captured", "url")}
    found = frame.assign(**columns)
    found = found[found["uri"].notna()].reset_index(drop=True)
    given = found["licence"] if "licence" in found else pd.Series(None, index=found.index, dtype=object)
    return found.assign(view=view, source=about.name, licence=given.fillna(about.licence))


def about_of(about: Source, provenance: Provenance) -> Source:
    """Return what a source says of itself, with what the user says in its place."""
    plainly = Provenance()
    name = about.name if provenance.source == plainly.source else provenance.source
    licence = about.licence if provenance.licence == plainly.licence else provenance.licence
    return Source(name, licence, about.attribution, about.url)


def identity(asked: FetchSettings, address: str) -> str:
    """Return what makes pictures what they are, as text: all that is asked but how politely it is fetched."""
    polite = {field.name for field in fields(FetchSettings)} - {"dates"}
    provenance = {
        name: value for name, value in plain(asked).items() if name not in (*polite, "area", "from_", "replace")
    }
    return json.dumps([address, provenance], sort_keys=True, default=str)
