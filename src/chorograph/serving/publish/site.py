"""An area as a static site: the map and the cards, from any web server or by a double click.

A browser lets a page that was opened from a file read no other file; scripts it runs. So every file of the site is a
script that hands over what it holds, and the modules of the pages and of the map library are such files too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.drafts import atomic_folder
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.files import atomic_path
from chorograph.ground.stage import Progress, silent
from chorograph.serving.api.areas import card_content, jpeg_of, layer_content, survey_content, values_content
from chorograph.serving.catalogue.classes import Method, classify
from chorograph.serving.catalogue.finder import Finder
from chorograph.serving.catalogue.layers import Layer
from chorograph.serving.catalogue.served import ServedArea
from chorograph.serving.pages.rendering import STATIC, map_library, render
from chorograph.serving.publish.files import deepest_zoom, tiles_of

#: Cards in one file; `site.js` counts on it.
CARDS = 50
#: The longer side of a picture, in pixels.
_PICTURE_PX = 320


def write_site(served: ServedArea, folder: Path, pictures: int = 6, progress: Progress = silent) -> list[Path]:
    """Write `index.html` and the folder `site` beside it; returns both.

    `pictures`: of each view, so many pictures a region. Of several runs, the best one is shown. Raises `InputError`
    where the area has no indicator or no polygon to map.
    """
    if served.bounds is None or not served.layers:
        raise InputError(f"{served.area.path} has no polygon or no indicator, so there is no map to publish")
    area = {**served.summary(), "imagery": None, "search": {}, "areas": [], "writable": False}
    area["indicators"] = [{**one, "runs": one["runs"][:1]} for one in area["indicators"]]
    area["maxzoom"] = deepest_zoom(served)
    with atomic_folder(folder / "site") as site:
        _copy_library(site)
        names = {"ids": served.index.tolist(), "names": served.names.tolist()}
        tiles = _write_tiles(served, site, served.bounds, area["maxzoom"], progress)
        _write(site / "data.js", f"window.chorographSite = {_json({'area': area, 'names': names, 'tiles': tiles})};\n")
        for layer in served.layers.values():
            _hand_over(site, f"layers/{layer.key}", _layer(served, layer))
        _write_cards(served, site, pictures, progress)
    page = folder / "index.html"
    with atomic_path(page) as temporary:
        _write(temporary, render("map.html.jinja", area=area, static=True, root="site"))
    return [page, folder / "site"]


def _copy_library(site: Path) -> None:
    """Put our scripts and the map library into the site, each module as text."""
    library = map_library()
    for source in (STATIC / "page.css", STATIC / "site.js", library / "maplibre-gl.css"):
        shutil.copyfile(source, site / source.name)
    for licence in library.glob("LICENSE*"):
        shutil.copyfile(licence, site / licence.name)
    both = {"main": "maplibre-gl.mjs", "worker": "maplibre-gl-worker.mjs"}
    _hand_over(site, "maplibre", {name: _module(library / file) for name, file in both.items()})
    _hand_over(site, "modules", [[name, _module(STATIC / name)] for name in modules_in_order(STATIC)])


def _module(path: Path) -> str:
    """Return a script without the note on where its source map lies, which nobody has."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("//# sourceMappingURL"))


def modules_in_order(folder: Path, first: str = "map.js") -> list[str]:
    """Return the modules that `first` imports, and itself: each after those that it imports."""
    imports: dict[str, set[str]] = {}
    waiting = [first]
    while waiting:
        name = waiting.pop()
        if name not in imports:
            text = (folder / name).read_text(encoding="utf-8")
            imports[name] = set(re.findall(r'from "\./([a-z]+\.js)"', text))
            waiting += imports[name]
    return list(TopologicalSorter(imports).static_order())


