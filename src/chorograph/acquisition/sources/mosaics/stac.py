"""Scenes of a STAC API, or of a static catalogue: found by place, date and cloud, and laid over one another.

https://github.com/radiantearth/stac-spec (1.0 and 1.1) and its API's item search. Items are read by pystac; every
document comes through the polite fetcher, and an asset of a catalogue on the web lies on the web too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin

import numpy as np
import shapely
from numpy.typing import NDArray

from chorograph.acquisition.sources.documents import MOST_DOCUMENTS, Asked, documents, is_url, pages
from chorograph.acquisition.sources.mosaics.cog import LOCAL_WORKERS
from chorograph.acquisition.sources.mosaics.picturing import png, read_all, scaling_of
from chorograph.acquisition.sources.mosaics.reading import RasterError, Rasters, in_threads, open_rasters
from chorograph.acquisition.sources.secrets import check_no_secret
from chorograph.acquisition.sources.source import Picture, SourceKind, Take
from chorograph.acquisition.sources.windows import Window, degrees_bounds
from chorograph.area.folder import Source
from chorograph.ground.errors import InputError, SettingError, UnknownNameError
from chorograph.ground.settings import placed

if TYPE_CHECKING:
    from chorograph.acquisition.own.imagery.pixels import Scaling
    from chorograph.acquisition.sources.source_settings import SourceImagery
    from chorograph.ground.fetching.fetcher import FetchRules

_PAGE = 200


@dataclass(frozen=True)
class Scene:
    """One scene: name, outline in degrees, share of cloud from 0 to 1 (None: unsaid), date, rasters, cloud raster."""

    name: str
    outline: Any
    cloud: float | None
    captured: str | None
    rasters: tuple[str, ...]
    mask: str | None


@dataclass(frozen=True)
class Scenes:
    """A catalogue or API of scenes, and what is asked of it."""

    address: str
    about: Source
    asked: SourceImagery

    def url(self, window: Window) -> str | None:
        """Return None: which scenes a picture is from is said with it."""
        return None

    def fetch(self, windows: Sequence[Window], take: Take) -> None:
        """Find the scenes over the windows, and lay them over one another for each."""
        bounds = np.array([degrees_bounds(window) for window in windows])
        box = (*bounds[:, :2].min(0).tolist(), *bounds[:, 2:].max(0).tolist())
        scenes = find_scenes(self.address, self.asked, box)
        tree = shapely.STRtree([scene.outline for scene in scenes])
        mask = parse_mask(self.asked.mask)
        with open_rasters(self.asked.rules(max_bytes=512 * 1024**2)) as rasters:
            try:
                first = scenes[0].rasters
                scaling = scaling_of(rasters, self.asked, first, rasters.extent(first[0]))
            except RasterError as error:
                raise InputError(f"{first[0]} cannot be read: {error.reason}") from error

            def picture(window: Window) -> Picture:
                over = tree.query(shapely.box(*degrees_bounds(window)), predicate="intersects")
                ordered = sorted((scenes[row] for row in over.tolist()), key=_clearest)
                return composite(rasters, window, ordered[: self.asked.scenes], scaling, mask, self.asked.resampling)

            remote = any(is_url(address) for scene in scenes for address in scene.rasters)
            in_threads(picture, windows, self.asked.per_host if remote else LOCAL_WORKERS, take)


def composite(
    rasters: Rasters, window: Window, scenes: Sequence[Scene], scaling: Scaling,
    mask: tuple[str, frozenset[int]] | None, resampling: str,
) -> Picture:  # fmt: skip
    """Return the picture of a window of scenes in their order: each pixel of the first that is clear there.

    Without a mask a scene is clear where it has data, and its share of cloud is that of the whole scene. Pixels that
    are cloudy in every scene are those of the first.
    """
    shape = (window.height, window.width)
    values, covered, clear = None, np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    used: list[tuple[Scene, int]] = []
    try:
        for scene in scenes:
            read, seen = read_all(rasters, scene.rasters, window, scaling.bands or (1,), resampling)
            cloudy = _cloudy(rasters, scene, window, mask)
            new = seen & ~clear & (~cloudy | ~covered)
            values = read if values is None else np.where(new, read, values)
            used.append((scene, int(new.sum())))
            covered |= seen
            clear |= seen & ~cloudy
            if clear.all():
                break
    except RasterError as error:
        return Picture(reason=error.reason)
    if values is None or not covered.any():
        return Picture(reason="no data")
    named = [(scene, number) for scene, number in used if number]
    most = max(named, key=lambda pair: pair[1])[0]
    return Picture(
        png(values, covered, scaling), url=" ".join(scene.name for scene, _ in named), captured=most.captured,
        nodata=float(1 - covered.mean()), cloud=_share_of_cloud(named, covered, clear, mask is not None),
    )  # fmt: skip


def find_scenes(address: str, asked: SourceImagery, box: tuple[float, ...]) -> list[Scene]:
    """Return the scenes that touch `box` (degrees), of the dates and clouds asked for.

    Raises `InputError` where there are none, saying what was left out and why.
    """
    left: dict[str, int] = {}
    scenes = []
    for item, where in _items(address, asked, box):
        scene, reason = _scene(item, where, asked, box)
        if scene is None:
            left[reason] = left.get(reason, 0) + 1
        else:
            scenes.append(scene)
    if not scenes:
        said = ", ".join(f"{number} {reason}" for reason, number in left.items()) or "it has no item there"
        raise InputError(f"stac:{address}: no scene can be used ({said}); change --dates, --most-cloud or --collection")
    return sorted(scenes, key=_clearest)


def parse_mask(text: str | None) -> tuple[str, frozenset[int]] | None:
    """Return (asset, values that mean cloud) of `ASSET:VALUES`."""
    if text is None:
        return None
    asset, _, values = text.partition(":")
    try:
        return asset, frozenset(int(value) for value in values.split(","))
    except ValueError:
        raise SettingError(f"--mask is ASSET:VALUES, such as scl:3,8,9,10, not {text!r}") from None


def open_stac(address: str, asked: SourceImagery) -> Scenes:
    """Return the scenes of an API, a catalogue or a collection of items, by URL or file."""
    parse_mask(asked.mask)
    shown = check_no_secret(address) if is_url(address) else str(placed(Path(address)))
    root = _document(shown, asked.rules())
    licence = str(root.get("license", "unstated"))
    if asked.collection and root.get("type") == "Catalog" and _is_api(root):
        found = _document(_join(shown, f"collections/{asked.collection}", folder=True), asked.rules())
        licence = str(found.get("license", licence))
    name = f"{root.get('title') or root.get('id') or 'STAC'}{f' {asked.collection}' if asked.collection else ''}"
    return Scenes(shown, Source(name, licence, "", shown), asked)


def _items(address: str, asked: SourceImagery, box: tuple[float, ...]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Go through items and where each lies: a search of an API, or a walk through a catalogue."""
    rules = asked.rules()
    root = _document(address, rules)
    if root.get("type") == "Feature":
        yield root, address
    elif root.get("type") == "FeatureCollection":
        yield from ((item, _self(item, address)) for item in root["features"])
    elif _is_api(root):
        yield from _searched(address, root, asked, box, rules)
    else:
        yield from _walked(address, root, asked.collection, rules)


