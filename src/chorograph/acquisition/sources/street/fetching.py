"""Fetching street views that were listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chorograph.acquisition.sources.source import Picture, Take
from chorograph.acquisition.sources.tile_service import tile_fault

if TYPE_CHECKING:
    import pandas as pd

    from chorograph.ground.fetching.fetcher import FetchRules


def fetch_views(views: pd.DataFrame, rules: FetchRules, take: Take) -> None:
    """Fetch the picture at `href` of each row; each ends as an image or as a class of failure."""
    from chorograph.ground.fetching.fetcher import Wanted, fetch_all

    captured = [date if isinstance(date, str) else None for date in views["captured"]]
    fetch_all(
        views["href"].tolist(),
        rules,
        lambda number, found: take(number, Picture(found.data, found.reason, captured=captured[number])),
        Wanted(types=("image/",), judge=tile_fault),
    )
