"""Map files that open coloured: read back by GDAL, and by QGIS itself where it is installed."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import Point, box

from chorograph.area.map_files import ColouredColumn, qml, write_geopackage, write_style

#: Opens a layer as a drop into QGIS does, and prints its renderer's kind, the column and the number of its classes.
_IN_QGIS = """
import os
import sys
from qgis.core import QgsApplication, QgsVectorLayer
app = QgsApplication([], False)
app.initQgis()
layer = QgsVectorLayer(sys.argv[1], "dropped", "ogr")
renderer = layer.renderer()
print(layer.featureCount(), renderer.type(), renderer.classAttribute(), len(renderer.ranges()), flush=True)
os._exit(0)  # taking QGIS down again may crash, which says nothing of the layer
"""


def _parsed(style: str) -> ElementTree.Element:
    return ElementTree.fromstring(style.partition("\n")[2])  # noqa: S314 - our own text


def _frame(points: bool = False) -> gpd.GeoDataFrame:
    number = 40
    shapes = [Point(k, 0) if points else box(k, 0, k + 1, 1) for k in range(number)]
    columns = {"region_id": [f"r{k}" for k in range(number)], 'price "m2"': np.arange(number) ** 2.0, "same": 3.0}
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=4326)


def test_the_geopackage_holds_the_rows_and_a_style_a_column(tmp_path: Path) -> None:
    columns = [ColouredColumn('price "m2"', "Price"), ColouredColumn("same", "Same")]
    path = write_geopackage(tmp_path / "map.gpkg", _frame(), columns)
    assert len(gpd.read_file(path, layer="predictions")) == 40
    with sqlite3.connect(path) as store:
        rows = store.execute("SELECT styleName, useAsDefault, f_table_name FROM layer_styles ORDER BY id").fetchall()
    assert rows == [("Price", 1, "predictions"), ("Same", 0, "predictions")]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["map.gpkg"]


def test_classes_hold_equal_numbers_and_every_value() -> None:
    values = np.r_[np.arange(60.0), np.nan]
    ranges = _parsed(qml("x", values)).iter("range")
    edges = [(float(row.attrib["lower"]), float(row.attrib["upper"])) for row in ranges]
    assert edges[0][0] == 0
    assert edges[-1][1] == 59
    assert [high for _, high in edges[:-1]] == [low for low, _ in edges[1:]]
    assert len(edges) == 6


@pytest.mark.parametrize("values", [np.full(5, 2.0), np.full(3, np.nan)])
def test_one_value_or_none_is_a_style_all_the_same(values: np.ndarray) -> None:
    assert len(list(_parsed(qml("x", values)).iter("range"))) == 1


@pytest.mark.parametrize("points", [False, True])
def test_qgis_opens_both_files_coloured(tmp_path: Path, points: bool) -> None:
    python = shutil.which("python3", path="/usr/bin")
    if python is None or subprocess.run([python, "-c", "import qgis.core"], capture_output=True).returncode:
        pytest.skip("python3-qgis is not installed on this machine")
    frame, column = _frame(points), ColouredColumn('price "m2"', "Price")
    packed = write_geopackage(tmp_path / "map.gpkg", frame, [column])
    (tmp_path / "plain.geojson").write_text(frame.to_json(), encoding="utf-8")
    write_style(tmp_path / "plain.qml", frame, column)
    for layer in (f"{packed}|layername=predictions", str(tmp_path / "plain.geojson")):
        environment = {"QT_QPA_PLATFORM": "offscreen", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        done = subprocess.run([python, "-c", _IN_QGIS, layer], capture_output=True, text=True, env=environment)
        assert done.stdout.split()[:2] == ["40", "graduatedSymbol"], done.stdout + done.stderr
        assert done.stdout.split()[-1] == "6"
