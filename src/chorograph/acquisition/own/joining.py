"""Values that stand at places of their own, brought to regions: shared areas for polygons, the region for points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from chorograph.acquisition.own.regions import region_at
from chorograph.area.middle import equal_area

if TYPE_CHECKING:
    import geopandas as gpd

#: A region of which less than this share is covered gets no value.
LEAST_COVERED = 0.01


@dataclass(frozen=True)
class Shares:
    """How places and regions share ground: for each pair the place, the region, the area and the place's share.

    `area`: m2 (1 for a point). `of_place`: the part of the place that lies in the region, 0 to 1. `region_area`: m2 of
    each region, NaN where places are points.
    """

    place: NDArray[np.int64]
    region: NDArray[np.int64]
    area: NDArray[np.float64]
    of_place: NDArray[np.float64]
    region_area: NDArray[np.float64]

    def counts(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring a count (extensive: people, shops) to regions: each place gives what lies in the region of it."""
        known = np.isfinite(values[self.place])
        total = self._sum(np.where(known, values[self.place] * self.of_place, 0.0))
        return np.where(self.covered(values) >= LEAST_COVERED, total, np.nan)

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring a mean, share or density (intensive) to regions: the mean weighted by shared area."""
        known = np.isfinite(values[self.place])
        total = self._sum(np.where(known, values[self.place] * self.area, 0.0))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / self._sum(np.where(known, self.area, 0.0))
        return np.where(self.covered(values) >= LEAST_COVERED, mean, np.nan)

    def covered(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of each region that places of known value cover (points: 1 where there is any)."""
        area = self._sum(np.where(np.isfinite(values[self.place]), self.area, 0.0))
        points = np.isnan(self.region_area)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(points, area > 0, area / self.region_area)

    def _sum(self, parts: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.bincount(self.region, weights=parts, minlength=len(self.region_area))
        return sums.astype(np.float64)


def shares_of(places: gpd.GeoSeries, regions: gpd.GeoDataFrame) -> Shares:
    """Return how `places` (polygons or points, EPSG:4326) and regions share ground.

    Areas are those of Lambert's equal-area projection about the regions' middle.
    """
    kinds = shapely.get_type_id(places.to_numpy())
    if np.isin(kinds, (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)).any():
        return _of_polygons(places, regions)
    return _of_points(places, regions)


def _of_polygons(places: gpd.GeoSeries, regions: gpd.GeoDataFrame) -> Shares:
    crs = equal_area(regions)
    sources, targets = (_whole(part.to_crs(crs).to_numpy()) for part in (places, regions.geometry))
    place, region = shapely.STRtree(targets).query(sources, predicate="intersects")
    area = shapely.area(shapely.intersection(sources[place], targets[region]))
    held = area > 0
    place, region, area = place[held], region[held], area[held]
    size = shapely.area(targets)
    return Shares(place, region, area, area / shapely.area(sources)[place], np.where(size > 0, size, np.inf))


def _of_points(places: gpd.GeoSeries, regions: gpd.GeoDataFrame) -> Shares:
    points = shapely.point_on_surface(places.to_numpy())
    found, _ = region_at(shapely.get_x(points), shapely.get_y(points), regions)
    place = np.flatnonzero(found.notna().to_numpy())
    row_of = {name: row for row, name in enumerate(regions["region_id"])}
    region = np.array([row_of[name] for name in found.iloc[place]], dtype=np.int64)
    return Shares(place, region, np.ones(len(place)), np.ones(len(place)), np.full(len(regions), np.nan))


def _whole(geometry: Any) -> Any:
    """Return valid polygons; a missing one is empty."""
    geometry = np.where(shapely.is_missing(geometry), shapely.from_wkt("POLYGON EMPTY"), geometry)
    return np.where(shapely.is_valid(geometry), geometry, shapely.make_valid(geometry))
