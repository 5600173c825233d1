"""Baidu's tiles and coordinates, brought to WGS84.

Baidu's degrees (BD-09) are not WGS84, although published files call them so: near Beijing they lie 1.35 km off. The
way is Baidu's metres (BD09MC) -> BD-09 degrees -> GCJ-02 -> WGS84. Formulas are the public ones (Baidu's JavaScript
API for the polynomials; the `eviltransform` notes for GCJ-02). All functions take and give arrays, lon before lat.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from shapely import Polygon

from chorograph.ground.arrays import Vector

#: Lower bounds of |y| (Baidu metres) of the six latitude bands, and each band's polynomial.
_BANDS = (12890594.86, 8362377.87, 5591021.0, 3481989.83, 1678043.12, 0.0)
_POLYNOMIALS = (
    (1.410526172116255e-8, 8.98305509648872e-6, -1.9939833816331, 200.9824383106796, -187.2403703815547,
     91.6087516669843, -23.38765649603339, 2.57121317296198, -0.03801003308653, 17337981.2),
    (-7.435856389565537e-9, 8.983055097726239e-6, -0.78625201886289, 96.32687599759846, -1.85204757529826,
     -59.36935905485877, 47.40033549296737, -16.50741931063887, 2.28786674699375, 10260144.86),
    (-3.030883460898826e-8, 8.98305509983578e-6, 0.30071316287616, 59.74293618442277, 7.357984074871,
     -25.38371002664745, 13.45380521110908, -3.29883767235584, 0.32710905363475, 6856817.37),
    (-1.981981304930552e-8, 8.983055099779535e-6, 0.03278182852591, 40.31678527705744, 0.65659298677277,
     -4.44255534477492, 0.85341911805263, 0.12923347998204, -0.04625736007561, 4482777.06),
    (3.09191371068437e-9, 8.983055096812155e-6, 0.00006995724062, 23.10934304144901, -0.00023663490511,
     -0.6321817810242, -0.00663494467273, 0.03430082397953, -0.00466043876332, 2555164.4),
    (2.890871144776878e-9, 8.983055095805407e-6, -3.068298e-8, 7.47137025468032, -0.00000353937994,
     -0.02145144861037, -0.00001234426596, 0.00010322952773, -0.00000323890364, 826088.5),
)  # fmt: skip
_TURN = np.pi * 3000.0 / 180.0
#: Krasovsky 1940, on which GCJ-02's offsets are computed.
_AXIS, _ECCENTRICITY2 = 6378245.0, 0.00669342162296594323


def metres_to_bd09(x: ArrayLike, y: ArrayLike) -> tuple[Vector, Vector]:
    """Return BD-09 (lon, lat) in degrees of points in Baidu's projected metres."""
    east, north = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
    band = np.argmax(np.abs(north)[..., None] >= np.asarray(_BANDS), axis=-1)
    c = np.moveaxis(np.asarray(_POLYNOMIALS)[band], -1, 0)
    t = np.abs(north) / c[9]
    lon = c[0] + c[1] * np.abs(east)
    lat = sum(c[2 + power] * t**power for power in range(7))
    return np.copysign(lon, east), np.copysign(lat, north)


def bd09_to_gcj02(lon: ArrayLike, lat: ArrayLike) -> tuple[Vector, Vector]:
    """Return GCJ-02 (lon, lat) of BD-09 degrees."""
    x, y = np.asarray(lon, dtype=np.float64) - 0.0065, np.asarray(lat, dtype=np.float64) - 0.006
    radius = np.hypot(x, y) - 2e-5 * np.sin(y * _TURN)
    angle = np.arctan2(y, x) - 3e-6 * np.cos(x * _TURN)
    return radius * np.cos(angle), radius * np.sin(angle)


def gcj02_to_bd09(lon: ArrayLike, lat: ArrayLike) -> tuple[Vector, Vector]:
    """Return BD-09 (lon, lat) of GCJ-02 degrees."""
    x, y = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    radius = np.hypot(x, y) + 2e-5 * np.sin(y * _TURN)
    angle = np.arctan2(y, x) + 3e-6 * np.cos(x * _TURN)
    return radius * np.cos(angle) + 0.0065, radius * np.sin(angle) + 0.006


