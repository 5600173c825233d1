"""`/predict`: what a run's model says of a polygon with pictures that a client sends."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, UploadFile
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from chorograph.ground.errors import InputError
from chorograph.serving.api.answers import as_json, problem
from chorograph.serving.api.search import the_area
from chorograph.serving.api.uploads import Workers, check_pictures, read_pictures
from chorograph.serving.catalogue.predictor import NotFittedYetError, Predictors, overlapped, read_polygon
from chorograph.serving.catalogue.served import Catalogue

#: Pictures that one request may send.
MOST_PICTURES = 32
#: How long a request waits for a model that is being fitted.
WAIT_S = 25.0


def predict_router(catalogue: Catalogue, predictors: dict[str, Predictors], workers: Workers) -> APIRouter:
    """Return the route of predicting a region that the area does not have."""
    router = APIRouter(tags=["Prediction"])

    @router.post("/predict", summary="Predict a polygon with pictures", operation_id="predict")
    async def predict(
        region: Annotated[
            str,
            Form(
                description="a GeoJSON Polygon, MultiPolygon, or feature of one, in degrees",
                examples=['{"type": "Polygon", "coordinates": [[[0, 0], [0.01, 0], [0.01, 0.01], [0, 0]]]}'],
            ),
        ],
        images: Annotated[
            list[UploadFile] | None,
            File(description="pictures of the region as the area's own are: JPEG, PNG, WebP", max_length=MOST_PICTURES),
        ] = None,
        area: Annotated[str | None, Form(description="the id of an area; may be left out where one is served")] = None,
        run: Annotated[
            str | None, Form(description="the run whose model predicts; else that of most indicators")
        ] = None,
    ) -> Response:
        """Give each indicator with its interval. The model is fitted at the first request: 503 says to ask again."""
        bodies = [await image.read() for image in images or []]

        served = the_area(catalogue, area or None)
        if len(bodies) > MOST_PICTURES:
            raise InputError(f"send {MOST_PICTURES} pictures at most, not {len(bodies)}")
        check_pictures(bodies)
        shape = await run_in_threadpool(read_polygon, region)
        try:
            predictor = await run_in_threadpool(predictors[served.slug].get, run or None, WAIT_S)
        except NotFittedYetError as error:
            return problem(503, "Service unavailable", str(error), {"Retry-After": "10"})

        def work() -> Response:
            pictures = read_pictures(bodies)
            told = predictor.predict(shape, pictures)
            content = {"area": served.slug, "run": predictor.run, "images": len(pictures), "note": predictor.note}
            return as_json({**content, "overlaps": overlapped(served, shape), "indicators": told})

        return await workers.do(work)

    return router
