"""Search: by words, by an example region, by an uploaded picture; narrowed by indicators and bounds."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from chorograph.ground.errors import InputError
from chorograph.serving.api.answers import as_json
from chorograph.serving.api.areas import card_content
from chorograph.serving.api.uploads import Workers, read_pictures
from chorograph.serving.catalogue.cards import image_url, indicator, number, region_url
from chorograph.serving.catalogue.conditions import allowed_rows
from chorograph.serving.catalogue.finder import Finder, Found
from chorograph.serving.catalogue.served import Catalogue, ServedArea

AreaQuery = Annotated[str | None, Query(description="the id of an area; may be left out where one is served")]
Most = Annotated[int, Query(ge=1, le=100, description="regions to return")]
Bbox = Annotated[str | None, Query(description="west,south,east,north in degrees")]
Where = Annotated[
    list[str] | None,
    Query(description="INDICATOR:LOW..HIGH narrows by an indicator; an end may be left out", max_length=20),
]


def the_area(catalogue: Catalogue, name: str | None) -> ServedArea:
    """Return the area asked for; the only one where none is named."""
    if name is not None:
        return catalogue[name]
    areas = list(catalogue)
    if len(areas) > 1:
        raise InputError(f"say which area: {', '.join(area.slug for area in areas)}")
    return areas[0]  # type: ignore[no-any-return]


def search_router(catalogue: Catalogue, finders: dict[str, Finder], workers: Workers) -> APIRouter:
    """Return the routes of search."""
    router = APIRouter(tags=["Search"])

    @router.get("/search", summary="Find regions by words", operation_id="search")
    def search(
        q: Annotated[str, Query(min_length=1, max_length=500, description="what the place looks like, in words")],
        area: AreaQuery = None,
        k: Most = 20,
        bbox: Bbox = None,
        where: Where = None,
    ) -> Response:
        served = the_area(catalogue, area)
        if not q.strip():
            raise InputError("say what to look for; q is blank")
        found = finders[served.slug].by_words(q, k, allowed_rows(served, bbox, where))
        return as_json({"query": q, **found_content(served, found)})

    @router.get("/similar", summary="Find regions that look like one", operation_id="similar")
    def similar(region: str, area: AreaQuery = None, k: Most = 20, bbox: Bbox = None, where: Where = None) -> Response:
        served = the_area(catalogue, area)
        found = finders[served.slug].by_region(region, k, allowed_rows(served, bbox, where))
        return as_json({"region": region, **found_content(served, found)})

    @router.post(
        "/similar",
        summary="Find regions that look like a picture",
        operation_id="similarToImage",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    kind: {"schema": {"type": "string", "format": "binary"}}
                    for kind in ("image/jpeg", "image/png", "image/webp")
                },
            }
        },
    )
    async def similar_to_image(
        request: Request, area: AreaQuery = None, k: Most = 20, bbox: Bbox = None, where: Where = None
    ) -> Response:
        body = await request.body()

        def work() -> Response:
            served = the_area(catalogue, area)
            (pixels,) = read_pictures([body])
            found = finders[served.slug].by_image(pixels, k, allowed_rows(served, bbox, where))
            return as_json(found_content(served, found))

        return await workers.do(work)

    @router.get("/describe", summary="What is known of a region", operation_id="describe")
    def describe(region: str, area: AreaQuery = None) -> Response:
        served = the_area(catalogue, area)
        return as_json(card_content(served, finders[served.slug], served.row(region)))

    return router


def found_content(served: ServedArea, found: Found) -> dict[str, Any]:
    """Return an answer with the regions' names, places and what spoke for them, ready for JSON."""
    return {
        "area": served.slug,
        "by": found.by,
        "note": found.note,
        "hits": [
            {
                "id": hit.region_id,
                "name": str(served.names[row := served.row(hit.region_id)]),
                "row": row,
                "score": number(hit.score),
                "url": region_url(served, hit.region_id),
                "images": [image_url(served, image_id) for image_id in hit.image_ids],
                "texts": list(hit.texts),
                "indicators": [
                    {
                        name: value
                        for name, value in entry.items()
                        if name in ("id", "observed", "predicted", "lower", "upper")
                    }
                    for layer in served.layers.values()
                    for entry in [indicator(layer, layer.run(), row)]
                ],
            }
            for hit in found.hits
        ],
    }
