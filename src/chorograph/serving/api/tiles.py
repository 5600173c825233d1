"""OGC API - Tiles: the regions as vector tiles, each with the class of its value when a layer is named."""

from __future__ import annotations

import gzip
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query, Request
from numpy.typing import NDArray
from starlette.responses import Response

from chorograph.ground.errors import UnknownNameError
from chorograph.serving.api.answers import JSON, TILE, as_json, base, link
from chorograph.serving.api.features import CRS84, CollectionId
from chorograph.serving.catalogue.classes import Classes, Method, classify
from chorograph.serving.catalogue.layers import Measure
from chorograph.serving.catalogue.served import Catalogue, ServedArea
from chorograph.serving.tiles.encode import HALF_WORLD, LAYER
from chorograph.serving.tiles.ladder import MAX_ZOOM

MATRIX_SET = "WebMercatorQuad"
_SET_URI = "http://www.opengis.net/def/tilematrixset/OGC/1.0/WebMercatorQuad"
#: The scale of a pixel of 0.28 mm at zoom 0, as the standard has it.
_SCALE_0 = 559082264.028717
_DEEPEST = 24

SetId = Annotated[Literal["WebMercatorQuad"], Path(description="the only tile matrix set")]


def classes_of(
    served: ServedArea, key: str, measure: Measure, run: str | None, method: Method
) -> tuple[Classes, NDArray[np.float64]]:
    """Return the classes of a layer's measure, and its values (n,)."""
    layer = served.layer(key)
    values = layer.values(measure, layer.run(run))
    return classify(values, method, diverging=measure == "residual"), values


def tiles_router(catalogue: Catalogue) -> APIRouter:
    """Return the routes of OGC API - Tiles."""
    router = APIRouter(tags=["OGC API - Tiles"])

    @router.get("/tileMatrixSets", summary="Tile matrix sets", operation_id="getTileMatrixSetsList")
    def sets(request: Request) -> Response:
        address = f"{base(request)}/tileMatrixSets/{MATRIX_SET}"
        return as_json({"tileMatrixSets": [{"id": MATRIX_SET, "uri": _SET_URI, "links": [link("self", address)]}]})

    @router.get("/tileMatrixSets/{set_id}", summary="A tile matrix set", operation_id="getTileMatrixSet")
    def set_(set_id: SetId) -> Response:
        return as_json(_matrix_set())

    @router.get("/collections/{collection}/tiles", summary="Tile sets of an area", operation_id="getTileSetsList")
    def tile_sets(collection: CollectionId, request: Request) -> Response:
        return as_json({"tilesets": [_tile_set(catalogue[collection], base(request))]})

    @router.get("/collections/{collection}/tiles/{set_id}", summary="A tile set", operation_id="getTileSet")
    def tile_set(collection: CollectionId, set_id: SetId, request: Request) -> Response:
        return as_json(_tile_set(catalogue[collection], base(request)))

    @router.get(
        "/collections/{collection}/tiles/{set_id}/{z}/{row}/{column}",
        summary="A vector tile",
        operation_id="getTile",
        response_class=Response,
        responses={200: {"content": {TILE: {"schema": {"type": "string", "format": "binary"}}}}},
    )
    def tile(
        collection: CollectionId,
        set_id: SetId,
        z: Annotated[int, Path(ge=0, le=_DEEPEST)],
        row: Annotated[int, Path(ge=0, lt=2**_DEEPEST)],
        column: Annotated[int, Path(ge=0, lt=2**_DEEPEST)],
        layer: Annotated[str | None, Query(description="an indicator: features get its class as property v")] = None,
        measure: Measure = "observed",
        run: str | None = None,
        method: Method = "quantile",
    ) -> Response:
        served = catalogue[collection]
        if row >= 2**z or column >= 2**z:
            raise UnknownNameError(f"zoom {z} has tiles 0 to {2**z - 1}, not {row}/{column}")
        codes = {}
        if layer is not None:
            classes, values = classes_of(served, layer, measure, run, method)
            codes["v"] = classes.codes(values)
            if (used := served.layer(layer).run(run)) is not None and measure != "observed":
                codes["u"] = (~used.supported & np.isfinite(used.predicted)).astype(np.uint8)
        body = gzip.compress(served.ladder.tile(z, column, row, codes), 4)
        return Response(body, media_type=TILE, headers={"Content-Encoding": "gzip", "Cache-Control": "no-cache"})

    return router


def _tile_set(served: ServedArea, root: str) -> dict[str, Any]:
    address = f"{root}/collections/{served.slug}/tiles/{MATRIX_SET}"
    described: dict[str, Any] = {
        "title": served.area.title,
        "dataType": "vector",
        "crs": "http://www.opengis.net/def/crs/EPSG/0/3857",
        "tileMatrixSetURI": _SET_URI,
        "tileMatrixSetLimits": [],
        "layers": [{"id": LAYER, "dataType": "vector", "geometryDimension": 2, "maxTileMatrix": str(MAX_ZOOM)}],
        "links": [
            link("self", address),
            link("http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme", f"{root}/tileMatrixSets/{MATRIX_SET}"),
            {**link("item", f"{address}/{{tileMatrix}}/{{tileRow}}/{{tileCol}}", TILE), "templated": True},
        ],
    }
    if served.bounds is not None:
        west, south, east, north = served.bounds
        described["boundingBox"] = {"lowerLeft": [west, south], "upperRight": [east, north], "crs": CRS84}
    return described


def _matrix_set() -> dict[str, Any]:
    return {
        "id": MATRIX_SET,
        "uri": _SET_URI,
        "crs": "http://www.opengis.net/def/crs/EPSG/0/3857",
        "orderedAxes": ["X", "Y"],
        "wellKnownScaleSet": "http://www.opengis.net/def/wkss/OGC/1.0/GoogleMapsCompatible",
        "links": [{"rel": "about", "href": _SET_URI, "type": JSON}],
        "tileMatrices": [
            {
                "id": str(z),
                "scaleDenominator": _SCALE_0 / 2**z,
                "cellSize": 2 * HALF_WORLD / 256 / 2**z,
                "pointOfOrigin": [-HALF_WORLD, HALF_WORLD],
                "tileWidth": 256,
                "tileHeight": 256,
                "matrixWidth": 2**z,
                "matrixHeight": 2**z,
            }
            for z in range(_DEEPEST + 1)
        ],
    }
