"""The card of a region: everything that is known and predicted of it, with where each thing comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import shapely
from pyproj import Geod

from chorograph.ground.arrays import Vector
from chorograph.ground.files import naming_damage
from chorograph.reporting.numbers import Quantity
from chorograph.serving.catalogue.layers import Layer, Predicted
from chorograph.serving.catalogue.served import ServedArea

#: Pictures of each view on a card.
_PICTURES = {"satellite": 12, "street": 6}
_DRIVERS = 6
_ELLIPSOID = Geod(ellps="WGS84")


def card(served: ServedArea, row: int) -> dict[str, Any]:
    """Return the card of the region in `row`, ready for JSON; numbers in each indicator's own unit."""
    region = served.regions.iloc[row]
    shape = served.shapes[row]
    return {
        "id": str(region["region_id"]),
        "name": str(served.names[row]),
        "group": None if pd.isna(region["group"]) else str(region["group"]),
        "area": served.slug,
        "row": row,
        **_place(shape),
        "indicators": [indicator(layer, layer.run(), row) for layer in served.layers.values()],
        "images": _pictures(served, row),
        "image_counts": _counts(served, row),
        "descriptions": _descriptions(served, str(region["region_id"])),
        "neighbours": _neighbours(served, row),
        "drivers": _drivers(served, str(region["region_id"])),
        "sources": [vars(source) for source in served.area.sources],
        "synthetic": served.area.synthetic,
    }


def indicator(layer: Layer, run: Predicted | None, row: int) -> dict[str, Any]:
    """Return what is known of one indicator in one region, as numbers and as text to read."""
    quantity = quantity_of(layer, run)
    shown = layer.observed if run is None or not math.isfinite(run.predicted[row]) else run.predicted
    entry: dict[str, Any] = {
        "id": layer.key,
        "title": layer.title,
        "unit": layer.unit,
        "observed": number(layer.observed[row]),
        "rank": rank(shown, row),
        "of": int(np.isfinite(shown).sum()),
        "texts": {"observed": quantity.text(number(layer.observed[row]))},
        "run": None,
    }
    if run is not None and math.isfinite(run.predicted[row]):
        predicted, lower, upper = (number(values[row]) for values in (run.predicted, run.lower, run.upper))
        entry |= {
            "run": run.run,
            "predicted": predicted,
            "lower": lower,
            "upper": upper,
            "level": run.level,
            "held_out": bool(run.held_out[row]),
            "supported": bool(run.supported[row]),
            "basis": str(run.basis[row]),
            "r2": run.r2,
            "scale": _scale(layer, run),
        }
        entry["texts"] |= {"predicted": quantity.text(predicted), "interval": quantity.interval(lower, upper)}
    return entry


def quantity_of(layer: Layer, run: Predicted | None) -> Quantity:
    """Return how the numbers of a layer are written."""
    values = layer.observed if run is None else np.r_[layer.observed, run.predicted]
    return Quantity.of(values, "" if layer.unit.startswith("share of ") else layer.unit)


def rank(values: Vector, row: int) -> int | None:
    """Return the place of a row among the finite values, 1 for the highest; None without a value."""
    value = values[row]
    return None if not math.isfinite(value) else int((values > value).sum()) + 1


def number(value: float) -> float | None:
    """Return a number for JSON, which has no NaN: six significant digits say more than any indicator does."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def image_url(served: ServedArea, image_id: str, size: int | None = None) -> str:
    """Return the address of an image, from the server's root."""
    address = f"/areas/{served.slug}/images/{quote(image_id, safe='')}"
    return address if size is None else f"{address}?size={size}"


def region_url(served: ServedArea, region_id: str) -> str:
    """Return the address of a region's page, from the server's root."""
    return f"/areas/{served.slug}/regions/{quote(region_id, safe='')}"


def named(served: ServedArea, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Return regions as id, name and row."""
    ids = served.index
    return [{"id": str(ids[row]), "name": str(served.names[row]), "row": int(row)} for row in rows]


def _place(shape: Any) -> dict[str, Any]:
    if shape is None or shape.is_empty:
        return {"centre": None, "bounds": None, "area_km2": None}
    centre = shapely.point_on_surface(shape)
    return {
        "centre": [round(centre.x, 6), round(centre.y, 6)],
        "bounds": [round(edge, 6) for edge in shape.bounds],
        "area_km2": number(abs(_ELLIPSOID.geometry_area_perimeter(shape)[0]) / 1e6),
    }


def _scale(layer: Layer, run: Predicted) -> dict[str, float]:
    """Return the ends of the line that an interval is drawn on: what most regions span."""
    values = np.r_[layer.observed, run.lower, run.upper]
    low, high = np.percentile(values[np.isfinite(values)], [1, 99])
    return {"low": float(low), "high": float(high if high > low else low + 1)}


def _pictures(served: ServedArea, row: int) -> list[dict[str, Any]]:
    held = served.images_of.get(row)
    if held is None:
        return []
    found: list[dict[str, Any]] = []
    images = served.images.iloc[held]
    for view, most in _PICTURES.items():
        found += [
            {
                "id": str(image_id),
                "view": view,
                "url": image_url(served, str(image_id)),
                "captions": list(served.captions_of.get(image_id, ()))[:5],
            }
            for image_id in images.loc[images["view"] == view, "image_id"].iloc[:most]
        ]
    return found


def _counts(served: ServedArea, row: int) -> dict[str, int]:
    held = served.images_of.get(row)
    if held is None:
        return {}
    views, counts = np.unique(served.images["view"].iloc[held].to_numpy(str), return_counts=True)
    return dict(zip(views.tolist(), counts.tolist(), strict=True))


def _descriptions(served: ServedArea, region_id: str) -> list[dict[str, Any]]:
    said = served.descriptions
    return [
        {
            "sentence": str(line["sentence"]),
            "origin": "" if pd.isna(line["origin"]) else str(line["origin"]),
            "evidence": _evidence(line["evidence"]),
        }
        for line in said[said["region_id"] == region_id].to_dict("records")
    ]


def _evidence(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split()
    if value is None or np.ndim(value) == 0:
        return []
    return [str(item) for item in value]


def _neighbours(served: ServedArea, row: int) -> list[dict[str, Any]]:
    shape = served.shapes[row]
    if shape is None or shape.is_empty:
        return []
    touching = served.tree.query(shape, predicate="intersects")
    return named(served, [other for other in np.sort(touching).tolist() if other != row][:12])


def _drivers(served: ServedArea, region_id: str) -> list[dict[str, Any]]:
    """Return the tiles that moved the predictions of a region most, where `evaluate explain` has looked."""
    found: list[dict[str, Any]] = []
    for layer in served.layers.values():
        run = layer.run()
        path = None if run is None or run.folder is None else run.folder / "explanation" / "tiles.parquet"
        if path is None or not path.is_file():
            continue
        with naming_damage(path, "an explanation", "run `chorograph evaluate explain` again"):
            tiles = pd.read_parquet(path, filters=[("region_id", "==", region_id)]).dropna(subset=["influence"])
            tiles = tiles.astype({"influence": "float64"})
        order = tiles["influence"].abs().sort_values(ascending=False).index[:_DRIVERS]
        quantity = quantity_of(layer, run)
        found += [
            {
                "indicator": layer.title,
                "image_id": str(tile["image_id"]),
                "url": image_url(served, str(tile["image_id"])),
                "influence": number(tile["influence"]),
                "text": quantity.text(float(tile["influence"]), signed=True),
            }
            for tile in tiles.loc[order].to_dict("records")
        ]
    return found
