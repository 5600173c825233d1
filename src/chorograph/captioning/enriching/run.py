"""Captions from the metadata of an area's images, and where in the world its images and captions lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from chorograph.area.images import read_tags
from chorograph.area.tiles import metres_per_pixel
from chorograph.captioning.enriching.meta import Metadata, fill, place_within
from chorograph.captioning.enriching.places import geopolitical, images_by_zone, reverse_geocode, utm_zone
from chorograph.captioning.template import image_classes
from chorograph.ground.errors import ImageError
from chorograph.ground.files import check_regular, naming_damage
from chorograph.ground.stage import Ledger, Progress, silent

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: The origin of captions from metadata.
META = "meta"
#: EXIF 2.3: what holds the position, and the tags in it; when the picture was taken.
_GPS, _LAT_REF, _LAT, _LON_REF, _LON = 0x8825, 1, 2, 3, 4
_EXIF, _TAKEN, _CHANGED = 0x8769, 0x9003, 0x0132
_COUNTRIES_SHOWN = 20


def meta_captions(area: Area, ledger: Ledger, progress: Progress = silent) -> pd.DataFrame:
    """Return a caption of each image of which enough is known, in the columns of `captions`; the others are counted."""
    images = area.images.drop_duplicates("image_id").to_dict("records")
    classes, clouds, locate = _covers(area) | image_classes(area), _clouds(area), locator(area)
    known = []
    for number, image in enumerate(images, start=1):
        one = _metadata(area, image, classes.get(image["image_id"], []), clouds.get(image["image_id"]))
        known.append(replace(one, location=locate(image["region_id"], one.lon, one.lat)))
        progress("reading metadata", number, len(images))
    placed = {row: (one.lon, one.lat) for row, one in enumerate(known) if one.lon is not None and one.lat is not None}
    points = list(placed.values())
    towns = reverse_geocode([lon for lon, _ in points], [lat for _, lat in points]) if points else []
    countries = {row: f"{town.name}, {town.country}" for row, town in zip(placed, towns, strict=True)}
    rows = []
    for row, (image, one) in enumerate(zip(images, known, strict=True)):
        words = one.words() | ({"country": countries[row]} if row in countries else {})
        text = fill(str(image["image_id"]), words)
        if text is None:
            ledger.drop("image of which too little is known")
            continue
        rows.append((f"{image['image_id']}#{META}", image["image_id"], 0, text, META, None))
    ledger.facts["images by country"] = dict(Counter(town.country for town in towns).most_common(_COUNTRIES_SHOWN))
    return pd.DataFrame(rows, columns=["caption_id", "image_id", "rank", "caption", "origin", "score"])


def geo_statistics(area: Area) -> dict[str, Any]:
    """Return images by UTM zone, and how many captions name a country, continent or town, with the names."""
    placed = area.images.drop_duplicates("image_id").dropna(subset=["lon", "lat"])
    zones = images_by_zone(placed["lon"], placed["lat"])
    named = [geopolitical(caption) for caption in area.captions["caption"]]
    names = Counter(name for several in named for name in several)
    return {
        "images with a position": len(placed),
        "images by UTM zone": dict(zones.most_common()),
        "captions that name a place": sum(bool(several) for several in named),
        "places named": dict(names.most_common(_COUNTRIES_SHOWN)),
    }


def _metadata(area: Area, image: Mapping[Hashable, Any], classes: list[str], cloud: float | None) -> Metadata:
    lon, lat, captured = _number(image["lon"]), _number(image["lat"]), _date(image["captured"])
    if (lon is None or captured is None) and isinstance(image["uri"], str):
        (own_lon, own_lat), taken = read_exif(area, image["uri"])
        if lon is None:
            lon, lat = own_lon, own_lat
        captured = captured or taken
    zoom = _number(image["zoom"])
    metres = float(metres_per_pixel(lat, int(zoom))) if zoom is not None and lat is not None else None
    zone = utm_zone(lon, lat) if lon is not None and lat is not None else None
    return Metadata(lon, lat, captured, metres, cloud, tuple(classes), zone=zone)


def read_exif(area: Area, uri: str) -> tuple[tuple[float | None, float | None], datetime | None]:
    """Return position (lon, lat) and time that a camera wrote into an image (EXIF 2.3); None for what it did not."""
    try:
        exif, gps, more = read_tags(area.read_encoded(uri), _GPS, _EXIF)
    except ImageError:
        return (None, None), None
    said = more.get(_TAKEN) or exif.get(_CHANGED)
    taken = None
    with suppress(ValueError, TypeError):
        taken = datetime.strptime(str(said), "%Y:%m:%d %H:%M:%S")  # EXIF knows no zone
    lat, lon = _degrees(gps.get(_LAT), gps.get(_LAT_REF), "S"), _degrees(gps.get(_LON), gps.get(_LON_REF), "W")
    return ((lon, lat) if lon is not None and lat is not None else (None, None)), taken


def _degrees(parts: Any, side: Any, negative: str) -> float | None:
    """Return degrees of (degrees, minutes, seconds) and a letter."""
    with suppress(TypeError, ValueError, ZeroDivisionError):
        degrees, minutes, seconds = (float(part) for part in parts)
        value = degrees + minutes / 60 + seconds / 3600
        return -value if str(side).strip("\0 ").upper() == negative else value
    return None


def locator(area: Area) -> Callable[[Any, float | None, float | None], str | None]:
    """Return what says where a point lies: `north of Ballard`, from its region's id, longitude and latitude.

    Within its region where that has a name and an outline, else within the area: its regions, or its images' points.
    """
    shapes = area.regions.dropna(subset=["name"]) if area.has_regions else pd.DataFrame(columns=["region_id", "name"])
    named: dict[Any, tuple[str, Any]] = {}
    if len(shapes):
        shapes = shapes[shapes.geometry.notna() & ~shapes.geometry.is_empty]
        outlines = shapes.geometry.bounds.itertuples(index=False, name=None)
        named = dict(zip(shapes["region_id"], zip(shapes["name"], outlines, strict=True), strict=True))
    whole = _bounds(area)

    def locate(region_id: Any, lon: float | None, lat: float | None) -> str | None:
        if lon is None or lat is None:
            return None
        for name, bounds in (named.get(region_id, ("", None)), (area.title, whole)):
            if bounds is not None and (place := place_within((lon, lat), bounds)):
                return f"{place} of {name}"
        return None

    return locate


def _bounds(area: Area) -> tuple[float, float, float, float] | None:
    """Return west, south, east, north of the regions, or of more than one image's position; None without any."""
    if area.has_regions:
        held = np.asarray(area.regions.total_bounds, dtype=float)
        if np.isfinite(held).all():
            return (held[0], held[1], held[2], held[3])
    points = area.images[["lon", "lat"]].dropna()
    if points.drop_duplicates().shape[0] < 2:
        return None
    (west, south), (east, north) = points.min(), points.max()
    return (west, south, east, north)