def wgs84_to_gcj02(lon: ArrayLike, lat: ArrayLike) -> tuple[Vector, Vector]:
    """Return GCJ-02 (lon, lat) of WGS84 degrees; outside China's bounding box they are the same."""
    x, y = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    outside = (x < 72.004) | (x > 137.8347) | (y < 0.8293) | (y > 55.8271)
    u, v, root = x - 105.0, y - 35.0, np.sqrt(np.abs(x - 105.0))
    ripple = (20.0 * np.sin(6.0 * u * np.pi) + 20.0 * np.sin(2.0 * u * np.pi)) * 2.0 / 3.0
    north = -100.0 + 2.0 * u + 3.0 * v + 0.2 * v * v + 0.1 * u * v + 0.2 * root + ripple
    north += (20.0 * np.sin(v * np.pi) + 40.0 * np.sin(v / 3.0 * np.pi)) * 2.0 / 3.0
    north += (160.0 * np.sin(v / 12.0 * np.pi) + 320.0 * np.sin(v * np.pi / 30.0)) * 2.0 / 3.0
    east = 300.0 + u + 2.0 * v + 0.1 * u * u + 0.1 * u * v + 0.1 * root + ripple
    east += (20.0 * np.sin(u * np.pi) + 40.0 * np.sin(u / 3.0 * np.pi)) * 2.0 / 3.0
    east += (150.0 * np.sin(u / 12.0 * np.pi) + 300.0 * np.sin(u / 30.0 * np.pi)) * 2.0 / 3.0
    latitude = np.radians(y)
    bend = 1.0 - _ECCENTRICITY2 * np.sin(latitude) ** 2
    shift_lat = np.degrees(north * bend**1.5 / (_AXIS * (1.0 - _ECCENTRICITY2)))
    shift_lon = np.degrees(east * np.sqrt(bend) / (_AXIS * np.cos(latitude)))
    return np.where(outside, x, x + shift_lon), np.where(outside, y, y + shift_lat)


def gcj02_to_wgs84(lon: ArrayLike, lat: ArrayLike) -> tuple[Vector, Vector]:
    """Return WGS84 (lon, lat) of GCJ-02 degrees, by fixed-point iteration to about 1e-12 degrees."""
    x, y = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    guess_x, guess_y = x, y
    for _ in range(12):
        there_x, there_y = wgs84_to_gcj02(guess_x, guess_y)
        guess_x, guess_y = guess_x + (x - there_x), guess_y + (y - there_y)
    return guess_x, guess_y


def bd09_to_wgs84(lon: ArrayLike, lat: ArrayLike) -> tuple[Vector, Vector]:
    """Return WGS84 (lon, lat) of BD-09 degrees."""
    return gcj02_to_wgs84(*bd09_to_gcj02(lon, lat))


def corner_to_bd09(x: ArrayLike, y: ArrayLike, zoom: int) -> tuple[Vector, Vector]:
    """Return BD-09 (lon, lat) of the south-west corner of tile (x, y); Baidu's y grows northwards."""
    size = 256.0 * 2.0 ** (18 - zoom)
    return metres_to_bd09(np.asarray(x, dtype=np.float64) * size, np.asarray(y, dtype=np.float64) * size)


def corner_to_wgs84(x: ArrayLike, y: ArrayLike, zoom: int) -> tuple[Vector, Vector]:
    """Return WGS84 (lon, lat) of the south-west corner of tile (x, y)."""
    return bd09_to_wgs84(*corner_to_bd09(x, y, zoom))


def tile_polygon(x: int, y: int, zoom: int) -> Polygon:
    """Return a tile's outline in WGS84, from its own corners: adjacent tiles share theirs exactly."""
    lon, lat = corner_to_wgs84([x, x + 1, x + 1, x], [y, y, y + 1, y + 1], zoom)
    return Polygon(np.stack([lon, lat], axis=1))
