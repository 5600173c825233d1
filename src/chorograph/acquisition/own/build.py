"""An area from anybody's own files: tiles, polygons, tables of indicators, facts and counts.

Every complaint names the file and the line; a CSV's header is line 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from chorograph.acquisition.own.facts import read_graph
from chorograph.acquisition.own.grids import cells_within
from chorograph.acquisition.own.imagery.taking import take_imagery
from chorograph.acquisition.own.indicators import check_units, read_indicators
from chorograph.acquisition.own.own_settings import Reading
from chorograph.acquisition.own.points import read_points
from chorograph.acquisition.own.reading.features import read_features
from chorograph.acquisition.own.regions import read_regions
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Source
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger, Progress, silent

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.acquisition.own.own_settings import NewArea, OwnFiles


def build_area(asked: OwnFiles, out: Path, ledger: Ledger, progress: Progress = silent) -> None:
    """Build the area at `out`; raises `InputError` before anything is written there, whatever is wrong."""
    regions = read_regions(asked.regions, asked, asked, ledger) if asked.regions else None
    tables = _read_tables(asked, regions, ledger)
    source = Source(asked.source, asked.licence)
    with AreaDraft(out, asked.name or out.resolve().name, asked.title or "", sources=[source]) as draft:
        if regions is not None:
            draft.write("regions", regions)
            ledger.count("regions", len(regions))
        for name, frame in tables.items():
            draft.write(name, frame)
            ledger.count(name, len(frame))
        if asked.tiles:
            column = asked.id_column(asked.tiles_table or asked.tiles)
            images = take_imagery(draft, asked.tiles, asked, asked, column, regions, asked, ledger, progress)
            draft.write("images", images)
            ledger.count("images", len(images))
            ledger.count("images held", int(images["uri"].notna().sum()))


def _read_tables(asked: OwnFiles, regions: gpd.GeoDataFrame | None, ledger: Ledger) -> dict[str, pd.DataFrame]:
    """Return the tables beside regions and images."""
    tables: dict[str, pd.DataFrame] = {}
    if regions is None and (asked.indicators or asked.poi):
        raise InputError(f"{'indicators' if asked.indicators else 'points of interest'} need regions: give --regions")
    if asked.indicators and regions is not None:
        frames = [
            read_indicators(path, asked, asked, asked.id_column(path), regions, asked.source, ledger)
            for path in asked.indicators
        ]
        tables["indicators"] = pd.concat(frames, ignore_index=True)
        _check_files_apart(tables["indicators"], [path for path, frame in zip(asked.indicators, frames, strict=True)
                                                  for _ in range(len(frame))])  # fmt: skip
        check_units(asked, tables["indicators"])
    if asked.poi and regions is not None:
        tables["poi_counts"] = read_points(asked.poi, asked, asked, asked.id_column(asked.poi), regions, ledger)
    if asked.triples:
        known = set(regions["region_id"]) if regions is not None else set()
        tables["triples"], tables["entities"] = read_graph(asked.triples, known)
    return tables


def _check_files_apart(frame: pd.DataFrame, paths: list[Path]) -> None:
    """Raise `InputError` naming two files that both say an indicator of a region and year."""
    keys = ["region_id", "indicator", "year"]
    if not (twice := frame.duplicated(keys).to_numpy()).any():
        return
    row = int(twice.argmax())
    same = (frame.groupby(keys, dropna=False).ngroup().pipe(lambda number: number == number.iloc[row])).to_numpy()
    raise InputError(
        f"{paths[row]}: {frame['indicator'].iloc[row]} of region {frame['region_id'].iloc[row]!r} stands in "
        f"{paths[int(same.argmax())]} too ({int(twice.sum())} in all); give it once, or say the years in a column year"
    )


def new_area(asked: NewArea, out: Path, ledger: Ledger) -> None:
    """Make an area of regions alone: those of a file, or cells of a grid inside a boundary; or an empty corpus."""
    if asked.regions is not None and (asked.boundary is not None or asked.grid is not None):
        raise InputError("regions come of a file (--regions) or of a grid inside a boundary, not of both")
    if (asked.boundary is None) != (asked.grid is None):
        raise InputError("a boundary needs a grid, and a grid a boundary: give --boundary FILE --grid square:500")
    reading = Reading(encoding=asked.encoding)
    regions = None
    if asked.regions is not None:
        regions = read_regions(asked.regions, asked, reading, ledger)
    elif asked.boundary is not None and asked.grid is not None:
        outline = read_features(
            asked.boundary, layer=asked.layer, crs=asked.crs, encoding=asked.encoding, kinds=("Polygon",),
            notes=ledger.warnings,
        )  # fmt: skip
        regions = cells_within(outline, asked.grid)
    source = Source(asked.source, asked.licence)
    with AreaDraft(out, asked.name or out.resolve().name, asked.title or "", sources=[source]) as draft:
        if regions is not None:
            draft.write("regions", regions)
            ledger.count("regions", len(regions))
