"""Where in a region's imagery a sentence fits best, as a picture and as JSON."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from chorograph.ground.errors import InputError
from chorograph.serving.api.answers import as_json
from chorograph.serving.api.areas import MAX_SIDE, to_jpeg
from chorograph.serving.api.search import AreaQuery, the_area
from chorograph.serving.api.uploads import Workers
from chorograph.serving.catalogue.finder import Finder
from chorograph.serving.catalogue.heat import Heat, HeatMaps
from chorograph.serving.catalogue.served import Catalogue

Words = Annotated[str, Query(min_length=1, max_length=500, description="what to look for, in words")]


def heatmap_router(catalogue: Catalogue, finders: dict[str, Finder], workers: Workers) -> APIRouter:
    """Return the routes of heat maps."""
    router = APIRouter(tags=["Search"])
    maps = {served.slug: HeatMaps(served, finders[served.slug]) for served in catalogue}

    def drawn(area: str | None, region: str, q: str) -> Heat:
        served = the_area(catalogue, area)
        if not q.strip():
            raise InputError("say what to look for; q is blank")
        return maps[served.slug].draw(q, served.row(region))

    @router.get("/heatmap.json", summary="Where in a region a sentence fits best", operation_id="getHeatMapData")
    async def data(region: str, q: Words, area: AreaQuery = None) -> Response:
        heat = await workers.do(lambda: drawn(area, region, q))
        return as_json({"region": region, "query": q, **heat.as_dict()})

    @router.get(
        "/heatmap",
        summary="A sentence's heat map on a region's imagery",
        operation_id="getHeatMap",
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}},
    )
    async def picture(region: str, q: Words, area: AreaQuery = None) -> Response:
        jpeg = await workers.do(lambda: to_jpeg(drawn(area, region, q).picture(), MAX_SIDE))
        return Response(jpeg, media_type="image/jpeg")

    return router
