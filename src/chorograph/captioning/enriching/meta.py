"""Captions from metadata: class, country, season, UTM zone, ground sample distance, date, cloud, relative location.

RS5M's tool fills 359 templates in eight sets. The numbers of templates are its own; the words are ours: each set is
made of openings, middles and ends, in an order that is fixed, and one template is drawn for an image by its id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import product

_PLACE = re.compile(r"\{(\w+)\}")
#: The number of templates of each set, as published.
COUNTS = {
    "place_class": 100, "full": 50, "land_cover": 49, "class": 50, "country": 20, "time": 20, "country_time": 20,
    "season": 50,
}  # fmt: skip
_OPENINGS = (
    "seen from above", "a satellite image", "an aerial picture", "an overhead view", "taken from the sky",
    "a remote sensing image", "a scene from space", "a bird's-eye view", "an image from orbit", "a view from overhead",
)  # fmt: skip
#: What each set says after its opening; every template of a set fills the same placeholders.
_BODIES: dict[str, tuple[str, ...]] = {
    "place_class": (
        "of {class_label} in {country}, at the {relative_location}, {month_year}",
        "showing {class_label} at the {relative_location}; {country}, {month_year}",
        "from {month_year}: {class_label} in the {relative_location}, somewhere in {country}",
        "with {class_label} in the {relative_location}, made in {country} in {month_year}",
        "where {class_label} fills the {relative_location}, in {country} during {month_year}",
        "that has {class_label} in the {relative_location}, dated {month_year}, {country}",
        "of {country} in {month_year}, with {class_label} at the {relative_location}",
        "where the {relative_location} is {class_label}, {country}, {month_year}",
        "in {country} of {month_year} with {class_label} over the {relative_location}",
        "about {class_label}, found in the {relative_location}, {country}, {month_year}",
    ),
    "full": (
        "of {class_label} in {country}, {season}, at the {relative_location}, {ground_sample_distance} m a pixel, "
        "utm zone {utm_zone}, {timestamp}, {cloud_cover_rate} % cloud",
        "in {season} with {class_label} at the {relative_location}; {country}, utm zone {utm_zone}, {timestamp}, "
        "{ground_sample_distance} m a pixel, {cloud_cover_rate} % under cloud",
        "taken {timestamp} over {country} (utm zone {utm_zone}) in {season}: {class_label} in the {relative_location}, "
        "pixels of {ground_sample_distance} m, cloud {cloud_cover_rate} %",
        "with pixels of {ground_sample_distance} m and {cloud_cover_rate} % cloud, {class_label} at the "
        "{relative_location}, {country}, utm zone {utm_zone}, {season}, {timestamp}",
        "of utm zone {utm_zone} in {country}, {season}, {timestamp}; {class_label} fills the {relative_location}, "
        "{ground_sample_distance} m a pixel, {cloud_cover_rate} % clouded",
    ),
    "land_cover": (
        "of {class_labels} in {season}, utm zone {utm_zone}, {timestamp}",
        "in {season}, {timestamp}, utm zone {utm_zone}, that shows {class_labels}",
        "from utm zone {utm_zone}: {class_labels}, {season}, {timestamp}",
        "with {class_labels}, made {timestamp} in {season}, utm zone {utm_zone}",
        "dated {timestamp}, {season}, with {class_labels} in utm zone {utm_zone}",
    ),
    "class": (
        "of {class_label}", "showing {class_label}", "with {class_label} in it", "that is about {class_label}",
        "in which one sees {class_label}",
    ),
    "country": ("from {country}", "taken in {country}"),
    "time": ("made in {season}, {timestamp}", "of {season}, at {timestamp}"),
    "country_time": ("from {country} in {season}, {timestamp}", "taken {timestamp}, in {season}, in {country}"),
    "season": (
        "made in {season}, {timestamp}", "of {season}, at {timestamp}", "dated {timestamp}, which is {season}",
        "that was taken {timestamp} in {season}", "in {season} light, {timestamp}",
    ),
}  # fmt: skip
#: The sets in the order in which they are tried: the first that all is known for.
_ORDER = ("full", "place_class", "land_cover", "country_time", "time", "country", "class")
_SEASONS = ("winter", "winter", "spring", "spring", "spring", "summer", "summer", "summer", "autumn", "autumn",
            "autumn", "winter")  # fmt: skip
_OPPOSITE = {"winter": "summer", "summer": "winter", "spring": "autumn", "autumn": "spring"}
_CELLS = tuple(f"{row}-{column}" for row in ("top", "center", "bottom") for column in ("left", "center", "right"))


@cache
def templates(name: str) -> tuple[str, ...]:
    """Return the templates of a set, as many as were published, all different."""
    pairs = product(_OPENINGS, _BODIES[name])
    return tuple(f"{opening} {body}" for opening, body in pairs)[: COUNTS[name]]


def fill(image_id: str, known: Mapping[str, str]) -> str | None:
    """Return a caption from what is known of an image, lower case; None where no set of templates can be filled.

    The template is drawn by the image's id: the same image always gets the same one.
    """
    for name in _ORDER:
        chosen = templates(name)
        if all(known.get(place) for place in _PLACE.findall(chosen[0])):
            drawn = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:4]) % len(chosen)
            return _PLACE.sub(lambda match: known[match[1]], chosen[drawn]).lower()
    return None


def season(month: int, lat: float) -> str:
    """Return the season of a month (1 to 12) on the hemisphere of a latitude; RS5M's tool knows the northern alone."""
    northern = _SEASONS[month - 1]
    return northern if lat >= 0 else _OPPOSITE[northern]


