"""The same city from prepared files and from the files as agencies give them: equal tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chorograph.acquisition.own.build import build_area
from chorograph.acquisition.own.own_settings import OwnFiles
from chorograph.acquisition.own.regions import region_at
from chorograph.area.check import check_area
from chorograph.area.folder import Area
from chorograph.area.tiles import tile_centre
from chorograph.ground.stage import Ledger

TRACTS = 12


def _prepared(data: Path, folder: Path) -> OwnFiles:
    """Write the first tracts, up to two tiles of each, and their rows of every table."""
    tracts = gpd.read_file(data / "tracts.geojson").iloc[:TRACTS]
    tracts.to_file(folder / "tracts.geojson")
    ids = set(tracts["geoid"].astype(str))
    for name in ("indicators.csv", "poi_counts.csv", "tiles.csv"):
        frame = pd.read_csv(data / name, dtype=str)
        frame = frame[frame["geoid"].isin(ids)]
        frame = frame.groupby("geoid").head(2) if name == "tiles.csv" else frame
        frame.to_csv(folder / name, index=False)
    return OwnFiles(
        tiles=data / "tiles",
        tiles_table=folder / "tiles.csv",
        regions=folder / "tracts.geojson",
        region_id="geoid",
        indicators=[folder / "indicators.csv"],
        poi=folder / "poi_counts.csv",
    )


def _as_agencies_give_them(prepared: OwnFiles, folder: Path) -> OwnFiles:
    """Write the same as a shapefile in feet, a workbook with bare numbers for ids, nested PNGs and a file of points."""
    tracts = gpd.read_file(prepared.regions)
    tracts.rename(columns={"geoid": "GEOID10"}).to_crs(2285).to_file(folder / "tracts.shp")
    incomes = pd.read_csv(prepared.indicators[0], dtype={"geoid": np.int64})
    incomes.rename(columns={"geoid": "Tract"}).to_excel(folder / "incomes.xlsx", index=False)
    for tile in pd.read_csv(prepared.tiles_table)["tile"]:
        zoom, x, y = tile.split("_")
        (folder / "tiles" / zoom / x).mkdir(parents=True, exist_ok=True)
        with Image.open(prepared.tiles / f"{tile}.jpg") as image:
            image.save(folder / "tiles" / zoom / x / f"{y}.png")
    counts = pd.read_csv(prepared.poi, dtype={"geoid": str}).set_index("geoid")
    inner = tracts.set_index("geoid").geometry.representative_point()
    points = [
        (kind, inner[tract])
        for tract, row in counts.iterrows()
        for kind, count in row.items()
        for _ in range(int(count))
    ]
    frame = gpd.GeoDataFrame({"fclass": [kind for kind, _ in points]}, geometry=[at for _, at in points], crs=4326)
    frame.to_crs(2285).to_file(folder / "poi.gpkg")
    return replace(
        prepared,
        tiles=folder / "tiles",
        tiles_table=None,
        regions=folder / "tracts.shp",
        region_id="GEOID10",
        indicators=[folder / "incomes.xlsx"],
        poi=folder / "poi.gpkg",
        id_of=["incomes.xlsx=Tract"],
        category="fclass",
    )


@pytest.mark.real
def test_king_county_from_raw_files(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    prepared = _prepared(real_data("king-county"), tmp_path)
    (tmp_path / "raw").mkdir()
    raw = _as_agencies_give_them(prepared, tmp_path / "raw")
    build_area(prepared, tmp_path / "a", Ledger())
    build_area(raw, tmp_path / "b", Ledger())
    a, b = Area.open(tmp_path / "a"), Area.open(tmp_path / "b")
    assert check_area(b) == []
    assert b.regions["region_id"].tolist() == a.regions["region_id"].tolist()
    assert (a.regions.geometry.to_crs(2285).symmetric_difference(b.regions.geometry.to_crs(2285)).area < 100).all()
    keys = ["region_id", "indicator"]
    pd.testing.assert_frame_equal(
        a.indicators.sort_values(keys, ignore_index=True), b.indicators.sort_values(keys, ignore_index=True)
    )
    told = a.read("poi_counts").query("count > 0").sort_values(["region_id", "poi"], ignore_index=True)
    found = b.read("poi_counts").sort_values(["region_id", "poi"], ignore_index=True)
    pd.testing.assert_frame_equal(told, found)
    columns = ["region_id", "zoom", "x", "y", "lon", "lat"]
    pd.testing.assert_frame_equal(
        a.images.sort_values(["x", "y"])[columns].reset_index(drop=True),
        b.images.sort_values(["x", "y"])[columns].reset_index(drop=True),
    )
    uris = b.images.set_index(["x", "y"])["uri"]
    for image in a.images.itertuples():
        assert (a.read_image(image.uri) == b.read_image(uris[image.x, image.y])).all()


@pytest.mark.real
def test_the_names_of_king_countys_tiles_say_what_their_table_says(real_data: Callable[[str], Path]) -> None:
    data = real_data("king-county")
    told = pd.read_csv(data / "tiles.csv", dtype=str)
    zoom, x, y = told["tile"].str.split("_", expand=True).astype(int).to_numpy().T
    lon, lat = tile_centre(x, y, zoom)
    tracts = gpd.read_file(data / "tracts.geojson").rename(columns={"geoid": "region_id"})
    found, on_a_border = region_at(lon, lat, tracts)
    assert found.tolist() == told["geoid"].tolist() and on_a_border == 0
    assert set(told["tile"]) == {path.stem for path in (data / "tiles").iterdir()}
