"""Outlines of regions, and the roads, water and names about them, in local metres, as paths of an SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from chorograph.area.middle import equal_area

#: Width of a map in CSS pixels, and its height at most, that simplified borders are right for.
_WIDTH, _HEIGHT = 556, 372
#: Beyond this many corners, panning a map is no longer smooth.
_MOST_CORNERS = 150_000
#: Simplified borders may be this far off, in pixels of the first view: not visible until one zooms in.
_TOLERANCE_PX = 0.35
#: What roads and water may weigh on the page: the least important roads are left out first.
_CONTEXT_BYTES, _MOST_NAMES = 700_000, 60


@dataclass(frozen=True)
class Shapes:
    """Polygons as lists: region, part, ring, corner, in whole metres; and how they were simplified."""

    xs: list[list[list[list[int]]]]
    ys: list[list[list[list[int]]]]
    full: tuple[float, float, float, float]
    dense: tuple[float, float, float, float]
    tolerance_m: float
    drawn: int


def shapes(regions: gpd.GeoDataFrame) -> Shapes:
    """Project regions to metres about their centre, simplify their shared borders together, and list their corners.

    The projection is Lambert's azimuthal equal-area one: true areas everywhere, true shapes near the centre. Borders
    are simplified as a coverage, so that neighbours stay neighbours, where the polygons form one.
    """
    held = regions.geometry.notna() & ~regions.geometry.is_empty
    polygons = regions.loc[held, ["geometry"]]
    metres = polygons.to_crs(equal_area(polygons))
    geometry = np.asarray(metres.geometry, dtype=object)
    full = tuple(float(edge) for edge in shapely.total_bounds(geometry))
    dense = _dense_box(shapely.bounds(geometry), full)
    tolerance = _TOLERANCE_PX * max((dense[2] - dense[0]) / _WIDTH, (dense[3] - dense[1]) / _HEIGHT)
    simple = _simplify(geometry, tolerance)
    while shapely.get_num_coordinates(simple).sum() > _MOST_CORNERS and tolerance < 64 * (dense[2] - dense[0]):
        tolerance *= 2
        simple = _simplify(geometry, tolerance)
    xs: list[list[list[list[int]]]] = [[] for _ in range(len(regions))]
    ys: list[list[list[list[int]]]] = [[] for _ in range(len(regions))]
    for position, shape in zip(np.flatnonzero(held.to_numpy()), simple, strict=True):
        for part in shapely.get_parts(shape):
            if shapely.get_type_id(part) != shapely.GeometryType.POLYGON:
                continue
            rings = [np.rint(shapely.get_coordinates(ring)).astype(int) for ring in shapely.get_rings(part)]
            xs[position].append([ring[:, 0].tolist() for ring in rings])
            ys[position].append([ring[:, 1].tolist() for ring in rings])
    return Shapes(xs, ys, full, dense, tolerance, int(held.sum()))  # type: ignore[arg-type]


def outlines_of(frame: gpd.GeoDataFrame) -> tuple[list[str], list[int], list[int]]:
    """Return an SVG path a region in metres, y growing southwards, and the boxes of the first and the whole view.

    A path is empty where a region has no place; regions that are points are discs.
    """
    held = frame.geometry.notna() & ~frame.geometry.is_empty
    if not held.any():
        return [""] * len(frame), [0, 0, 1, 1], [0, 0, 1, 1]
    outlines = shapes(frame)
    paths = [_path(xs, ys) for xs, ys in zip(outlines.xs, outlines.ys, strict=True)]
    if not any(paths):
        paths = _discs(frame, outlines)
    return paths, _view(outlines.dense), _view(outlines.full)


@dataclass(frozen=True)
class Context:
    """What lies about the regions, in the plane of their outlines: paths of roads by rank, of water, and names.

    `names`: x, y and name of places, the most important first.
    """

    roads: list[str]
    water: str
    names: list[tuple[int, int, str]]


def context_of(context: gpd.GeoDataFrame, regions: gpd.GeoDataFrame) -> Context:
    """Return roads, water and place names (table `context` of an area) that lie within the box of the regions.

    Lines are simplified as outlines are; the least important roads are left out where the page would grow too large.
    """
    held = regions.loc[regions.geometry.notna() & ~regions.geometry.is_empty, ["geometry"]]
    if held.empty or context.empty:
        return Context([], "", [])
    crs = equal_area(held)
    box = shapely.box(*held.to_crs(crs).total_bounds)
    found = context[context.geometry.notna()].to_crs(crs)
    found = found.assign(geometry=found.geometry.simplify((box.bounds[2] - box.bounds[0]) / 2000))
    found = found[found.intersects(box)].sort_values("rank", kind="stable")
    water = found[found["kind"] == "water"].geometry.intersection(box)
    used, roads = 0, []
    drawn_water = "".join(_drawn(shape) for shape in water)
    for _, group in found[found["kind"] == "road"].groupby("rank"):
        path = "".join(_drawn(shape) for shape in group.geometry.intersection(box))
        used += len(path)
        if used + len(drawn_water) > _CONTEXT_BYTES:
            break
        roads.append(path)
    places = found[(found["kind"] == "place") & found["name"].notna()].head(_MOST_NAMES)
    points = places.geometry.representative_point()
    names = [(round(p.x), round(-p.y), str(name)) for p, name in zip(points, places["name"], strict=True)]
    return Context(roads, drawn_water if len(drawn_water) <= _CONTEXT_BYTES else "", names)


def _drawn(shape: Any) -> str:
    """Write lines and polygons as a path, each corner relative to the one before."""
    words = []
    for part in shapely.get_parts(shape):
        kind = shapely.get_type_id(part)
        closed = kind == shapely.GeometryType.POLYGON
        if not closed and kind != shapely.GeometryType.LINESTRING:
            continue
        for line in shapely.get_rings(part) if closed else [part]:
            corners = np.rint(shapely.get_coordinates(line)).astype(int) * [1, -1]
            steps = "".join(f"{a:d},{b:d} " for a, b in np.diff(corners, axis=0))
            words.append(f"M{corners[0, 0]:d},{corners[0, 1]:d}l{steps.strip()}{'z' if closed else ''}")
    return "".join(words)


def _path(xs: list[list[list[int]]], ys: list[list[list[int]]]) -> str:
    """Write a region's parts and rings as a path, each corner relative to the one before."""
    words = []
    for part_x, part_y in zip(xs, ys, strict=True):
        for ring_x, ring_y in zip(part_x, part_y, strict=True):
            x, y = np.asarray(ring_x), -np.asarray(ring_y)
            steps = "".join(f"{a:d},{b:d} " for a, b in zip(np.diff(x)[:-1], np.diff(y)[:-1], strict=True))
            words.append(f"M{x[0]:d},{y[0]:d}l{steps.strip()}z")
    return "".join(words)


