"""Which store belongs to which area."""

from __future__ import annotations

from pathlib import Path

from chorograph.serving.catalogue.served import Catalogue
from chorograph.serving.ratings.store import RatingStore

FILE = "ratings.sqlite"


def url_of(area: Path) -> str:
    """Return the URL of the store that an area keeps in its folder."""
    return f"sqlite:///{(area / FILE).resolve()}"


def open_stores(catalogue: Catalogue, url: str | None) -> dict[str, RatingStore]:
    """Open the store at `url` for all areas, or one in each area's folder."""
    if url is not None:
        shared = RatingStore(url)
        return {served.slug: shared for served in catalogue}
    return {served.slug: RatingStore(url_of(served.area.path)) for served in catalogue}
