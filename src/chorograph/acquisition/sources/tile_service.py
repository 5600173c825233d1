"""Map tiles of a service, by a template of their URLs: XYZ, TMS, WMTS, and the providers that xyzservices knows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chorograph.acquisition.sources.outlined import fetch_stitched
from chorograph.acquisition.sources.permission import check_permission, terms_of
from chorograph.acquisition.sources.secrets import check_no_secret, secret, with_secrets
from chorograph.acquisition.sources.source import Picture, SourceKind, Take
from chorograph.area.folder import Source
from chorograph.area.images import transparent_share
from chorograph.ground.errors import InputError, SettingError, UnknownNameError
from chorograph.ground.image_formats import format_of

if TYPE_CHECKING:
    from chorograph.acquisition.sources.source_settings import ServiceSettings
    from chorograph.acquisition.sources.windows import Window
    from chorograph.ground.fetching.fetcher import Fetched, FetchRules

_FIELD = re.compile(r"\{([^{}]+)\}")
#: What a template may name, and how WMTS calls it.
_KNOWN = frozenset({"z", "x", "y", "-y", "q", "s", "r"})
_WMTS = {"tilematrix": "z", "tilecol": "x", "tilerow": "y"}
#: A tile of more pixels is none.
_MOST_PIXELS = 4096 * 4096


@dataclass(frozen=True)
class TileService:
    """A service of Web Mercator tiles: the template of their URLs with {z}, {x}, {y} (or {-y}, {q}), and its terms.

    Secrets stand in the template as `${NAME}`, or as fields that `filled` fills; only what is asked for holds them.
    """

    template: str
    about: Source
    rules: FetchRules
    filled: Mapping[str, str] = field(default_factory=dict, repr=False)
    zooms: tuple[int, int] = (0, 30)
    subdomains: str = "abc"

    def url(self, window: Window) -> str | None:
        """Return the URL of a tile, without secrets, None where a window takes several.

        `SettingError` for a window of no map tiles, or another zoom.
        """
        return None if _of_several(window) else self._url(window, self.template)

    def fetch(self, windows: Sequence[Window], take: Take) -> None:
        """Fetch each tile politely; each ends as an image or as a class of failure."""
        if any(_of_several(window) for window in windows):
            fetch_stitched(self, windows, take)
            return
        from chorograph.ground.fetching.fetcher import Wanted, fetch_all

        template = with_secrets(_fill(self.template, self.filled))
        wanted = Wanted(types=("image/",), judge=tile_fault)
        urls = [self._url(window, template) for window in windows]
        fetch_all(urls, self.rules, lambda number, found: take(number, _picture(found)), wanted)

    def _url(self, window: Window, template: str) -> str:
        if window.tile is None:
            raise SettingError(f"{self.about.name} gives map tiles: ask for them with --zoom, not with --resolution-m")
        zoom, x, y = window.tile
        low, high = self.zooms
        if not low <= zoom <= high:
            raise SettingError(f"{self.about.name} has the zooms {low} to {high}, not {zoom}; give another --zoom")
        numbers = {
            "z": str(zoom), "x": str(x), "y": str(y), "-y": str(2**zoom - 1 - y), "r": "",
            "s": self.subdomains[(x + y) % len(self.subdomains)],
        }  # fmt: skip
        if "{q}" in template:
            numbers["q"] = quadkey(zoom, x, y)
        return _fill(template, numbers)


def quadkey(zoom: int, x: int, y: int) -> str:
    """Return a tile's number as Bing writes it: a digit from 0 to 3 a zoom (Bing Maps Tile System)."""
    return "".join(str((x >> bit & 1) + 2 * (y >> bit & 1)) for bit in range(zoom - 1, -1, -1))


def tile_fault(data: bytes) -> str | None:
    """Return why bytes are not kept as a tile, or None: no image (an error page, say), cut off, too large.

    Pixels stay undecoded: that a JPEG, PNG, WebP or GIF is whole is seen by its end.
    """
    from chorograph.ground.fetching.images import image_fault

    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_fault(data)
    if fault := image_fault(data, _MOST_PIXELS):
        return fault
    known = format_of(data)
    name = known.name if known else ""
    if name == "PNG" and b"IEND" not in data[-16:]:
        return "cut off"
    if name == "WEBP" and len(data) < int.from_bytes(data[4:8], "little") + 8:
        return "cut off"
    return "cut off" if name == "GIF" and b";" not in data[-4:] else None


def _jpeg_fault(data: bytes) -> str | None:
    """Judge a JPEG, which most tiles are, by its header alone: twenty times as fast as Pillow."""
    import simplejpeg

    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except ValueError:
        return "cut off"
    if height * width > _MOST_PIXELS:
        return "too many pixels"
    return None if b"\xff\xd9" in data[-64:] else "cut off"


