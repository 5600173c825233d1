"""Map files that open coloured in QGIS: a GeoPackage with a style a column, and a style beside a GeoJSON."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.files import atomic_path

if TYPE_CHECKING:
    import geopandas as gpd

LAYER = "predictions"
#: From low to high, told apart by people who confuse red and green (viridis).
_COLOURS = ("68,1,84", "65,68,135", "42,120,142", "34,168,132", "122,209,81", "253,231,37")
# The table that QGIS looks for in a GeoPackage, as its own "Save style in database" makes it.
_TABLE = """CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),
f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT,
styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
update_time DATETIME DEFAULT CURRENT_TIMESTAMP)"""
_INSERT = """INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,
styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, ?, ?, ?, '', ?, ?, 'chorograph')"""


@dataclass(frozen=True)
class ColouredColumn:
    """A column of numbers that a style colours, and what the style is called."""

    column: str
    title: str


def write_geopackage(
    path: Path, frame: gpd.GeoDataFrame, columns: Sequence[ColouredColumn], layer: str = LAYER
) -> Path:
    """Write `frame` as a GeoPackage with a style for each of `columns`; QGIS shows the first when it is dropped in.

    A frame without any geometry is written without styles, and a column without any value has none: there is no map to
    colour.
    """
    with atomic_path(path) as temporary:
        temporary.unlink()  # GDAL takes a file that is there for a GeoPackage to add to
        frame.to_file(temporary, driver="GPKG", layer=layer, engine="pyogrio")
        if not frame.geometry.notna().any():
            return path
        kind = "marker" if frame.geometry.dropna().geom_type.str.contains("Point").all() else "fill"
        with closing(sqlite3.connect(temporary)) as store, store:
            found = store.execute("SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,))
            geometry = found.fetchone()[0]
            store.execute(_TABLE)
            filled = [coloured for coloured in columns if frame[coloured.column].notna().any()]
            for number, coloured in enumerate(filled):
                style = qml(coloured.column, _values(frame, coloured), kind)
                row = (layer, geometry, coloured.title, style, int(number == 0), f"classes of {coloured.column}")
                store.execute(_INSERT, row)
    return path


def write_style(path: Path, frame: gpd.GeoDataFrame, coloured: ColouredColumn) -> Path:
    """Write the style of a column as a .qml file, which QGIS takes for a layer of the same name beside it."""
    kind = "marker" if frame.geometry.dropna().geom_type.str.contains("Point").all() else "fill"
    with atomic_path(path) as temporary:
        style = qml(coloured.column, _values(frame, coloured), kind)
        temporary.write_text(style, encoding="utf-8")
    return path


def qml(column: str, values: NDArray[np.float64], kind: str = "fill") -> str:
    """Return a QGIS style that parts `values` into classes of equal number; `kind` of symbol: fill or marker."""
    finite = values[np.isfinite(values)]
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, len(_COLOURS) + 1))) if finite.size else np.zeros(2)
    if len(edges) == 1:
        edges = np.array([edges[0], edges[0]])
    picked = np.linspace(0, len(_COLOURS) - 1, len(edges) - 1).round().astype(int)
    ranges, symbols = [], []
    for number, (low, high) in enumerate(pairwise(edges.tolist())):
        label = f"{low:.4g} to {high:.4g}"
        ranges.append(
            f'<range symbol="{number}" lower="{low!r}" upper="{high!r}" label={quoteattr(label)} render="true"/>'
        )
        symbols.append(_symbol(number, _COLOURS[picked[number]], kind))
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        f'<qgis version="3.22"><renderer-v2 type="graduatedSymbol" attr={quoteattr(_quoted(column))} '
        'graduatedMethod="GraduatedColor" symbollevels="0" enableorderby="0">'
        f"<ranges>{''.join(ranges)}</ranges><symbols>{''.join(symbols)}</symbols></renderer-v2></qgis>\n"
    )


def _values(frame: gpd.GeoDataFrame, coloured: ColouredColumn) -> NDArray[np.float64]:
    return np.asarray(frame[coloured.column].to_numpy(dtype=np.float64, na_value=np.nan))


def _quoted(column: str) -> str:
    """Return a column's name as an expression of QGIS, whatever characters it holds."""
    return '"' + column.replace('"', '""') + '"'


def _symbol(number: int, colour: str, kind: str) -> str:
    layer = "SimpleFill" if kind == "fill" else "SimpleMarker"
    extra = '<prop k="style" v="solid"/>' if kind == "fill" else '<prop k="name" v="circle"/><prop k="size" v="3"/>'
    return (
        f'<symbol name="{number}" type="{kind}" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="{layer}" enabled="1" locked="0" pass="0"><prop k="color" v="{colour},255"/>'
        f'<prop k="outline_color" v="95,107,119,255"/><prop k="outline_width" v="0.1"/>{extra}</layer></symbol>'
    )
