"""Baidu's tiles and coordinates, brought to WGS84.

Baidu's degrees (BD-09) are not WGS84, although published files call them so: near Beijing they lie 1.35 km off. The
way is Baidu's metres (BD09MC) -> BD-09 degrees -> GCJ-02 -> WGS84. Formulas are the public ones (Baidu's JavaScript
API for the polynomials; the `eviltransform` notes for GCJ-02). All functions take and give arrays, lon before lat.

Every way has its way back, to 1e-9 degrees and a micrometre (tested between 0.9 and 55 degrees north, in China's
bounds): where the public formulas are no exact inverses of each other (BD-09 to GCJ-02 by 0.1 m, degrees to Baidu's
metres by up to 0.3 m, WGS84 to GCJ-02), one of the two is followed and the other is found by iteration from it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from shapely import Polygon

from chorograph.ground.arrays import Indices, Vector

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
#: Lower bounds of |latitude| of the bands of Baidu's polynomials from degrees to metres, and each band's polynomial.
_DEGREE_BANDS = (75.0, 60.0, 45.0, 30.0, 15.0, 0.0)
_TO_METRES = (
    (-0.0015702102444, 111320.7020616939, 1704480524535203.0, -10338987376042340.0, 26112667856603880.0,
     -35149669176653700.0, 26595700718403920.0, -10725012454188240.0, 1800819912950474.0, 82.5),
    (0.0008277824516172526, 111320.7020463578, 647795574.6671607, -4082003173.641316, 10774905663.51142,
     -15171875531.51559, 12053065338.62167, -5124939663.577472, 913311935.9512032, 67.5),
    (0.00337398766765, 111320.7020202162, 4481351.045890365, -23393751.19931662, 79682215.47186455,
     -115964993.2797253, 97236711.15602145, -43661946.33752821, 8477230.501135234, 52.5),
    (0.00220636496208, 111320.7020209128, 51751.86112841131, 3796837.749470245, 992013.7397791013,
     -1221952.21711287, 1340652.697009075, -620943.6990984312, 144416.9293806241, 37.5),
    (-0.0003441963504368392, 111320.7020576856, 278.2353980772752, 2485758.690035394, 6070.750963243378,
     54821.18345352118, 9540.606633304236, -2710.55326746645, 1405.483844121726, 22.5),
    (-0.0003218135878613132, 111320.7020701615, 0.00369383431289, 823725.6402795718, 0.46104986909093,
     2351.343141331292, 1.58060784298199, 8.77738589078284, 0.37238884252424, 7.45),
)  # fmt: skip
#: Baidu's metres of a degree of longitude, and of latitude at the equator: the first step of the iterations.
_METRES = 111320.7
#: Pixels of a tile's side.
TILE_PX = 256
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


def bd09_to_metres(lon: ArrayLike, lat: ArrayLike) -> tuple[Vector, Vector]:
    """Return Baidu's projected metres (x, y) of BD-09 degrees: what `metres_to_bd09` takes back to them.

    Baidu's own polynomials (up to 0.3 m off below 55 degrees, 7 m at 65) are where the iteration starts.
    """
    east, north = np.broadcast_arrays(np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64))
    band = np.argmax(np.abs(north)[..., None] >= np.asarray(_DEGREE_BANDS), axis=-1)
    c = np.moveaxis(np.asarray(_TO_METRES)[band], -1, 0)
    t = np.abs(north) / c[9]
    x = np.copysign(c[0] + c[1] * np.abs(east), east)
    y = np.copysign(sum(c[2 + power] * t**power for power in range(7)), north)
    for _ in range(8):
        there_lon, there_lat = metres_to_bd09(x, y)
        x = x + (east - there_lon) * _METRES
        y = y + (north - there_lat) * _METRES / np.cos(np.radians(north))
    return x, y


def bd09_to_gcj02(lon: ArrayLike, lat: ArrayLike) -> tuple[Vector, Vector]:
    """Return GCJ-02 (lon, lat) of BD-09 degrees: what `gcj02_to_bd09` takes back to them."""
    east, north = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    x, y = east - 0.0065, north - 0.006
    for _ in range(6):
        there_lon, there_lat = gcj02_to_bd09(x, y)
        x, y = x + (east - there_lon), y + (north - there_lat)
    return x, y


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


def wgs84_to_bd09(lon: ArrayLike, lat: ArrayLike) -> tuple[Vector, Vector]:
    """Return BD-09 (lon, lat) of WGS84 degrees."""
    return gcj02_to_bd09(*wgs84_to_gcj02(lon, lat))


def wgs84_to_metres(lon: ArrayLike, lat: ArrayLike) -> tuple[Vector, Vector]:
    """Return Baidu's projected metres (x, y) of WGS84 degrees."""
    return bd09_to_metres(*wgs84_to_bd09(lon, lat))


def metres_to_wgs84(x: ArrayLike, y: ArrayLike) -> tuple[Vector, Vector]:
    """Return WGS84 (lon, lat) of Baidu's projected metres."""
    return bd09_to_wgs84(*metres_to_bd09(x, y))


def pixel_of(lon: ArrayLike, lat: ArrayLike, zoom: int) -> tuple[Vector, Vector]:
    """Return Baidu's pixels (x eastwards, y northwards) of WGS84 degrees; 256 of them are a tile."""
    x, y = wgs84_to_metres(lon, lat)
    return x / 2.0 ** (18 - zoom), y / 2.0 ** (18 - zoom)


def tile_at(lon: ArrayLike, lat: ArrayLike, zoom: int) -> tuple[Indices, Indices]:
    """Return the indices (x, y) of the tile that holds each point (WGS84); y grows northwards."""
    x, y = pixel_of(lon, lat, zoom)
    return np.floor(x / TILE_PX).astype(np.int64), np.floor(y / TILE_PX).astype(np.int64)


#: China's systems by the names that people write, each with its way to WGS84.
TO_WGS84 = {
    "gcj02": gcj02_to_wgs84, "bd09": bd09_to_wgs84, "bd09mc": metres_to_wgs84,
}  # fmt: skip


def china_system(name: str) -> str | None:
    """Return which of `TO_WGS84` a name means (`GCJ-02`, `bd09ll`, `BD-09MC`); None for any other system."""
    plain = name.lower().replace("-", "").replace("_", "").replace(" ", "")
    plain = {"bd09ll": "bd09", "bdmc": "bd09mc", "mars": "gcj02"}.get(plain, plain)
    return plain if plain in TO_WGS84 else None


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
