"""What a WMTS says of a layer, as a template of tiles (OGC 07-057r7): its Web Mercator pyramid, and no other."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from chorograph.acquisition.sources.secrets import with_secrets
from chorograph.ground.errors import InputError, SettingError, UnknownNameError

if TYPE_CHECKING:
    from chorograph.ground.fetching.fetcher import FetchRules

_OWS, _WMTS = "{http://www.opengis.net/ows/1.1}", "{http://www.opengis.net/wmts/1.0}"
_LINK = "{http://www.w3.org/1999/xlink}href"
#: The scale denominator of the one tile of Web Mercator's zoom 0.
_SCALE_0 = 559082264.0287178
_MERCATOR = re.compile(r"(3857|900913|102100)$")


@dataclass(frozen=True)
class Layer:
    """A layer: the template of its tiles, its title, its first and last zoom."""

    template: str
    title: str
    zooms: tuple[int, int]


def read_capabilities(address: str, rules: FetchRules) -> Layer:
    """Return the layer that `URL#LAYER` names.

    Raises `InputError` where the document cannot be had or has no Web Mercator tiles, `UnknownNameError` for a layer
    that it has not.
    """
    from chorograph.ground.fetching.fetcher import fetch

    url, _, name = address.partition("#")
    if not name:
        raise SettingError(f"name the layer: wmts:{url}#LAYER, or give a template with {{TileMatrix}}")
    (found,) = fetch([with_secrets(url)], rules)
    if found.reason is not None:
        raise InputError(f"{url} could not be had: {found.reason}")
    return layer_of(found.data, name, url)


def layer_of(document: bytes, name: str, where: str) -> Layer:
    """Return a layer of a capabilities document; see `read_capabilities`."""
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        root = fromstring(document)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise InputError(f"{where} is no capabilities document of a WMTS: {error}") from error
    layers = {_text(layer, f"{_OWS}Identifier"): layer for layer in root.iter(f"{_WMTS}Layer")}
    if name not in layers:
        raise UnknownNameError.of(f"layer of {where}", name, layers)
    layer = layers[name]
    linked = [_text(link, f"{_WMTS}TileMatrixSet") for link in layer.iter(f"{_WMTS}TileMatrixSetLink")]
    for matrices in root.iterfind(f"{_WMTS}Contents/{_WMTS}TileMatrixSet"):
        identifier = _text(matrices, f"{_OWS}Identifier")
        if identifier in linked and (pyramid := _pyramid(matrices)) is not None:
            prefix, zooms = pyramid
            said = {"tilematrixset": identifier, "style": _style(layer), "layer": name, "tilematrix": f"{prefix}{{z}}"}
            for dimension in layer.iter(f"{_WMTS}Dimension"):
                said[_text(dimension, f"{_OWS}Identifier").lower()] = _text(dimension, f"{_WMTS}Default")
            filled = _filled(_template(root, layer, name, where), said)
            return Layer(filled, _text(layer, f"{_OWS}Title") or name, zooms)
    raise InputError(
        f"{where}: layer {name!r} has no tiles in Web Mercator (EPSG:3857) that are numbered by zoom; its sets are "
        f"{', '.join(linked)}"
    )


def _filled(template: str, said: Mapping[str, str]) -> str:
    """Return a template with what is said in its fields, which are named in any case."""
    return re.sub(r"\{(\w+)\}", lambda match: said.get(match[1].lower(), match[0]), template)


def _template(root: Any, layer: Any, name: str, where: str) -> str:
    """Return the template of a layer's tiles: the one it gives, or the parameters of a request."""
    given = [link for link in layer.iter(f"{_WMTS}ResourceURL") if link.get("resourceType") == "tile"]
    if given:
        images = [link for link in given if "jpeg" in link.get("format", "") or "png" in link.get("format", "")]
        return str((images or given)[0].get("template"))
    for operation in root.iter(f"{_OWS}Operation"):
        if operation.get("name") == "GetTile" and (get := next(operation.iter(f"{_OWS}Get"), None)) is not None:
            said = {"SERVICE": "WMTS", "REQUEST": "GetTile", "VERSION": "1.0.0", "LAYER": name}
            said |= {"STYLE": _style(layer), "FORMAT": _text(layer, f"{_WMTS}Format") or "image/png"}
            numbers = "TILEMATRIXSET={TileMatrixSet}&TILEMATRIX={TileMatrix}&TILEROW={TileRow}&TILECOL={TileCol}"
            return f"{str(get.get(_LINK)).rstrip('?&')}?{urlencode(said)}&{numbers}"
    raise InputError(f"{where} says no address of the tiles of {name!r}")


def _pyramid(matrices: Any) -> tuple[str, tuple[int, int]] | None:
    """Return what stands before the zoom in names of levels, and (first, last) zoom; None for another pyramid."""
    if not _MERCATOR.search(_text(matrices, f"{_OWS}SupportedCRS")):
        return None
    prefixes, zooms = set(), []
    for matrix in matrices.iter(f"{_WMTS}TileMatrix"):
        zoom = round(math.log2(_SCALE_0 / float(_text(matrix, f"{_WMTS}ScaleDenominator"))))
        identifier = _text(matrix, f"{_OWS}Identifier")
        corner = [abs(float(edge)) for edge in _text(matrix, f"{_WMTS}TopLeftCorner").split()]
        whole = all(abs(edge - math.pi * 6378137) < 1.0 for edge in corner)
        if not whole or not identifier.endswith(str(zoom)) or _text(matrix, f"{_WMTS}TileWidth") != "256":
            return None
        prefixes.add(identifier.removesuffix(str(zoom)))
        zooms.append(zoom)
    return (prefixes.pop(), (min(zooms), max(zooms))) if len(prefixes) == 1 else None


def _style(layer: Any) -> str:
    styles = list(layer.iter(f"{_WMTS}Style"))
    chosen = next((style for style in styles if style.get("isDefault") == "true"), styles[0] if styles else None)
    return "default" if chosen is None else _text(chosen, f"{_OWS}Identifier")


def _text(element: Any, path: str) -> str:
    return (element.findtext(path) or "").strip()
