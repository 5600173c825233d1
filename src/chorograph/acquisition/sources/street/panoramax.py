"""Street views of a Panoramax: no key, a STAC search, a licence and a heading with every picture.

https://docs.panoramax.fr; the search takes bbox, datetime and limit, items hold assets `sd`, `hd` and `thumb`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin

import pandas as pd

from chorograph.acquisition.sources.documents import Asked, answers, following_page
from chorograph.acquisition.sources.secrets import check_no_secret
from chorograph.acquisition.sources.source import SourceKind, Take
from chorograph.acquisition.sources.street.fetching import fetch_views
from chorograph.acquisition.sources.street.listing import Answer, Box, cells_around, list_views
from chorograph.area.folder import Source
from chorograph.ground.errors import SettingError

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.acquisition.sources.source_settings import FetchSettings
    from chorograph.ground.stage import Ledger, Progress

#: The federated catalogue of all instances.
_EVERYWHERE = "https://api.panoramax.xyz"
#: Degrees of a cell's side, and views of an answer at most.
_SIDE, _LIMIT = 0.02, 1000


@dataclass(frozen=True)
class Panoramax:
    """A Panoramax, and what is asked of it."""

    base: str
    about: Source
    asked: FetchSettings

    def listed(self, regions: gpd.GeoDataFrame, margin_m: float, ledger: Ledger, progress: Progress) -> pd.DataFrame:
        """Return a row a view: image_id, lon, lat, captured, licence, heading, url, href."""
        cells = cells_around(regions, margin_m, _SIDE)
        return pd.DataFrame(list_views(cells, self._ask, ledger, progress))

    def fetch(self, views: pd.DataFrame, take: Take) -> None:
        """Fetch the picture of each row."""
        fetch_views(views, self.asked.rules(), take)

    def _ask(self, cells: Sequence[Box]) -> list[Answer]:
        dates = {"datetime": _interval(self.asked.dates)} if self.asked.dates else {}
        queries = [
            urlencode({"bbox": ",".join(f"{edge:.6f}" for edge in cell), "limit": _LIMIT, **dates}) for cell in cells
        ]
        urls = [f"{self.base}/api/search?{query}" for query in queries]
        return [
            _answer(page, url, reason)
            for (page, reason), url in zip(answers(urls, self.asked.rules()), urls, strict=True)
        ]


def view_of(item: Mapping[str, Any], page: str) -> dict[str, Any] | None:
    """Return an item as a view, None for one without a place or a picture."""
    assets, said = item.get("assets", {}), item.get("properties", {})
    asset = next((assets[name] for name in ("sd", "hd") if name in assets), None)
    place = (item.get("geometry") or {}).get("coordinates", ())
    if asset is None or len(place) < 2:
        return None
    own = next((link["href"] for link in item.get("links", ()) if link.get("rel") == "self"), None)
    return {
        "image_id": f"panoramax-{item['id']}", "lon": float(place[0]), "lat": float(place[1]),
        "captured": said.get("datetime"), "licence": said.get("license"), "heading": said.get("view:azimuth"),
        "url": urljoin(page, own) if own else f"{page.partition('?')[0]}?ids={item['id']}",
        "href": urljoin(page, asset["href"]),
    }  # fmt: skip


def open_panoramax(address: str, asked: FetchSettings) -> Panoramax:
    """Return a Panoramax at an address; without one, the catalogue of all."""
    base = check_no_secret(address or _EVERYWHERE).rstrip("/").removesuffix("/api")
    if not base.startswith(("http://", "https://")):
        raise SettingError(f"panoramax: wants the address of an instance, such as {_EVERYWHERE}, not {address!r}")
    return Panoramax(base, Source("Panoramax", "a licence a picture", "Panoramax contributors", base), asked)


def _answer(page: Mapping[str, Any], url: str, reason: str | None) -> Answer:
    views = [view for item in page.get("features", ()) if (view := view_of(item, url)) is not None]
    # An instance that does not say whether there is more gives as many as were asked for.
    more = following_page(page, Asked(url)) is not None or len(page.get("features", ())) >= _LIMIT
    return Answer(views, more, reason)


def _interval(dates: str) -> str:
    start, _, end = dates.partition("/")
    return f"{start}T00:00:00Z/{end or start}T23:59:59Z"


PANORAMAX = SourceKind("streetviews", open_panoramax)