def open_xyz(address: str, asked: ServiceSettings) -> TileService:
    """Return the service of a template."""
    template = checked_template(address)
    check_permission(_shown(template), asked.i_have_permission)
    terms = terms_of(_shown(template))
    host = urlsplit(_shown(template)).hostname or template
    about = Source(host, terms.licence if terms else "unstated", "", check_no_secret(template))
    return TileService(template, about, asked.rules())


def open_tms(address: str, asked: ServiceSettings) -> TileService:
    """Return the service of a template whose rows are counted from the south."""
    return open_xyz(address.replace("{y}", "{-y}"), asked)


def open_wmts(address: str, asked: ServiceSettings) -> TileService:
    """Return the service of a WMTS: a template with {TileMatrix}, {TileCol}, {TileRow}, or capabilities and a layer."""
    if "{" in address.replace("${", ""):
        return open_xyz(address, asked)
    from chorograph.acquisition.sources.wmts import read_capabilities

    check_permission(address, asked.i_have_permission)
    found = read_capabilities(check_no_secret(address), asked.rules())
    service = open_xyz(found.template, asked)
    return replace(service, about=Source(found.title, service.about.licence, "", address), zooms=found.zooms)


def open_provider(name: str, asked: ServiceSettings) -> TileService:
    """Return a provider that xyzservices knows, with its attribution and zooms; a token comes of the environment."""
    import xyzservices.providers

    known = xyzservices.providers.flatten()
    if name not in known:
        raise UnknownNameError.of("provider of xyzservices", name, known)
    found = known[name]
    if found.get("status") == "broken":
        raise InputError(f"{name} no longer answers, as xyzservices has it; choose another provider")
    blank = [key for key, value in found.items() if isinstance(value, str) and re.match(r"<insert|your_", value)]
    blank = [key for key in blank if f"{{{key}}}" in found["url"]]
    if blank and asked.token_env is None:
        raise SettingError(
            f"{name} needs a token ({blank[0]}): say which variable of the environment holds it, --token-env"
        )
    said = {key: str(value) for key, value in found.items() if key not in ("url", *blank)}
    template = _fill(found["url"], {key: value for key, value in said.items() if key not in _KNOWN})
    filled = {key: secret(str(asked.token_env)) for key in blank}
    template = checked_template(template, (*_KNOWN, *filled))
    check_permission(_shown(template), asked.i_have_permission)
    terms = terms_of(_shown(template))
    about = Source(
        name, terms.licence if terms else "unstated", found.get("attribution", ""), terms.url if terms else ""
    )
    zooms = (int(found.get("min_zoom", 0)), int(found.get("max_zoom", 30)))
    return TileService(template, about, asked.rules(), filled, zooms, found.get("subdomains", "abc"))


def checked_template(address: str, known: Sequence[str] = tuple(_KNOWN)) -> str:
    """Return a template with its fields in their common names; `SettingError` for one that cannot name a tile."""
    template = _FIELD.sub(
        lambda match: f"{{{_WMTS.get(match[1].lower(), match[1])}}}", check_no_secret(address).strip()
    )
    fields = set(_FIELD.findall(re.sub(r"\$\{\w+\}", "", template)))
    if not re.match(r"https?://[^/]", template):
        raise SettingError(f"a template of tiles begins with http:// or https://, not {template[:40]!r}")
    if unknown := sorted(fields - set(known)):
        raise SettingError(
            f"the template holds {{{unknown[0]}}}, which stands for nothing here; write its value instead"
        )
    if not ("q" in fields or ({"z", "x"} <= fields and fields & {"y", "-y"})):
        raise SettingError("a template of tiles holds {z}, {x} and {y} (or {-y}, rows from the south), or {q}")
    return template


def _shown(template: str) -> str:
    """Return a template as a URL whose host can be told."""
    return template.replace("{s}", "a")


def _fill(template: str, values: Mapping[str, str]) -> str:
    return _FIELD.sub(lambda match: values.get(match[1], match[0]), template)


def _of_several(window: Window) -> bool:
    return window.tile is None and window.zoom is not None


def _picture(found: Fetched) -> Picture:
    """Return a tile with the share of it that is transparent, which is no data; one that is so altogether is none."""
    share = None if found.reason else transparent_share(found.data)
    return Picture(reason="no data") if share == 1.0 else Picture(found.data, found.reason, nodata=share)


XYZ = SourceKind("imagery", open_xyz)
TMS = SourceKind("imagery", open_tms)
WMTS = SourceKind("imagery", open_wmts)
PROVIDER = SourceKind("imagery", open_provider)
