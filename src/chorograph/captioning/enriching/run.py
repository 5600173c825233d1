"""Captions from the metadata of an area's images, and where in the world its images and captions lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from contextlib import suppress
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pandas as pd

from chorograph.area.tiles import metres_per_pixel
from chorograph.captioning.enriching.meta import Metadata, fill
from chorograph.captioning.enriching.places import geopolitical, images_by_zone, reverse_geocode, utm_zone
from chorograph.captioning.template import image_classes
from chorograph.ground.errors import ImageError
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
    classes, clouds = image_classes(area), _clouds(area)
    known = []
    for number, image in enumerate(images, start=1):
        known.append(_metadata(area, image, classes.get(image["image_id"], []), clouds.get(image["image_id"])))
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
    from PIL import Image

    try:
        with Image.open(BytesIO(area.read_encoded(uri))) as image:
            exif = image.getexif()
            gps, more = exif.get_ifd(_GPS), exif.get_ifd(_EXIF)
    except (ImageError, OSError, ValueError, SyntaxError):
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


def _clouds(area: Area) -> dict[str, float]:
    facts = area.read("image_facts")
    clouds = facts[(facts["kind"] == "meta") & (facts["name"] == "cloud_cover_rate")]
    return dict(clouds[["image_id", "value"]].itertuples(index=False, name=None))


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _date(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    for form in (value, f"{value}-01", f"{value}-01-01"):
        with suppress(ValueError):
            return datetime.fromisoformat(form)
    return None