def timestamp(at: datetime) -> str:
    """Return a time as `9 o'clock, september 14, 2017`, in UTC as it is given."""
    return f"{at.hour} o'clock, {at:%B} {at.day}, {at.year}".lower()


def relative_location(width: float, height: float, box: tuple[float, float, float, float]) -> str:
    """Return where a box (left, top, width, height) lies in an image: the two of nine cells that it covers most.

    Ties go to the cell that is read first, the middle one before all; a cell that it does not touch is not named.
    """
    left, top, wide, high = box
    shares = []
    for number, name in enumerate(_CELLS):
        row, column = divmod(number, 3)
        across = min(left + wide, (column + 1) * width / 3) - max(left, column * width / 3)
        down = min(top + high, (row + 1) * height / 3) - max(top, row * height / 3)
        shares.append((-max(0.0, across) * max(0.0, down), number, name))
    best = [name for share, _, name in sorted(shares)[:2] if share < 0]
    return (
        f"{' and '.join('center' if name == 'center-center' else name for name in best)} block{'s' * (len(best) > 1)}"
    )


def place_within(point: tuple[float, float], bounds: tuple[float, float, float, float]) -> str:
    """Return where a point (lon, lat) lies in bounds (west, south, east, north): `north`, `south-west`, `middle`.

    The bounds are cut into three by three; a side without length counts as its middle. A point outside has no place.
    """
    west, south, east, north = bounds
    lon, lat = point
    if not (west <= lon <= east and south <= lat <= north):
        return ""
    across, up = _third(lon, west, east), _third(lat, south, north)
    words = [("south", "", "north")[up], ("west", "", "east")[across]]
    return "-".join(word for word in words if word) or "middle"


def _third(value: float, low: float, high: float) -> int:
    return 1 if high <= low else min(int(3 * (value - low) / (high - low)), 2)


@dataclass(frozen=True)
class Metadata:
    """What is known of how an image was taken; None where nobody knows."""

    lon: float | None = None
    lat: float | None = None
    captured: datetime | None = None
    metres: float | None = None
    cloud: float | None = None
    classes: tuple[str, ...] = ()
    country: str | None = None
    zone: str | None = None
    location: str | None = None

    def words(self) -> dict[str, str]:
        """Return what templates are filled with."""
        found = {
            "class_label": self.classes[0] if self.classes else "",
            "class_labels": ", ".join(self.classes),
            "country": self.country or "",
            "utm_zone": self.zone or "",
            "relative_location": self.location or "",
        }
        if self.captured is not None:
            found["timestamp"] = timestamp(self.captured)
            found["month_year"] = f"{self.captured:%B %Y}"
            if self.lat is not None:
                found["season"] = season(self.captured.month, self.lat)
        if self.metres is not None:
            found["ground_sample_distance"] = f"{self.metres:.2f}"
        if self.cloud is not None:
            found["cloud_cover_rate"] = f"{self.cloud:.0f}"
        return {name: value for name, value in found.items() if value}