def _layer(served: ServedArea, layer: Layer) -> dict[str, Any]:
    run = layer.run()
    contents = {
        f"{measure}.{method}": layer_content(served, layer.key, measure, None, method)
        for measure in layer.measures(run)
        for method in get_args(Method)
    }
    values = base64.b64encode(values_content(served, layer.key, None)).decode()
    return {"contents": contents, "survey": survey_content(served, layer.key, None), "values": values}


def codes_of_layer(layer: Layer) -> dict[str, NDArray[np.uint8]]:
    """Return the class bytes (regions,) of a layer by MEASURE.METHOD, and `u`: unlike any training region."""
    run = layer.run()
    codes = {}
    for measure in layer.measures(run):
        values = layer.values(measure, run)
        for method in get_args(Method):
            codes[f"{measure}.{method}"] = classify(values, method, diverging=measure == "residual").codes(values)
    if run is not None:
        codes["u"] = (~run.supported & np.isfinite(run.predicted)).astype(np.uint8)
    return codes


def _write_tiles(
    served: ServedArea, site: Path, bounds: tuple[float, float, float, float], deepest: int, progress: Progress
) -> list[str]:
    """Write the tiles of every layer; returns the places z/x/y that hold a region."""
    codes = {layer.key: codes_of_layer(layer) for layer in served.layers.values()}
    wanted = list(tiles_of(bounds, deepest))
    held = []
    for number, (z, x, y) in enumerate(wanted, start=1):
        if len(served.ladder.shapes_of(z, x, y).rows):
            held.append(f"{z}/{x}/{y}")
            for key, own in codes.items():
                tile = base64.b64encode(served.ladder.tile(z, x, y, own)).decode()
                _hand_over(site, f"tiles/{key}/{z}/{x}/{y}", tile)
        progress("tiles of the site", number, len(wanted))
    return held


def _write_cards(served: ServedArea, site: Path, pictures: int, progress: Progress) -> None:
    finder = Finder(served)
    number = len(served.regions)
    for start in range(0, number, CARDS):
        cards = {}
        for row in range(start, min(start + CARDS, number)):
            content = _with_pictures(served, site, card_content(served, finder, row), pictures)
            page = render("card.html.jinja", card=content, root="", **_links())
            cards[content["id"]] = {"card": content, "html": page}
        _hand_over(site, f"cards/{start // CARDS}", cards)
        progress("cards", min(start + CARDS, number), number)


def _links() -> dict[str, Any]:
    return {
        "region_href": lambda region_id: f"?region={quote(region_id, safe='')}",
        "map_href": lambda region_id: f"?region={quote(region_id, safe='')}",
        "image_src": lambda url, size=None: url,
    }


def _with_pictures(served: ServedArea, site: Path, card: dict[str, Any], most: int) -> dict[str, Any]:
    """Return a card whose pictures lie in the site, `most` of each view."""
    kept = [one for view in ("satellite", "street") for one in _of_view(card["images"], view)[:most]]
    images = [image for image in kept if _place(served, site, image, image["id"])]
    drivers = [driver for driver in card["drivers"] if _place(served, site, driver, driver["image_id"])]
    return {**card, "images": images, "drivers": drivers}


def _of_view(images: list[dict[str, Any]], view: str) -> list[dict[str, Any]]:
    return [image for image in images if image["view"] == view]


def _place(served: ServedArea, site: Path, picture: dict[str, Any], image_id: str) -> bool:
    """Write a picture into the site and its place into its entry; a damaged one is left out."""
    name = f"images/{hashlib.sha256(image_id.encode()).hexdigest()[:20]}.jpg"
    picture["url"] = f"site/{name}"
    path = site / name
    if path.is_file():
        return True
    try:
        body = jpeg_of(served, image_id, _PICTURE_PX)
    except ImageError:
        return False
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(body)
    return True


def _hand_over(site: Path, path: str, value: Any) -> None:
    _write(site / f"{path}.js", f"chorographSite.take({_json(path)}, {_json(value)});\n")


def _json(value: Any) -> str:
    # ASCII without markup, so that no encoding of a server changes what a script says.
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
