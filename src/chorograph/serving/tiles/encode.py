"""Polygons into Mapbox Vector Tiles (version 2.1), in numpy: clip, snap to the tile's grid, deltas, varints.

Every polygon that meets the tile is in it: one smaller than the grid becomes a triangle of one unit. Polygons that
share a border still share it, as a point is snapped to the same place whichever polygon it belongs to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

#: Units of a tile's side.
EXTENT = 4096
#: Units that a tile holds beyond its sides, so that lines along the border are not seen.
BUFFER = 64
#: Half of the Web Mercator world's side, in metres.
HALF_WORLD = 20037508.342789244

LAYER = "regions"
_POLYGON = 3
_MOVE, _CLOSE = 9, 15  # one MoveTo; ClosePath

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class TileShapes:
    """The geometry of a tile, encoded: `rows` (m,) of the regions, and for each its bytes `data[ends[i-1]:ends[i]]`."""

    rows: NDArray[np.int64]
    data: bytes
    ends: NDArray[np.int64]


def tile_bounds_3857(z: int, x: int, y: int) -> Bounds:
    """Return (west, south, east, north) of a tile in Web Mercator metres."""
    side = 2 * HALF_WORLD / 2**z
    west, north = x * side - HALF_WORLD, HALF_WORLD - y * side
    return west, north - side, west + side, north


def encode_shapes(shapes: NDArray[np.object_], rows: NDArray[np.int64], bounds: Bounds) -> TileShapes:
    """Encode polygons (EPSG:3857) that meet `bounds`; `rows` are their numbers. Those outside are left out."""
    unit = (bounds[2] - bounds[0]) / EXTENT
    margin = BUFFER * unit
    clipped = shapely.clip_by_rect(
        shapes, bounds[0] - margin, bounds[1] - margin, bounds[2] + margin, bounds[3] + margin
    )
    inside = ~(shapely.is_empty(clipped) | shapely.is_missing(clipped))
    clipped, rows = clipped[inside], rows[inside]
    points, ring_of, ring_feature = _rings(clipped, bounds, unit)
    points, ring_of = _without_repeats(points, ring_of)
    kept = np.bincount(ring_of, minlength=len(ring_feature))[ring_of] >= 3
    points, ring_of = points[kept], ring_of[kept]
    feature = ring_feature[ring_of]
    missing = np.setdiff1d(np.arange(len(rows)), feature)
    points, ring_of, feature = _with_specks(points, ring_of, feature, missing, clipped, bounds, unit)
    return _commands(points, ring_of, feature, rows)


def encode_tile(shapes: TileShapes, codes: Mapping[str, NDArray[np.uint8]]) -> bytes:
    """Return the tile: one layer `regions`, whose features have the region's number as id and a byte a name in `codes`.

    `codes`: (n,) for all regions of the area. A region without a code of a name (0) has no such property.
    """
    names = list(codes)
    values = np.stack([codes[name][shapes.rows] for name in names], axis=1) if names else None
    features = []
    start = 0
    for place, (row, end) in enumerate(zip(shapes.rows.tolist(), shapes.ends.tolist(), strict=True)):
        tags = b"" if values is None else _tags(values[place].tolist())
        body = b"\x08" + _varint(row) + tags + b"\x18\x03" + _field(0x22, shapes.data[start:end])
        features.append(_field(0x12, body))
        start = end
    layer = b"\x0a" + _varint(len(LAYER)) + LAYER.encode() + b"".join(features)
    layer += b"".join(_field(0x1A, name.encode()) for name in names)
    if names:
        layer += _VALUES
    return _field(0x1A, layer + b"\x28" + _varint(EXTENT) + b"\x78\x02")


def _rings(
    shapes: NDArray[np.object_], bounds: Bounds, unit: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the snapped points (p, 2) of all rings, the ring of each point, and the feature of each ring."""
    parts, feature_of_part = shapely.get_parts(shapes, return_index=True)
    # Clipping leaves lines and points where a polygon only touches the tile, some inside collections.
    parts, inner = shapely.get_parts(parts, return_index=True)
    feature_of_part = feature_of_part[inner]
    polygons = shapely.get_type_id(parts) == _POLYGON
    parts, feature_of_part = parts[polygons], feature_of_part[polygons]
    # Outer rings clockwise on the globe are what the format calls positive, as a tile's y grows southwards.
    rings, part_of_ring = shapely.get_rings(shapely.orient_polygons(parts, exterior_cw=True), return_index=True)
    xy, ring_of = shapely.get_coordinates(rings, return_index=True)
    points = np.empty(xy.shape, dtype=np.int64)
    points[:, 0] = np.round((xy[:, 0] - bounds[0]) / unit)
    points[:, 1] = np.round((bounds[3] - xy[:, 1]) / unit)
    return points, ring_of.astype(np.int64), feature_of_part[part_of_ring].astype(np.int64)


