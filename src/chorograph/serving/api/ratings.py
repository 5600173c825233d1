"""Rating: a pair at a time, answers kept before they are acknowledged, exports."""

from __future__ import annotations

import random
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from chorograph.ground.errors import InputError
from chorograph.serving.api.answers import as_json, page
from chorograph.serving.api.areas import AreaId
from chorograph.serving.api.search import AreaQuery, the_area
from chorograph.serving.catalogue.cards import image_url
from chorograph.serving.catalogue.served import Catalogue, ServedArea
from chorograph.serving.ratings.export import encode, summary
from chorograph.serving.ratings.questions import NAMES, QUESTIONS
from chorograph.serving.ratings.store import Pair, RatingStore

#: A pseudonym: what is stored beside a rating.
RATER = r"^[A-Za-z0-9][A-Za-z0-9._@ -]{0,63}$"
Rater = Annotated[str, Query(pattern=RATER, description="who rates: a name of their choice")]
_TYPES = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet", "label-studio": "application/json"}


class Strict(BaseModel):
    """A body without unknown keys."""

    model_config = ConfigDict(extra="forbid")
    area: str | None = None
    rater: str = Field(pattern=RATER)


class PairBody(Strict):
    """Names a pair."""

    image_id: str = Field(max_length=400)
    caption_id: str = Field(max_length=400)


class RatingBody(PairBody):
    """A rater's answers to the questions of a pair."""

    values: dict[
        Literal["relevance_detail", "hallucination", "fluency"], Annotated[int, Field(ge=1, le=5, strict=True)]
    ]


def pairs_of(served: ServedArea, seed: int = 0) -> list[Pair]:
    """Return all pairs of a held image and a caption, in an order drawn from the seed."""
    captions = served.area.captions
    captions = captions[captions["image_id"].isin(served.image_row)]
    pairs = [Pair(str(i), str(c)) for i, c in zip(captions["image_id"], captions["caption_id"], strict=True)]
    random.Random(seed).shuffle(pairs)  # noqa: S311  # an order, no secret
    return pairs


def ratings_router(catalogue: Catalogue, stores: dict[str, RatingStore], overlap: int, *, writable: bool) -> APIRouter:
    """Return the routes of rating; without a store of an area, it cannot be rated and says so."""
    router = APIRouter(tags=["Ratings"])
    pairs = {served.slug: pairs_of(served) for served in catalogue}
    known = {slug: set(held) for slug, held in pairs.items()}
    captions = {
        served.slug: dict(zip(served.area.captions["caption_id"], served.area.captions["caption"], strict=True))
        for served in catalogue
    }

    def store_of(served: ServedArea) -> RatingStore:
        if served.slug not in stores:
            raise InputError("this server keeps no ratings: it is read-only")
        return stores[served.slug]

    def shown(served: ServedArea, pair: Pair | None, values: dict[str, int] | None = None) -> dict[str, Any] | None:
        if pair is None:
            return None
        return {
            "image_id": pair.image_id,
            "caption_id": pair.caption_id,
            "caption": captions[served.slug].get(pair.caption_id, ""),
            "image": image_url(served, pair.image_id),
            "values": values or {},
        }

    def told(served: ServedArea, rater: str, **others: Any) -> dict[str, Any]:
        progress = store_of(served).progress(served.slug, rater)
        return {"progress": {**progress, "all": len(pairs[served.slug]), "overlap": overlap}, **others}

    def check(served: ServedArea, body: PairBody) -> Pair:
        pair = Pair(body.image_id, body.caption_id)
        if pair not in known[served.slug]:
            raise InputError(f"{served.area.title} has no pair of {body.image_id!r} and {body.caption_id!r}")
        return pair

    @router.get("/areas/{area}/rate.json", summary="How far rating is", operation_id="getRatingState")
    def state(area: AreaId, rater: Rater = "nobody") -> Response:
        return as_json(told(catalogue[area], rater, questions=[vars(question) for question in QUESTIONS]))

    @router.get("/areas/{area}/rate", include_in_schema=False)
    def rate_page(area: AreaId) -> Response:
        served = catalogue[area]
        return page(
            "rate.html.jinja", area=served.summary(), questions=QUESTIONS, writable=writable, n=len(pairs[area])
        )

    @router.post("/ratings/next", summary="Get a pair to rate", operation_id="nextPair")
    def next_pair(body: Annotated[Strict, Body()]) -> Response:
        served = the_area(catalogue, body.area)
        pair = store_of(served).next_pair(served.slug, body.rater, pairs[served.slug], overlap)
        return as_json(told(served, body.rater, pair=shown(served, pair)))

    @router.post("/ratings", status_code=201, summary="Keep a rating", operation_id="rate")
    def rate(body: Annotated[RatingBody, Body()]) -> Response:
        """Answer 201 after the rating is kept for good; the same rating may be sent again."""
        served = the_area(catalogue, body.area)
        if set(body.values) != set(NAMES):
            raise InputError(f"a rating answers all of {', '.join(NAMES)}")
        store_of(served).save(served.slug, body.rater, check(served, body), dict(body.values.items()))
        return as_json({"kept": True}, status=201)

    @router.post("/ratings/skip", summary="Leave a pair to others", operation_id="skipPair")
    def skip(body: Annotated[PairBody, Body()]) -> Response:
        served = the_area(catalogue, body.area)
        store_of(served).skip(served.slug, body.rater, check(served, body))
        return as_json({"skipped": True})

    @router.post("/ratings/undo", summary="Take the last rating back", operation_id="undoRating")
    def undo(body: Annotated[Strict, Body()]) -> Response:
        served = the_area(catalogue, body.area)
        undone = store_of(served).undo(served.slug, body.rater)
        pair, values = undone or (None, None)
        return as_json(told(served, body.rater, pair=shown(served, pair, values)))

    @router.get("/ratings", summary="All ratings, and whether raters agree", operation_id="getRatings")
    def ratings(area: AreaQuery = None) -> Response:
        served = the_area(catalogue, area)
        table = store_of(served).table(served.slug)
        rows = table.astype(object).where(table.notna(), None).to_dict("records")
        return as_json({"area": served.slug, **summary(table), "ratings": rows})

    @router.get(
        "/ratings/export",
        summary="All ratings as a file",
        operation_id="exportRatings",
        response_class=Response,
        responses={200: {"content": {kind: {} for kind in _TYPES.values()}}},
    )
    def export(area: AreaQuery = None, format: Literal["csv", "parquet", "label-studio"] = "csv") -> Response:
        served = the_area(catalogue, area)
        body = encode(store_of(served).table(served.slug), served.area, format)
        ending = {"label-studio": "json"}.get(format, format)
        named = {"Content-Disposition": f'attachment; filename="ratings.{ending}"'}
        return Response(body, media_type=_TYPES[format], headers=named)

    return router
