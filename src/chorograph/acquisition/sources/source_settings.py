"""What can be asked of a source that is no file of one's own. Light: the table of verbs imports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import ImagerySettings, Provenance, StreetSettings
from chorograph.ground.settings import above, at_least, between, setting

if TYPE_CHECKING:
    from chorograph.ground.fetching.fetcher import FetchRules


@dataclass(frozen=True, kw_only=True)
class FetchSettings:
    """How politely a service is asked."""

    i_have_permission: bool = setting(
        False, help="I may take this service's pictures in bulk: its terms or its owner allow it to me"
    )
    per_host: int = setting(4, help="requests to one host at once", within=between(1, 256))
    pause_s: float = setting(0.05, help="seconds between two requests to one host", within=at_least(0))
    tries: int = setting(4, help="tries of a request that failed in a way that may pass", within=between(1, 20))
    deadline_s: float = setting(90.0, help="seconds for all tries of a request", within=above(0))
    contact: str = setting("", help="an address or page that the service is told, so that it can ask you")
    allow: list[str] = setting([], help="a private network that may be asked, such as 127.0.0.0/8 or 10.0.0.0/8")
    retry_missing: bool = setting(False, help="ask again for what an earlier run did not get")
    token_env: str | None = setting(
        None, help="the variable of the environment that holds the service's token (mapillary: MAPILLARY_ACCESS_TOKEN)"
    )
    dates: str | None = setting(None, help="START/END: what was captured from START to END, each YYYY-MM-DD")

    @property
    def again(self) -> bool:
        """Whether it is done again though it was done before."""
        return self.retry_missing

    def rules(self, **others: object) -> FetchRules:
        """Return how it is fetched; a service that is asked by permission is no page that robots.txt speaks of."""
        from chorograph.ground.fetching.fetcher import FetchRules

        asked: dict[str, object] = {
            "connections": self.per_host, "per_host": self.per_host, "host_pause_s": self.pause_s, "tries": self.tries,
            "sample_s": self.deadline_s, "try_s": min(30.0, self.deadline_s), "contact": self.contact,
            "allow": tuple(self.allow), "robots": False, "refuse_headers": (),
        }  # fmt: skip
        return FetchRules(**{**asked, **others})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class ServiceSettings(FetchSettings):
    """Which windows of the ground are pictured by a service or out of rasters, and how."""

    resolution_m: float | None = setting(
        None,
        help="metres a pixel, of rasters that are read by squares or regions instead of map tiles",
        within=above(0),
    )
    by: str = setting(
        "square",
        help="square: tiles (--zoom) or squares (--resolution-m) whose middle lies in a region; region: the rectangle "
        "around each region, stitched of tiles or read from rasters; mask: the same, black outside of the region",
        choices=("square", "region", "mask"),
    )
    pixels: int = setting(256, help="pixels of a square's or cut tile's side", within=between(16, 4096))
    grid_crs: str | None = setting(
        None, help="the projected system of squares and rectangles; by default the UTM zone of the regions' middle"
    )
    resampling: str = setting(
        "bilinear", help="how rasters are brought to other pixels",
        choices=("nearest", "bilinear", "cubic", "average"),
    )  # fmt: skip
    placeholder: list[str] = setting(
        [], help="a picture that means 'no imagery here': its file, or the SHA-256 of its bytes"
    )
    collection: str | None = setting(None, help="stac: the collection that is searched")
    assets: str = setting("visual", help="stac: the asset of red, green and blue, or three assets: red,green,blue")
    most_cloud: float = setting(
        60.0, help="stac: the largest cloud cover of a scene that is used, in percent", within=between(0, 100)
    )
    mask: str | None = setting(None, help="stac: ASSET:VALUES, the asset whose values mean cloud, such as scl:3,8,9,10")
    scenes: int = setting(4, help="stac: how many scenes are laid under one another at most", within=between(1, 50))


@dataclass(frozen=True, kw_only=True)
class SourceImagery(ServiceSettings, ImagerySettings, Provenance):
    """What can be asked of a source of satellite imagery."""


@dataclass(frozen=True, kw_only=True)
class SourceViews(FetchSettings, StreetSettings, Provenance):
    """What can be asked of a source of street views."""
