"""Imagery of a folder into an area: listed or cut, then held."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from chorograph.acquisition.own.imagery.holding import Holder, hold_tiles
from chorograph.acquisition.own.imagery.tiles import list_tiles
from chorograph.ground.stage import Ledger, Progress, silent

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

    from chorograph.acquisition.own.own_settings import ImagerySettings, Provenance, Reading


def take_imagery(
    into: Holder,
    folder: Path,
    asked: ImagerySettings,
    reading: Reading,
    id_column: str,
    regions: gpd.GeoDataFrame | None,
    provenance: Provenance,
    ledger: Ledger,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Take pictures of a folder into an area, rasters cut into tiles where asked; returns the rows of its images."""
    if asked.cut is None:
        tiles = list_tiles(folder, asked, reading, id_column, regions, ledger)
        return hold_tiles(into, tiles, asked, provenance.source, provenance.licence, ledger, progress)
    from chorograph.acquisition.own.imagery.cutting import cut_tiles, parse_cut
    from chorograph.acquisition.own.imagery.outlines import cut_outlines

    with TemporaryDirectory(prefix="chorograph-cut-") as made:
        if parse_cut(asked.cut)[0] == "tiles":
            tiles = cut_tiles(folder, asked, regions, Path(made), ledger, progress)
        else:
            tiles = cut_outlines(folder, asked, reading, id_column, regions, Path(made), ledger, progress)
        return hold_tiles(into, tiles, asked, provenance.source, provenance.licence, ledger, progress)
