"""Files that open coloured in QGIS: a GeoPackage with its styles inside, and a style beside a GeoJSON."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path

#: Five of viridis: people with any colour vision tell them apart.
_COLOURS = ("68,1,84", "59,82,139", "33,145,140", "94,201,98", "253,231,37")
#: The table that QGIS looks for styles in, as QGIS itself makes it.
_STYLES = """CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256),
    f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT CURRENT_TIMESTAMP)"""


def graduated_style(column: str, values: NDArray[np.float64]) -> str:
    """Return a QGIS style (QML) that colours polygons by a column in five classes of equal numbers."""
    known = values[np.isfinite(values)]
    if not known.size:
        raise InputError(f"{column} has no value to colour by")
    edges = np.unique(np.percentile(known, np.linspace(0, 100, len(_COLOURS) + 1)))
    if len(edges) == 1:
        edges = np.r_[edges, edges]
    picks = np.round(np.linspace(0, len(_COLOURS) - 1, len(edges) - 1)).astype(int)
    ranges = "".join(
        f'<range symbol="{number}" lower="{low!r}" upper="{high!r}" label={quoteattr(f"{low:,.4g} to {high:,.4g}")} '
        'render="true"/>'
        for number, (low, high) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    )
    symbols = "".join(_symbol(number, _COLOURS[pick]) for number, pick in enumerate(picks))
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
        '<qgis version="3.22"><renderer-v2 type="graduatedSymbol" graduatedMethod="GraduatedColor" symbollevels="0" '
        f'enableorderby="0" attr={quoteattr(column)}><ranges>{ranges}</ranges><symbols>{symbols}</symbols>'
        "</renderer-v2></qgis>\n"
    )


def write_style_beside(layer: Path, column: str, values: NDArray[np.float64]) -> Path:
    """Write the style of a GeoJSON as the `.qml` that QGIS looks for beside it; returns where."""
    path = layer.with_suffix(".qml")
    with atomic_path(path) as temporary:
        temporary.write_text(graduated_style(column, values), encoding="utf-8")
    return path


def write_geopackage(path: Path, frame: gpd.GeoDataFrame, layer: str, columns: Mapping[str, str]) -> Path:
    """Write polygons as a GeoPackage with a style for each of `columns` (name: title); the first is the default.

    Columns without any value get no style.
    """
    with atomic_path(path) as temporary:
        temporary.unlink()
        frame.to_file(temporary, driver="GPKG", layer=layer, engine="pyogrio")
        with closing(sqlite3.connect(temporary)) as database, database:
            database.execute(_STYLES)
            default = True
            for column, title in columns.items():
                values = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
                if not np.isfinite(values).any():
                    continue
                row = (layer, title[:30], graduated_style(column, values), default, escape(title))
                database.execute(
                    "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, "
                    "styleName, styleQML, styleSLD, useAsDefault, description, owner) "
                    "VALUES ('', '', ?, 'geom', ?, ?, '', ?, ?, '')",
                    row,
                )
                default = False
    return path


def _symbol(number: int, colour: str) -> str:
    properties = {
        "color": f"{colour},255",
        "outline_color": "255,255,255,160",
        "outline_width": "0.1",
        "style": "solid",
    }
    inside = "".join(f'<prop k="{name}" v="{value}"/>' for name, value in properties.items())
    return (
        f'<symbol name="{number}" type="fill" alpha="1" clip_to_extent="1" force_rhr="0">'
        f'<layer class="SimpleFill" enabled="1" locked="0" pass="0">{inside}</layer></symbol>'
    )
