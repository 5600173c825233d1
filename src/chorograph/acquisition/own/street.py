"""Street views and regions: the nearest one within reach, and no more of each than asked for."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from chorograph.acquisition.own.regions import region_at
from chorograph.area.middle import equal_area
from chorograph.ground.stage import Ledger


def near_regions(frame: pd.DataFrame, regions: gpd.GeoDataFrame, within_m: float, ledger: Ledger) -> pd.DataFrame:
    """Return views (lon, lat) with the region they lie in, or the nearest within `within_m` metres; None for none."""
    lon, lat = frame["lon"].to_numpy(float), frame["lat"].to_numpy(float)
    found, _ = region_at(lon, lat, regions)
    left = found.isna().to_numpy()
    if left.any() and within_m > 0:
        crs = equal_area(regions)
        held = regions[regions.geometry.notna()]
        points = gpd.GeoSeries(gpd.points_from_xy(lon[left], lat[left]), crs=4326).to_crs(crs).to_numpy()
        tree = shapely.STRtree(held.geometry.to_crs(crs).to_numpy())
        rows, nearest = tree.query_nearest(points, max_distance=within_m, all_matches=False)
        found.iloc[np.flatnonzero(left)[rows]] = held["region_id"].to_numpy(object)[nearest]
        ledger.count("street views of the nearest region", len(rows))
    ledger.count("street views in no region", int(found.isna().sum()))
    return frame.assign(region_id=found.to_numpy(object))


def no_more_than(frame: pd.DataFrame, most: int, ledger: Ledger) -> pd.DataFrame:
    """Return at most `most` views of each region, spread evenly over those listed; views of no region stay."""
    if "region_id" not in frame:
        return frame
    place = frame.groupby("region_id", dropna=True).cumcount()
    number = frame.groupby("region_id", dropna=True)["tile"].transform("size")
    # View k of n is kept where the count of kept ones rises: every n/most-th.
    kept = (np.floor((place + 1) * most / number) > np.floor(place * most / number)) | (number <= most)
    kept = kept | frame["region_id"].isna()
    ledger.drop("street view beyond the most of a region", int((~kept).sum()))
    return frame[kept]