def _covers(area: Area) -> dict[str, list[str]]:
    """Return the kinds of land cover of images, the largest share first."""
    facts = area.read("image_facts")
    covers = facts[(facts["kind"] == "cover") & (facts["value"] > 0)]
    covers = covers.sort_values(["image_id", "value"], ascending=[True, False], kind="stable")
    names = covers["name"].str.replace("_", " ")
    return {str(image_id): own.tolist() for image_id, own in names.groupby(covers["image_id"])}


def _clouds(area: Area) -> dict[str, float]:
    """Return the percentage of cloud by image: what a source saw of it, or what a fact says."""
    found: dict[str, float] = {}
    for path in sorted((area.path / "coverage").glob("*.parquet")):
        with naming_damage(path, "coverage", "run `chorograph add` again"):
            check_regular(path)
            held = pq.read_table(path, columns=["image_id", "cloud"]).to_pandas().dropna()
        found |= dict(zip(held["image_id"], 100 * held["cloud"], strict=True))
    facts = area.read("image_facts")
    clouds = facts[(facts["kind"] == "meta") & (facts["name"] == "cloud_cover_rate")]
    return found | dict(clouds[["image_id", "value"]].itertuples(index=False, name=None))


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _date(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    for form in (value, f"{value}-01", f"{value}-01-01"):
        with suppress(ValueError):
            return datetime.fromisoformat(form)
    return None
