"""The template of a city: from a boundary, a tile service and a census on loopback to an area that is ready."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pytest
import yaml
from shapely.geometry import box

from chorograph.area.check import check_area
from chorograph.area.folder import Area
from chorograph.ground.errors import ChorographError
from chorograph.ground.recipe_file import find_recipe
from chorograph.ground.stage import silent
from chorograph.recipe.run import read_recipe, run_recipe
from tile_server import tile_server


def test_from_a_boundary_to_an_area(tmp_path: Path) -> None:
    outline = box(11.0, 48.0, 11.05, 48.03)
    gpd.GeoDataFrame(geometry=[outline], crs=4326).to_file(tmp_path / "boundary.geojson")
    halves = [box(11.0, 48.0, 11.025, 48.03), box(11.025, 48.0, 11.05, 48.03)]
    census = gpd.GeoDataFrame({"income": [20_000, 30_000]}, geometry=halves, crs=4326)
    census.to_file(tmp_path / "census.geojson")
    content = yaml.safe_load(find_recipe("your-city").read_text(encoding="utf-8"))
    # Up to the area; on loopback, which a service of the web is not.
    content["stages"] = content["stages"][:3]
    content["stages"][1]["area add imagery"] |= {"allow": ["127.0.0.3/32"], "pause_s": 0}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    with tile_server() as server:
        arguments = {
            "boundary": str(tmp_path / "boundary.geojson"), "grid": "square:1000", "imagery": f"xyz:{server.template}",
            "zoom": "15", "indicators": str(tmp_path / "census.geojson"), "column": "income", "unit": "EUR/year",
            "kind": "mean",
        }  # fmt: skip
        recipe = read_recipe(tmp_path / "mine.yaml", arguments, tmp_path / "out")
        run_recipe(recipe, tmp_path / "out", silent, lambda *_: None)
    area = Area.open(tmp_path / "out" / "area")
    assert check_area(area) == [] and len(area.images) == sum(server.asked.values()) > 10
    assert area.images["region_id"].isin(area.regions["region_id"]).all()
    assert area.indicators["value"].between(19_999, 30_001).all() and len(area.indicators) == len(area.regions)


def test_it_names_what_must_be_said() -> None:
    with pytest.raises(ChorographError, match="--set"):
        read_recipe(find_recipe("your-city"), {}, Path("out"))
