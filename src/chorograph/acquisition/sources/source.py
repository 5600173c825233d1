"""What a source is: pictures of windows of the ground, or street views of regions; and the table of sources by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from chorograph.area.folder import Source
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.registry import Registry

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

    from chorograph.acquisition.sources.windows import Window
    from chorograph.ground.stage import Ledger, Progress


@dataclass(frozen=True, slots=True)
class Picture:
    """How the picture of one window or place ended: its encoded bytes, or the reason why there are none.

    `nodata` and `cloud` are shares of its pixels from 0 to 1, None where nobody can say. `url` says where it is from
    where that is another than was said before; no secret stands in it.
    """

    data: bytes = b""
    reason: str | None = None
    url: str | None = None
    captured: str | None = None
    nodata: float | None = None
    cloud: float | None = None


#: Is told the number of a picture and how it ended, as soon as it has.
Take = Callable[[int, Picture], None]


class Imagery(Protocol):
    """Pictures of windows of the ground: of a service, or out of rasters."""

    @property
    def about(self) -> Source:
        """Where the pictures are from, under which terms."""

    def url(self, window: Window) -> str | None:
        """Return where a window's picture is from, without secrets; None where that is said with the picture."""

    def fetch(self, windows: Sequence[Window], take: Take) -> None:
        """Get each window's picture; nothing that another machine does is raised."""


class StreetViews(Protocol):
    """Street views of a service: listed first, fetched after."""

    @property
    def about(self) -> Source:
        """Where the pictures are from, under which terms."""

    def listed(self, regions: gpd.GeoDataFrame, margin_m: float, ledger: Ledger, progress: Progress) -> pd.DataFrame:
        """Return image_id, lon, lat, captured?, licence?, url (its page), and whatever `fetch` needs, a row a view."""

    def fetch(self, views: pd.DataFrame, take: Take) -> None:
        """Get the picture of each row."""


@dataclass(frozen=True)
class SourceKind:
    """A kind of source: to what it adds (`imagery` or `streetviews`), and what opens one at an address."""

    adds: str
    open: Callable[[str, Any], Any]


SOURCES: Registry[SourceKind] = Registry("source")
_HERE = "chorograph.acquisition.sources"
SOURCES.add("xyz", f"{_HERE}.tile_service:XYZ", "map tiles by a template of their URLs: xyz:https://…/{z}/{x}/{y}.png")
SOURCES.add("tms", f"{_HERE}.tile_service:TMS", "the same with rows counted from the south")
SOURCES.add(
    "wmts", f"{_HERE}.tile_service:WMTS", "a WMTS by its template, or by its capabilities: wmts:https://…?…#LAYER"
)
SOURCES.add("provider", f"{_HERE}.tile_service:PROVIDER", "a provider that xyzservices knows: provider:USGS.USImagery")
SOURCES.add(
    "cog", f"{_HERE}.mosaics.cog:COG", "GeoTIFFs, local or by URL, read by windows: cog:FOLDER, cog:https://…tif"
)
SOURCES.add("stac", f"{_HERE}.mosaics.stac:STAC", "scenes of a STAC API or static catalogue, the least clouds on top")

SOURCES.add("panoramax", f"{_HERE}.street.panoramax:PANORAMAX", "street views of a Panoramax, each with its licence")
SOURCES.add(
    "mapillary",
    f"{_HERE}.street.mapillary:MAPILLARY",
    "street views of Mapillary, with your token",
    licence="CC-BY-SA-4.0",
)


def is_source(text: str) -> bool:
    """Whether a text names a source and its address (`xyz:…`), and no file."""
    name, colon, _ = text.partition(":")
    return bool(colon) and len(name) > 1 and name in SOURCES


def check_path(text: str) -> Path:
    """Return a text as a path; `UnknownNameError` where it is none and begins like a source (`xys:https://…`)."""
    path = Path(text)
    name, colon, _ = text.partition(":")
    if colon and len(name) > 1 and "/" not in name and not path.expanduser().exists():
        raise UnknownNameError.of("source", name, SOURCES.names())
    return path


def open_source(text: str, asked: Any, adds: str) -> Any:
    """Open a source that adds `adds`; `InputError` for one that adds another kind of data."""
    name, _, address = text.partition(":")
    kind = SOURCES[name]
    if kind.adds != adds:
        raise InputError(f"{name} is a source of {kind.adds}: chorograph area add {kind.adds} AREA --from {text}")
    return kind.open(address, asked)
