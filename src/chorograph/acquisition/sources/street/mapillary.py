"""Street views of Mapillary, by its API (version 4) and your token, which comes of the environment alone.

https://www.mapillary.com/developer/api-documentation: `images` of a box under 0.01 square degrees, 2,000 at most, with
no word of whether there are more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pandas as pd

from chorograph.acquisition.sources.documents import answers
from chorograph.acquisition.sources.secrets import check_no_secret, secret
from chorograph.acquisition.sources.source import SourceKind, Take
from chorograph.acquisition.sources.street.fetching import fetch_views
from chorograph.acquisition.sources.street.listing import Answer, Box, cells_around, list_views
from chorograph.area.folder import Source

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.acquisition.sources.source_settings import FetchSettings
    from chorograph.ground.stage import Ledger, Progress

_API = "https://graph.mapillary.com"
_TOKEN = "MAPILLARY_ACCESS_TOKEN"  # noqa: S105  # the name of a variable
_FIELDS = "id,captured_at,compass_angle,geometry,computed_geometry,thumb_1024_url"
#: Degrees of a cell's side, and views of an answer at most.
_SIDE, _LIMIT = 0.02, 2000


@dataclass(frozen=True)
class Mapillary:
    """Mapillary's API, and what is asked of it."""

    base: str
    about: Source
    asked: FetchSettings

    def listed(self, regions: gpd.GeoDataFrame, margin_m: float, ledger: Ledger, progress: Progress) -> pd.DataFrame:
        """Return a row a view: image_id, lon, lat, captured, licence, heading, url, href."""
        cells = cells_around(regions, margin_m, _SIDE)
        return pd.DataFrame(list_views(cells, self._ask, ledger, progress))

    def fetch(self, views: pd.DataFrame, take: Take) -> None:
        """Fetch the picture of each row, of hosts that are not told the token."""
        fetch_views(views, self.asked.rules(), take)

    def _ask(self, cells: Sequence[Box]) -> list[Answer]:
        # In a header, so that no URL, which servers and proxies write down, holds it.
        headers = {"Authorization": f"OAuth {secret(self.asked.token_env or _TOKEN)}"}
        dates = _dates(self.asked.dates)
        queries = [
            {"fields": _FIELDS, "bbox": ",".join(f"{edge:.6f}" for edge in cell), "limit": _LIMIT} for cell in cells
        ]
        urls = [f"{self.base}/images?{urlencode({**query, **dates})}" for query in queries]
        return [_answer(page, reason) for page, reason in answers(urls, self.asked.rules(), headers)]


def view_of(image: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return an image as a view, at the place that was computed where there is one; None without place or picture."""
    place = (image.get("computed_geometry") or image.get("geometry") or {}).get("coordinates", ())
    if len(place) < 2 or not image.get("thumb_1024_url"):
        return None
    taken = image.get("captured_at")
    return {
        "image_id": f"mapillary-{image['id']}", "lon": float(place[0]), "lat": float(place[1]),
        "captured": datetime.fromtimestamp(taken / 1000, UTC).isoformat() if taken else None,
        "licence": "CC-BY-SA-4.0", "heading": image.get("compass_angle"),
        "url": f"https://www.mapillary.com/app/?pKey={image['id']}", "href": image["thumb_1024_url"],
    }  # fmt: skip


def open_mapillary(address: str, asked: FetchSettings) -> Mapillary:
    """Return Mapillary's API; `SettingError` where the environment holds no token."""
    secret(asked.token_env or _TOKEN)
    about = Source("Mapillary", "CC-BY-SA-4.0", "Mapillary contributors", "https://www.mapillary.com")
    return Mapillary(check_no_secret(address or _API).rstrip("/"), about, asked)


def _answer(page: Mapping[str, Any], reason: str | None) -> Answer:
    images = page.get("data", ())
    views = [view for image in images if (view := view_of(image)) is not None]
    return Answer(views, len(images) >= _LIMIT, reason)


def _dates(dates: str | None) -> dict[str, str]:
    if not dates:
        return {}
    start, _, end = dates.partition("/")
    return {"start_captured_at": f"{start}T00:00:00Z", "end_captured_at": f"{end or start}T23:59:59Z"}


MAPILLARY = SourceKind("streetviews", open_mapillary)