def _discs(frame: gpd.GeoDataFrame, outlines: Shapes) -> list[str]:
    """Return a disc for each region that is a point."""
    held = frame.geometry.notna() & ~frame.geometry.is_empty
    metres = frame.loc[held, ["geometry"]].to_crs(equal_area(frame.loc[held]))
    radius = max(outlines.dense[2] - outlines.dense[0], outlines.dense[3] - outlines.dense[1], 1.0) / 110
    paths = [""] * len(frame)
    for row, point in zip(np.flatnonzero(held.to_numpy()), metres.geometry.representative_point(), strict=True):
        x, y, r = round(point.x), round(-point.y), max(1, round(radius))
        paths[row] = f"M{x - r},{y}a{r},{r} 0 1,0 {2 * r},0a{r},{r} 0 1,0 {-2 * r},0z"
    return paths


def _view(box: tuple[float, float, float, float]) -> list[int]:
    """Return x, y, width, height of a box in the plane of the paths, with a margin."""
    west, south, east, north = box
    margin = 0.02 * max(east - west, north - south, 1.0)
    corners = (west - margin, -north - margin, east - west + 2 * margin, north - south + 2 * margin)
    return [round(value) for value in corners]


def _simplify(geometry: NDArray[np.object_], tolerance: float) -> NDArray[np.object_]:
    """Simplify polygons by metres of `tolerance`; a polygon that would vanish keeps its own corners."""
    polygonal = np.isin(
        shapely.get_type_id(geometry), (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
    )
    # GEOS simplifies shared borders once from 3.12 on, and only where polygons neither overlap nor gape.
    if shapely.geos_version >= (3, 12, 0) and polygonal.all() and shapely.coverage_is_valid(geometry):
        simple = shapely.coverage_simplify(geometry, tolerance)
    else:
        simple = shapely.simplify(geometry, tolerance, preserve_topology=True)
    return np.where(shapely.is_empty(simple), geometry, simple)


def _dense_box(
    bounds: NDArray[np.float64], full: tuple[float, ...], share: float = 0.92
) -> tuple[float, float, float, float]:
    """Return the box that holds most regions whole, where that is much smaller than the box of all; else that of all.

    A county with a few vast rural tracts would otherwise show its city in a corner.
    """
    tail = 100 * (1 - share) / 2
    # The far edges of the regions kept, so that no region of the dense part is cut at the frame.
    west, south = np.percentile(bounds[:, :2], tail, axis=0)
    east, north = np.percentile(bounds[:, 2:], 100 - tail, axis=0)
    margin = 0.04 * max(east - west, north - south)
    box = (west - margin, south - margin, east + margin, north + margin)
    box = (max(box[0], full[0]), max(box[1], full[1]), min(box[2], full[2]), min(box[3], full[3]))
    area, whole = (box[2] - box[0]) * (box[3] - box[1]), (full[2] - full[0]) * (full[3] - full[1])
    chosen = box if 0 < area < 0.55 * whole else full
    return tuple(float(edge) for edge in chosen)  # type: ignore[return-value]
