"""Who lets tiles be taken in bulk: what is known of providers' terms, by host.

Metadata of providers (xyzservices) says attribution and zooms, but neither licence nor whether many tiles may be taken
at once. Services are made to be looked at; most forbid the taking of thousands. A host that is not listed is one whose
terms nobody has read for this table.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from chorograph.ground.errors import SettingError


@dataclass(frozen=True)
class Terms:
    """What a provider says: whether its tiles may be taken in bulk, its licence, and where it says so."""

    bulk: bool
    licence: str
    url: str


#: By the end of a host's name. What is permitted was read in the provider's own words or in its published licence.
_TERMS: dict[str, Terms] = {
    "earthdata.nasa.gov": Terms(True, "NASA open data", "https://nasa-gibs.github.io/gibs-api-docs/map-library-usage"),
    "nationalmap.gov": Terms(True, "public domain (US Government)", "https://www.usgs.gov/faqs"),
    "wien.gv.at": Terms(True, "CC-BY-4.0", "https://basemap.at/#lizenz"),
    "tile.openstreetmap.org": Terms(False, "ODbL", "https://operations.osmfoundation.org/policies/tiles/"),
    "arcgisonline.com": Terms(False, "Esri Master Agreement", "https://www.esri.com/legal/terms/full-master-agreement"),
    "google.com": Terms(False, "Google Maps Platform Terms", "https://cloud.google.com/maps-platform/terms"),
    "googleapis.com": Terms(False, "Google Maps Platform Terms", "https://cloud.google.com/maps-platform/terms"),
    "virtualearth.net": Terms(False, "Bing Maps Platform Terms", "https://www.microsoft.com/maps/product/terms"),
    "mapbox.com": Terms(False, "Mapbox Terms of Service", "https://www.mapbox.com/legal/tos"),
    "hereapi.com": Terms(False, "HERE terms", "https://legal.here.com"),
    "maptiler.com": Terms(False, "MapTiler Terms", "https://www.maptiler.com/terms/"),
    "stadiamaps.com": Terms(False, "Stadia Maps Terms", "https://stadiamaps.com/terms-of-service/"),
    "thunderforest.com": Terms(False, "Thunderforest Terms", "https://www.thunderforest.com/terms/"),
    "bdimg.com": Terms(False, "Baidu Maps terms", "https://lbsyun.baidu.com"),
}  # fmt: skip


def terms_of(url: str) -> Terms | None:
    """Return what is known of the terms of a URL's host, None for nothing."""
    host = (urlsplit(url).hostname or "").lower()
    return next((terms for end, terms in _TERMS.items() if host == end or host.endswith(f".{end}")), None)


def check_permission(url: str, permitted: bool) -> None:
    """Raise `SettingError` unless tiles of a URL's host may be taken in bulk, or the user says to have permission.

    A server of one's own network needs nobody's.
    """
    terms = terms_of(url)
    if permitted or (terms is not None and terms.bulk) or _is_own(url):
        return
    host = urlsplit(url).hostname
    said = f"the terms of {host} forbid to take tiles in bulk ({terms.url})" if terms else (
        f"nothing is known of whether {host} lets tiles be taken in bulk"
    )  # fmt: skip
    raise SettingError(f"{said}; read them, ask, and go on with --i-have-permission where you have it")


def check_not_forbidden(url: str, permitted: bool) -> None:
    """Raise `SettingError` where the terms of a URL's host are known to forbid it, unless the user has permission.

    For files that are put on the web to be taken, whose owners need not be known.
    """
    terms = terms_of(url)
    if terms is not None and not terms.bulk:
        check_permission(url, permitted)


def _is_own(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost"