def _searched(
    address: str, root: Mapping[str, Any], asked: SourceImagery, box: tuple[float, ...], rules: FetchRules
) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Search an API: by GET, which each has, unless it names POST alone."""
    query: dict[str, Any] = {"bbox": [round(edge, 6) for edge in box], "limit": _PAGE}
    query |= {"collections": [asked.collection]} if asked.collection else {}
    query |= {"datetime": _interval(asked.dates)} if asked.dates else {}
    links = [link for link in root.get("links", ()) if link.get("rel") == "search"] or [{"href": "search"}]
    by_get = [link for link in links if str(link.get("method", "GET")).upper() == "GET"]
    url = _join(address, (by_get or links)[0]["href"], folder=True)
    said = {
        name: value if isinstance(value, str) else ",".join(map(str, _list(value))) for name, value in query.items()
    }
    first = Asked(f"{url}?{urlencode(said)}") if by_get else Asked(url, query)
    for page, where in pages(first, rules, f"stac:{address}"):
        yield from ((item, _self(item, where)) for item in page.get("features", ()))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _walked(
    address: str, root: Mapping[str, Any], collection: str | None, rules: FetchRules
) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Go down a static catalogue, a level at a time; a collection that was not asked for is not entered."""
    level, seen = [(root, address)], {address}
    while level:
        places = []
        for document, where in level:
            if document.get("type") == "Feature":
                yield document, where
                continue
            if collection and document.get("type") == "Collection" and document.get("id") != collection:
                continue
            links = [link["href"] for link in document.get("links", ()) if link.get("rel") in ("child", "item")]
            places += [_join(where, href) for href in links]
        places = [place for place in dict.fromkeys(places) if place not in seen]
        seen.update(places)
        if len(seen) > MOST_DOCUMENTS:
            raise InputError(f"stac:{address} has over {MOST_DOCUMENTS:,} documents; name the collection's own file")
        level = list(zip(documents(places, rules), places, strict=True))


