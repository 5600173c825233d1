"""What the pages are made of: areas, layers, the card of a region, pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Path, Query
from PIL import Image
from starlette.responses import RedirectResponse, Response

from chorograph.area.images import open_image
from chorograph.ground.errors import ImageError, InputError, UnknownNameError
from chorograph.serving.api.answers import as_json, page
from chorograph.serving.api.tiles import classes_of
from chorograph.serving.catalogue.cards import card, named, number, quantity_of, region_url
from chorograph.serving.catalogue.classes import Method
from chorograph.serving.catalogue.finder import Finder
from chorograph.serving.catalogue.layers import Measure
from chorograph.serving.catalogue.served import Catalogue, ServedArea, layer_summary
from chorograph.serving.catalogue.survey import survey_next

AreaId = Annotated[str, Path(description="the id of an area", examples=["king-county"])]
_NO_STORE = {"Cache-Control": "no-cache"}
#: Pictures larger than this are sent smaller: a page shows them at a few hundred pixels.
MAX_SIDE = 1024
#: Map tiles above the images' own zoom are put together from at most so many levels.
_LEVELS_UP = 3


def areas_router(catalogue: Catalogue, finders: dict[str, Finder], *, writable: bool) -> APIRouter:
    """Return the routes of areas and regions, as pages and as JSON."""
    router = APIRouter(tags=["Areas"])

    def described(served: ServedArea) -> dict[str, Any]:
        summary = served.summary()
        summary["imagery"] = _imagery(served)
        summary["search"] = finders[served.slug].can()
        summary["captions"] = served.area.has("captions")
        summary["areas"] = [{"id": other.slug, "title": other.area.title} for other in catalogue]
        summary["writable"] = writable
        return summary

    @router.get("/areas/{area}.json", summary="An area", operation_id="getArea")
    def area_json(area: AreaId) -> Response:
        return as_json(described(catalogue[area]))

    @router.get("/areas/{area}", summary="The map of an area", operation_id="getMap", include_in_schema=False)
    def area_page(area: AreaId) -> Response:
        if catalogue[area].regions.empty:
            return RedirectResponse(f"/areas/{area}/rate", status_code=303)
        return page("map.html.jinja", area=described(catalogue[area]), static=False)

    @router.get("/areas/{area}/names.json", summary="Ids and names of all regions", operation_id="getNames")
    def names(area: AreaId) -> Response:
        served = catalogue[area]
        return as_json({"ids": served.index.tolist(), "names": served.names.tolist()})

    @router.get("/areas/{area}/layers/{key}.json", summary="An indicator and its classes", operation_id="getLayer")
    def layer_json(
        area: AreaId, key: str, measure: Measure = "observed", run: str | None = None, method: Method = "quantile"
    ) -> Response:
        return as_json(layer_content(catalogue[area], key, measure, run, method))

    @router.get(
        "/areas/{area}/layers/{key}/values",
        summary="The numbers of an indicator",
        description="Little-endian float32, in the order of names.json: observed, predicted, lower, upper, residual, "
        "supported (0 or 1); NaN where there is none.",
        operation_id="getValues",
        responses={200: {"content": {"application/octet-stream": {}}}},
        response_class=Response,
    )
    def values(area: AreaId, key: str, run: str | None = None) -> Response:
        return Response(values_content(catalogue[area], key, run), media_type="application/octet-stream")

    @router.get("/areas/{area}/survey/{key}.json", summary="Where to survey next", operation_id="getSurvey")
    def survey(area: AreaId, key: str, run: str | None = None) -> Response:
        return as_json(survey_content(catalogue[area], key, run))

    @router.get("/areas/{area}/at", summary="The region at a place", operation_id="getRegionAt")
    def at(
        area: AreaId,
        lon: Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False)],
        lat: Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False)],
    ) -> Response:
        import shapely

        served = catalogue[area]
        rows = served.tree.query(shapely.Point(lon, lat), predicate="intersects")
        return as_json({"regions": named(served, np.sort(rows).tolist())})

    @router.get("/areas/{area}/regions/{region_id:path}", summary="A region's card", operation_id="getRegion")
    def region(area: AreaId, region_id: str, fragment: bool = False) -> Response:
        """Give the card as a page; as JSON where `.json` stands behind the id; its inside alone with `fragment`."""
        served = catalogue[area]
        name = region_id
        if region_id not in served.index and region_id.endswith(".json"):
            name = region_id.removesuffix(".json")
        content = card_content(served, finders[area], served.row(name))
        if name != region_id:
            return as_json(content)
        template = "card.html.jinja" if fragment else "region.html.jinja"
        return page(template, card=content, area=served.summary(), root="", **links(served))

    @router.get(
        "/areas/{area}/images/{image_id:path}",
        summary="A picture",
        operation_id="getImage",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    def image(area: AreaId, image_id: str, size: Annotated[int, Query(ge=16, le=MAX_SIDE)] = MAX_SIDE) -> Response:
        return _picture(jpeg_of(catalogue[area], image_id, size))

    @router.get(
        "/areas/{area}/imagery/{z}/{x}/{y}",
        summary="The area's own imagery as a map tile",
        operation_id="getImagery",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    def imagery(
        area: AreaId,
        z: Annotated[int, Path(ge=0, le=24)],
        x: Annotated[int, Path(ge=0, lt=2**24)],
        y: Annotated[int, Path(ge=0, lt=2**24)],
    ) -> Response:
        body = _imagery_tile(catalogue[area], z, x, y)
        return Response(status_code=204) if body is None else _picture(body)

    return router


def links(served: ServedArea) -> dict[str, Any]:
    """Return how a served card's links are made."""
    return {
        "region_href": lambda region_id: region_url(served, region_id),
        "map_href": lambda region_id: f"/areas/{served.slug}?region={quote(region_id, safe='')}",
        "image_src": lambda url, size=None: url if size is None else f"{url}?size={size}",
    }