def _without_repeats(points: NDArray[np.int64], ring_of: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """Drop points equal to the one before in their ring, and the point that closes each ring."""
    if not len(points):
        return points, ring_of
    same_ring = ring_of[1:] == ring_of[:-1]
    repeats = np.r_[False, same_ring & (points[1:] == points[:-1]).all(axis=1)]
    points, ring_of = points[~repeats], ring_of[~repeats]
    last = np.asarray(np.r_[ring_of[1:] != ring_of[:-1], True])
    return points[~last], ring_of[~last]


def _with_specks(
    points: NDArray[np.int64],
    ring_of: NDArray[np.int64],
    feature: NDArray[np.int64],
    missing: NDArray[np.int64],
    shapes: NDArray[np.object_],
    bounds: Bounds,
    unit: float,
) -> tuple[NDArray[np.int64], ...]:
    """Add a triangle of one unit for each feature that snapping has left without a ring; features stay in order."""
    if not len(missing):
        return points, ring_of, feature
    centre = shapely.get_coordinates(shapely.centroid(shapes[missing]))
    at = np.round(np.stack([centre[:, 0] - bounds[0], bounds[3] - centre[:, 1]], axis=1) / unit).astype(np.int64)
    triangles = (at.reshape(-1, 1, 2) + np.array([[0, 0], [1, 0], [0, 1]])).reshape(-1, 2)
    ring = np.repeat(np.arange(len(missing)) + (ring_of.max(initial=-1) + 1), 3)
    points, ring_of = np.r_[points, triangles], np.r_[ring_of, ring]
    feature = np.r_[feature, np.repeat(missing, 3)]
    order = np.argsort(feature, kind="stable")
    return points[order], ring_of[order], feature[order]


def _commands(
    points: NDArray[np.int64], ring_of: NDArray[np.int64], feature: NDArray[np.int64], rows: NDArray[np.int64]
) -> TileShapes:
    """Turn rings into the format's commands: MoveTo and LineTo with zigzag deltas, ClosePath."""
    if not len(points):
        return TileShapes(rows[:0], b"", np.empty(0, dtype=np.int64))
    first = np.r_[True, ring_of[1:] != ring_of[:-1]]
    last = np.r_[first[1:], True]
    new_feature = np.r_[True, feature[1:] != feature[:-1]]
    delta = np.diff(points, axis=0, prepend=points[:1] * 0)
    delta[new_feature] = points[new_feature]
    zigzag = ((delta << 1) ^ (delta >> 63)).astype(np.uint64)
    ring = np.cumsum(first) - 1
    length = np.bincount(ring)[ring]
    words_each = 2 + 2 * first + last  # MoveTo x y LineTo | x y | x y ClosePath
    end = np.cumsum(words_each)
    start = end - words_each
    words = np.zeros(end[-1], dtype=np.uint64)
    x_at = start + first
    words[start[first]] = _MOVE
    words[x_at], words[x_at + 1] = zigzag[:, 0], zigzag[:, 1]
    words[(x_at + 2)[first]] = ((length[first] - 1) << 3 | 2).astype(np.uint64)
    words[(end - 1)[last]] = _CLOSE
    data, sizes = _varints(words)
    feature_ends = np.flatnonzero(np.r_[new_feature[1:], True])
    ends = np.cumsum(sizes)[end[feature_ends] - 1]
    return TileShapes(rows[feature[feature_ends]], data.tobytes(), ends.astype(np.int64))


def _varints(words: NDArray[np.uint64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return unsigned 32-bit words as protobuf varints, and how many bytes each took."""
    sizes = np.ones(len(words), dtype=np.int64)
    for k in range(1, 5):
        sizes += words >= np.uint64(1) << np.uint64(7 * k)
    start = np.cumsum(sizes) - sizes
    out = np.zeros(int(sizes.sum()), dtype=np.uint8)
    for k in range(5):
        reached = sizes > k
        seven = ((words[reached] >> np.uint64(7 * k)) & np.uint64(127)).astype(np.uint8)
        out[start[reached] + k] = seven | np.where(sizes[reached] > k + 1, 128, 0).astype(np.uint8)
    return out, sizes


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(tag: int, content: bytes) -> bytes:
    return bytes([tag]) + _varint(len(content)) + content


def _tags(codes: list[int]) -> bytes:
    pairs = b"".join(_varint(key) + _varint(code) for key, code in enumerate(codes) if code)
    return _field(0x12, pairs) if pairs else b""


#: The bytes 0 to 255 as the layer's values, so that a code is its own place among them.
_VALUES = b"".join(_field(0x22, b"\x28" + _varint(code)) for code in range(256))
