"""OGC API - Features, part 1: every area is a collection, so that QGIS and GDAL open the server as layers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
import shapely
from fastapi import APIRouter, Path, Query, Request
from numpy.typing import NDArray
from starlette.responses import RedirectResponse, Response

from chorograph.ground.arrays import Vector
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.serving.api.answers import GEOJSON, JSON, OPENAPI, as_json, base, link, page, wants_html
from chorograph.serving.catalogue.conditions import rows_in
from chorograph.serving.catalogue.served import Catalogue, ServedArea

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
_FEATURES = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/"
_TILES = "http://www.opengis.net/spec/ogcapi-tiles-1/1.0/conf/"
CONFORMANCE = [
    *(f"{_FEATURES}{name}" for name in ("core", "oas30", "geojson")),
    *(f"{_TILES}{name}" for name in ("core", "tileset", "tilesets-list", "mvt", "geodata-tilesets")),
    "http://www.opengis.net/spec/ogcapi-common-1/1.0/conf/core",
]
MAX_ITEMS = 10_000
_RESERVED = ("limit", "offset", "bbox", "bbox-crs", "datetime", "crs", "f")

CollectionId = Annotated[str, Path(description="the id of an area", examples=["king-county"])]


def columns_of(served: ServedArea) -> dict[str, Vector]:
    """Return the numbers of an area as columns of a table: what was observed and predicted, by indicator."""
    columns: dict[str, Vector] = {}
    for layer in served.layers.values():
        key = layer.key.replace("-", "_")
        columns[f"{key}_observed"] = layer.observed
        if (run := layer.run()) is not None:
            columns[f"{key}_predicted"] = run.predicted
            columns[f"{key}_lower"] = run.lower
            columns[f"{key}_upper"] = run.upper
    return columns


def features_router(catalogue: Catalogue) -> APIRouter:
    """Return the routes of OGC API - Features."""
    router = APIRouter(tags=["OGC API - Features"])

    @router.get("/", summary="Landing page", operation_id="getLandingPage")
    def landing(request: Request) -> Response:
        if not wants_html(request):
            return as_json(_landing(catalogue, base(request)))
        areas = list(catalogue)
        if len(areas) == 1:
            return RedirectResponse(f"/areas/{areas[0].slug}", status_code=303)
        return page("home.html.jinja", areas=[area.summary() for area in areas])

    @router.get("/index.json", summary="Landing page as JSON", operation_id="getIndex")
    def index(request: Request) -> Response:
        return as_json(_landing(catalogue, base(request)))

    @router.get("/conformance", summary="What standards hold", operation_id="getConformance")
    def conformance() -> Response:
        return as_json({"conformsTo": CONFORMANCE})

    @router.get("/collections", summary="The areas", operation_id="getCollections")
    def collections(request: Request) -> Response:
        root = base(request)
        described = [_collection(served, root) for served in catalogue]
        return as_json({"links": [link("self", f"{root}/collections")], "collections": described})

    @router.get("/collections/{collection}", summary="An area", operation_id="getCollection")
    def collection_(collection: CollectionId, request: Request) -> Response:
        return as_json(_collection(catalogue[collection], base(request)))

    @router.get(
        "/collections/{collection}/queryables", summary="What items can be asked by", operation_id="getQueryables"
    )
    def queryables(collection: CollectionId, request: Request) -> Response:
        return as_json(_queryables(catalogue[collection], base(request)), "application/schema+json")

    @router.get("/collections/{collection}/items", summary="Regions as GeoJSON", operation_id="getItems")
    def items(
        collection: CollectionId,
        request: Request,
        bbox: Annotated[
            str | None, Query(description="west,south,east,north in CRS84", examples=["-10,40,10,60"])
        ] = None,
        limit: Annotated[int, Query(ge=1, description=f"regions a page; at most {MAX_ITEMS:,} are given")] = 1000,
        offset: Annotated[int, Query(ge=0, le=2**53, description="regions left out before the first")] = 0,
        datetime: Annotated[str | None, Query(description="accepted; regions have no time", max_length=100)] = None,
    ) -> Response:
        served = catalogue[collection]
        others = {name: value for name, value in request.query_params.items() if name not in _RESERVED}
        rows = _matching(served, bbox, others)
        if request.query_params.get("crs", CRS84) != CRS84 or request.query_params.get("bbox-crs", CRS84) != CRS84:
            raise InputError(f"coordinates are given in {CRS84} only")
        return as_json(_page_of_items(served, rows, min(limit, MAX_ITEMS), offset, request), GEOJSON)

    @router.get("/collections/{collection}/items/{region_id:path}", summary="One region", operation_id="getItem")
    def item(collection: CollectionId, region_id: str, request: Request) -> Response:
        served = catalogue[collection]
        row = served.row(region_id)
        feature = _features(served, [row])[0]
        address = f"{base(request)}/collections/{served.slug}"
        feature["links"] = [link("self", str(request.url), GEOJSON), link("collection", address)]
        return as_json(feature, GEOJSON)

    return router


def _landing(catalogue: Catalogue, root: str) -> dict[str, Any]:
    return {
        "title": "chorograph",
        "description": "; ".join(served.area.title for served in catalogue),
        "links": [
            link("self", f"{root}/"),
            link("service-desc", f"{root}/api", OPENAPI),
            link("conformance", f"{root}/conformance"),
            link("data", f"{root}/collections"),
            link("http://www.opengis.net/def/rel/ogc/1.0/tiling-schemes", f"{root}/tileMatrixSets"),
            *(link("alternate", f"{root}/areas/{a.slug}", "text/html", a.area.title) for a in catalogue),
        ],
        "areas": [served.slug for served in catalogue],
    }


def _collection(served: ServedArea, root: str) -> dict[str, Any]:
    address = f"{root}/collections/{served.slug}"
    described: dict[str, Any] = {
        "id": served.slug,
        "title": served.area.title,
        "description": f"{len(served.regions):,} regions; observed and predicted indicators, with intervals",
        "itemType": "feature",
        "crs": [CRS84],
        "storageCrs": CRS84,
        "attribution": "; ".join(source.attribution or source.name for source in served.area.sources),
        "links": [
            link("self", address),
            link("items", f"{address}/items", GEOJSON),
            link("queryables", f"{address}/queryables", "application/schema+json"),
            link("http://www.opengis.net/def/rel/ogc/1.0/tilesets-vector", f"{address}/tiles"),
            link("alternate", f"{root}/areas/{served.slug}", "text/html"),
        ],
    }
    if served.bounds is not None:
        described["extent"] = {"spatial": {"bbox": [list(served.bounds)], "crs": CRS84}}
    return described


def _queryables(served: ServedArea, root: str) -> dict[str, Any]:
    texts = {name: {"type": "string"} for name in ("region_id", "name", "group")}
    numbers = {
        f"{layer.key.replace('-', '_')}_{part}": {"type": "number", "title": f"{layer.title}, {part}"}
        for layer in served.layers.values()
        for part in ("observed", "predicted", "lower", "upper")
        if part == "observed" or layer.runs
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{root}/collections/{served.slug}/queryables",
        "type": "object",
        "title": served.area.title,
        "properties": {**texts, **numbers, "geometry": {"$ref": "https://geojson.org/schema/Geometry.json"}},
        "additionalProperties": False,
    }


def _matching(served: ServedArea, bbox: str | None, filters: Mapping[str, str]) -> NDArray[np.int64]:
    rows = np.arange(len(served.regions)) if bbox is None else rows_in(served, bbox)
    numbers = columns_of(served)
    for name, value in filters.items():
        if name in ("region_id", "name", "group"):
            kept = served.regions[name].iloc[rows].astype(object) == value
            rows = rows[kept.to_numpy(dtype=bool, na_value=False)]
        elif name in numbers:
            rows = rows[numbers[name][rows] == _number(name, value)]
        else:
            raise InputError(str(UnknownNameError.of("parameter", name, ["region_id", "name", "group", *numbers])))
    return rows


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InputError(f"{name} is a number, not {value[:100]!r}") from None


def _page_of_items(
    served: ServedArea, rows: NDArray[np.int64], limit: int, offset: int, request: Request
) -> dict[str, Any]:
    shown = rows[offset : offset + limit]
    links = [link("self", str(request.url), GEOJSON)]
    if offset + limit < len(rows):
        following = request.url.include_query_params(offset=offset + limit, limit=limit)
        links.append(link("next", str(following), GEOJSON))
    if offset > 0:
        before = request.url.include_query_params(offset=max(0, offset - limit), limit=limit)
        links.append(link("prev", str(before), GEOJSON))
    links.append(link("collection", f"{base(request)}/collections/{served.slug}", JSON))
    return {
        "type": "FeatureCollection",
        "features": _features(served, shown.tolist()),
        "links": links,
        "numberMatched": len(rows),
        "numberReturned": len(shown),
    }


def _features(served: ServedArea, rows: Sequence[int]) -> list[dict[str, Any]]:
    columns = {name: values[list(rows)].tolist() for name, values in columns_of(served).items()}
    texts = served.regions.iloc[list(rows)]
    shapes = shapely.to_geojson(served.shapes[list(rows)])
    features = []
    for place, (region_id, name, group) in enumerate(
        zip(texts["region_id"], texts["name"], texts["group"], strict=True)
    ):
        properties: dict[str, Any] = {
            "region_id": str(region_id),
            "name": None if pd.isna(name) else str(name),
            "group": None if pd.isna(group) else str(group),
        }
        for column, values in columns.items():
            properties[column] = values[place] if math.isfinite(values[place]) else None
        geometry = None if shapes[place] is None else json.loads(shapes[place])
        features.append({"type": "Feature", "id": str(region_id), "geometry": geometry, "properties": properties})
    return features