def _scene(
    item: Mapping[str, Any], where: str, asked: SourceImagery, box: tuple[float, ...]
) -> tuple[Scene | None, str]:
    """Return an item as a scene, or why it is none."""
    import pystac

    try:
        found = pystac.Item.from_dict(dict(item), preserve_dict=True)
        outline = shapely.from_geojson(json.dumps(found.geometry)) if found.geometry else shapely.box(*found.bbox or ())
    except Exception:  # pystac's and shapely's own, on an item that breaks the specification
        return None, "no valid item"
    if not outline.intersects(shapely.box(*box)):
        return None, "elsewhere"
    if asked.collection and found.collection_id not in (None, asked.collection):
        return None, "of another collection"
    captured = found.datetime.isoformat() if found.datetime else found.properties.get("start_datetime")
    if asked.dates and not _within(captured, asked.dates):
        return None, "of other dates"
    percent = found.properties.get("eo:cloud_cover")
    if percent is not None and percent > asked.most_cloud:
        return None, "with more cloud"
    wanted = [*asked.assets.split(","), *([asked.mask.partition(":")[0]] if asked.mask else [])]
    if missing := [name for name in wanted if name not in found.assets]:
        raise UnknownNameError.of(f"asset of {found.id}", missing[0], found.assets)
    rasters = [_asset(found.assets[name].href, where) for name in wanted]
    mask = rasters.pop() if asked.mask else None
    return Scene(found.id, outline, None if percent is None else percent / 100, captured, tuple(rasters), mask), ""


def _asset(href: str, where: str) -> str:
    """Return where an asset lies; a catalogue on the web names nothing on this machine."""
    place = _join(where, href)
    if is_url(where) and not is_url(place):
        raise InputError(
            f"{where} names an asset that is not on the web ({href[:80]}); use a catalogue with https links"
        )
    return place


def _cloudy(
    rasters: Rasters, scene: Scene, window: Window, mask: tuple[str, frozenset[int]] | None
) -> NDArray[np.bool_]:
    if mask is None or scene.mask is None:
        return np.zeros((window.height, window.width), dtype=bool)
    values, seen = rasters.read(scene.mask, window, (1,), "nearest")
    return seen & np.isin(values[0], list(mask[1]))


def _share_of_cloud(
    named: Sequence[tuple[Scene, int]], covered: NDArray[np.bool_], clear: NDArray[np.bool_], masked: bool
) -> float | None:
    if masked:
        return float((covered & ~clear).sum() / covered.sum())
    said = [(scene.cloud, number) for scene, number in named if scene.cloud is not None]
    return sum(cloud * number for cloud, number in said) / sum(number for _, number in said) if said else None


def _clearest(scene: Scene) -> tuple[float, str]:
    """Sort by cloud, unsaid last, then by name, so that the order is the same each time."""
    return (2.0 if scene.cloud is None else scene.cloud, scene.name)


def _is_api(root: Mapping[str, Any]) -> bool:
    return any("item-search" in text for text in root.get("conformsTo", ())) or any(
        link.get("rel") == "search" for link in root.get("links", ())
    )


def _self(item: Mapping[str, Any], page: str) -> str:
    own = next((link["href"] for link in item.get("links", ()) if link.get("rel") == "self"), "")
    return urljoin(page, own) if is_url(page) else page


def _join(where: str, href: str, *, folder: bool = False) -> str:
    if is_url(href):
        return href
    if is_url(where):
        return urljoin(where if not folder or where.endswith("/") else f"{where}/", href)
    return str(placed(Path(where).parent / href.removeprefix("file://")))


def _document(place: str, rules: FetchRules) -> dict[str, Any]:
    return documents([place], rules)[0]


def _interval(dates: str) -> str:
    start, _, end = dates.partition("/")
    return f"{start}T00:00:00Z/{end or start}T23:59:59Z"


def _within(captured: str | None, dates: str) -> bool:
    start, _, end = dates.partition("/")
    return captured is not None and start <= captured[:10] <= (end or start)


STAC = SourceKind("imagery", open_stac)
