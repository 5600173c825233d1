"""A row of made regions and what people have beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
from own_made import IDS, LAT, LON, write_tiles
from shapely.geometry import box

from chorograph.acquisition.own.build import build_area
from chorograph.acquisition.own.own_settings import OwnFiles
from chorograph.area.folder import Area
from chorograph.ground.stage import Ledger


@pytest.fixture
def regions() -> gpd.GeoDataFrame:
    """Four squares of a degree in a row, from 10 to 14 degrees east and 40 to 41 north."""
    return gpd.GeoDataFrame({"region_id": IDS}, geometry=[box(10 + k, 40, 11 + k, 41) for k in range(4)], crs=4326)


@pytest.fixture
def files(tmp_path: Path, regions: gpd.GeoDataFrame) -> OwnFiles:
    """Regions, a tile in each with a table of places, one indicator."""
    regions.rename(columns={"region_id": "geoid"}).to_file(tmp_path / "regions.geojson")
    write_tiles(tmp_path / "tiles")
    rows = [f"t{k},{LON[k]},{LAT}" for k in range(4)]
    (tmp_path / "tiles.csv").write_text("\n".join(["tile,lon,lat", *rows]) + "\n")
    values = [f"{name},{100 + k}" for k, name in enumerate(IDS)]
    (tmp_path / "indicators.csv").write_text("\n".join(["geoid,income_usd", *values]) + "\n")
    return OwnFiles(
        tiles=tmp_path / "tiles",
        tiles_table=tmp_path / "tiles.csv",
        regions=tmp_path / "regions.geojson",
        region_id="geoid",
        indicators=[tmp_path / "indicators.csv"],
    )


@pytest.fixture
def build(tmp_path: Path, files: OwnFiles) -> Callable[..., tuple[Area, Ledger]]:
    """Return a function that builds an area from `files`, some of them other than usual."""

    def make(**others: Any) -> tuple[Area, Ledger]:
        ledger, out = Ledger(), tmp_path / "area"
        build_area(replace(files, **others), out, ledger)
        return Area.open(out), ledger

    return make