def layer_content(served: ServedArea, key: str, measure: Measure, run: str | None, method: Method) -> dict[str, Any]:
    """Return a layer with the classes of a measure, ready for JSON."""
    layer = served.layer(key)
    used = layer.run(run)
    classes, _ = classes_of(served, key, measure, run, method)
    quantity = quantity_of(layer, used)
    return {
        **layer_summary(layer),
        "measure": measure,
        "run": None if used is None else used.run,
        "level": None if used is None else used.level,
        "classes": classes.as_dict(),
        "decimals": max(quantity.decimals, 0),
        "texts": [quantity.number(float(edge)) for edge in classes.edges],
        "short_unit": quantity.unit,
        "unsupported": 0 if used is None else int((~used.supported & np.isfinite(used.predicted)).sum()),
    }


def values_content(served: ServedArea, key: str, run: str | None) -> bytes:
    """Return the numbers of a layer, one row a measure, as little-endian float32."""
    layer = served.layer(key)
    used = layer.run(run)
    empty = np.full(len(served.regions), np.nan)
    if used is None:
        rows = [layer.observed, empty, empty, empty, empty, empty]
    else:
        residual = layer.values("residual", used)
        rows = [layer.observed, used.predicted, used.lower, used.upper, residual, used.supported]
    return np.stack(rows).astype("<f4").tobytes()


def survey_content(served: ServedArea, key: str, run: str | None) -> dict[str, Any]:
    """Return where to survey next for a layer."""
    layer = served.layer(key)
    used = layer.run(run)
    found = [] if used is None else survey_next(served, layer, used)
    return {"indicator": key, "run": None if used is None else used.run, "regions": found}


def card_content(served: ServedArea, finder: Finder, row: int) -> dict[str, Any]:
    """Return the card of a region with the regions that look like it."""
    content = card(served, row)
    try:
        similar = finder.by_region(content["id"], 6).hits
    except InputError:
        similar = []
    rows = [served.row(hit.region_id) for hit in similar]
    scores = [number(hit.score) for hit in similar]
    content["similar"] = [{**region, "score": score} for region, score in zip(named(served, rows), scores, strict=True)]
    return content


def jpeg_of(served: ServedArea, image_id: str, size: int) -> bytes:
    """Return an image as a JPEG of at most `size` px a side.

    Whatever lies in the area's folder, only pixels that the safe opener decoded leave it.
    """
    if image_id not in served.image_row:
        raise UnknownNameError(f"there is no image named {image_id[:200]!r} in {served.area.title}")
    uri = served.images["uri"].iloc[served.image_row[image_id]]
    return to_jpeg(open_image(served.area.read_encoded(str(uri))), size)


def to_jpeg(image: Image.Image, size: int) -> bytes:
    """Return an image as JPEG bytes, at most `size` px a side."""
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _picture(body: bytes) -> Response:
    return Response(body, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


def _imagery(served: ServedArea) -> dict[str, int] | None:
    """Return the zooms at which the area's own imagery can be shown; None where its images are no map tiles."""
    tiles = served.map_tiles
    if not tiles:
        return None
    zoom = max(z for z, _, _ in tiles)
    return {"minzoom": max(0, zoom - _LEVELS_UP), "maxzoom": zoom}


def _imagery_tile(served: ServedArea, z: int, x: int, y: int) -> bytes | None:
    """Return a map tile of 256 px: an image, or one put together from those of deeper zooms; None where none is."""
    tiles = served.map_tiles
    if not tiles:
        return None
    image = _compose(served, tiles, z, x, y, max(zoom for zoom, _, _ in tiles) - z)
    return None if image is None else to_jpeg(image, 256)


def _compose(
    served: ServedArea, tiles: Mapping[tuple[int, int, int], str], z: int, x: int, y: int, levels: int
) -> Image.Image | None:
    if (z, x, y) in tiles:
        try:
            return open_image(served.area.read_encoded(tiles[z, x, y])).resize((256, 256))
        except ImageError:
            return None
    if not 0 < levels <= _LEVELS_UP:
        return None
    quarters = {
        (i, j): _compose(served, tiles, z + 1, 2 * x + i, 2 * y + j, levels - 1) for i in (0, 1) for j in (0, 1)
    }
    if not any(quarters.values()):
        return None
    whole = Image.new("RGB", (256, 256), (232, 232, 228))
    for (i, j), quarter in quarters.items():
        if quarter is not None:
            whole.paste(quarter.resize((128, 128), Image.Resampling.BOX), (128 * i, 128 * j))
    return whole
