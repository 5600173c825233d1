"""Street views of a source into an area: listed around the regions, joined by distance, so many a region, fetched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import shapely

from chorograph.acquisition.own.street import near_regions, no_more_than
from chorograph.acquisition.sources.coverage import coverage_path, write_coverage
from chorograph.acquisition.sources.imagery import about_of, identity, image_rows
from chorograph.acquisition.sources.journal import open_journal
from chorograph.acquisition.sources.keeping import Keeper, held_before, keep_all
from chorograph.acquisition.sources.source import StreetViews, Take, open_source
from chorograph.area.folder import Area
from chorograph.area.growing import add_rows, add_source
from chorograph.ground.errors import InputError
from chorograph.ground.files import slug
from chorograph.ground.stage import Ledger, Progress, silent

if TYPE_CHECKING:
    from chorograph.acquisition.sources.source_settings import SourceViews


def add_source_views(
    area: Area, address: str, name: str, asked: SourceViews, ledger: Ledger, progress: Progress = silent, *,
    replace: bool = False,
) -> None:  # fmt: skip
    """Add street views of the area's regions from `address` (`panoramax:…`), under `name` in `added` and `coverage`.

    A view in no region goes to the nearest within `within_m`, and of a region `most` are taken, spread evenly over its
    views by their ids. What an earlier run had is not fetched again. Raises `InputError` where there is none.
    """
    if not area.has_regions:
        raise InputError(f"{area.path} has no regions to look around in; chorograph area new OUT --regions FILE")
    source: StreetViews = open_source(address, asked, "streetviews")
    views = source.listed(area.regions, asked.within_m, ledger, progress)
    ledger.count("street views listed", len(views))
    if views.empty:
        raise InputError(f"{address} has no street view in or near the regions; widen --dates or --within-m")
    views = near_regions(views.assign(tile=views["image_id"]), area.regions, asked.within_m, ledger)
    outside = views["region_id"].isna()
    ledger.drop("street view in no region", int(outside.sum()))
    views = views[~outside]
    if asked.most is not None:
        views = no_more_than(views, asked.most, ledger)
    if views.empty:
        raise InputError(f"no street view of {address} lies in a region; take the nearest with --within-m METRES")
    views = views.drop(columns="tile").reset_index(drop=True)
    names, urls, images = views["image_id"].tolist(), views["url"].tolist(), area.images
    with open_journal(area.path / "added" / f"streetviews-{slug(name)}.journal", identity(asked, address)) as journal:
        keeper = Keeper(area.path, journal, set(images["uri"].dropna()))
        for row in held_before(images, names, urls.__getitem__):
            journal.rows.setdefault(row.name, row)

        def fetch(left: Sequence[int], take: Take) -> None:
            source.fetch(views.iloc[list(left)], take)

        rows = keep_all(
            keeper, names, urls.__getitem__, fetch, ledger, progress, "street views", again=asked.retry_missing
        )
        about = about_of(source.about, asked)
        frame = views.drop(columns=["href", "url", "captured", "heading"])
        add_rows(area, "images", image_rows(frame, rows, about, "street"), ledger, replace=replace)
        add_source(area, about)
        shown = views.drop(columns=["href", "url"])
        points = list(shapely.points(views["lon"], views["lat"]))
        write_coverage(coverage_path(area, name), shown, points, rows, area.regions, ledger)
