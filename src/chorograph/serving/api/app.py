"""The application: routes, errors as problems, the OpenAPI description, the guard around all."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from chorograph.ground.errors import ChorographError, ImageError, InputError, MissingExtraError, UnknownNameError
from chorograph.serving.api.answers import OPENAPI, Problem, as_json, problem
from chorograph.serving.api.areas import areas_router
from chorograph.serving.api.features import features_router
from chorograph.serving.api.guard import Access, App, Guard, Limits, Meters
from chorograph.serving.api.heatmap import heatmap_router
from chorograph.serving.api.predict import predict_router
from chorograph.serving.api.ratings import ratings_router
from chorograph.serving.api.search import search_router
from chorograph.serving.api.tiles import tiles_router
from chorograph.serving.api.uploads import Workers
from chorograph.serving.catalogue.finder import Finder
from chorograph.serving.catalogue.predictor import Predictors
from chorograph.serving.catalogue.served import Catalogue
from chorograph.serving.pages.rendering import STATIC, map_library
from chorograph.serving.ratings.store import RatingStore

_log = logging.getLogger(__name__)
_STATUS: dict[type[Exception], tuple[int, str]] = {
    UnknownNameError: (404, "Not found"),
    MissingExtraError: (501, "Not implemented"),
    ImageError: (400, "Bad request"),
    InputError: (400, "Bad request"),
}


@dataclass(frozen=True)
class Serving:
    """What is served and how."""

    catalogue: Catalogue
    access: Access
    limits: Limits = field(default_factory=Limits)
    #: Where ratings are kept, by area; without one an area takes none.
    stores: Mapping[str, RatingStore] = field(default_factory=dict)
    #: Raters wanted on each pair.
    overlap: int = 2
    search_model: str | None = None
    device: str = "cpu"
    #: Load models and simplify shapes beside the first answers.
    warm: bool = True


def create_app(serving: Serving) -> App:
    """Return the ASGI application of a server."""
    catalogue, access = serving.catalogue, serving.access
    finders = {area.slug: Finder(area, serving.search_model, serving.device) for area in catalogue}
    meters, workers = Meters(), Workers()

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        if serving.warm:
            threading.Thread(target=_warm, args=(catalogue, finders), daemon=True).start()
        yield
        workers.close()
        for store in serving.stores.values():
            store.close()

    app = FastAPI(title="chorograph", openapi_url=None, docs_url=None, redoc_url=None, lifespan=life)
    app.include_router(features_router(catalogue))
    app.include_router(tiles_router(catalogue))
    app.include_router(areas_router(catalogue, finders, writable=access.writable))
    app.include_router(search_router(catalogue, finders, workers))
    app.include_router(heatmap_router(catalogue, finders, workers))
    predictors = {area.slug: Predictors(area, serving.device) for area in catalogue}
    app.include_router(predict_router(catalogue, predictors, workers))
    app.include_router(ratings_router(catalogue, dict(serving.stores), serving.overlap, writable=access.writable))

    @app.get("/api", summary="This description", operation_id="getApi", tags=["Server"])
    def api(request: Request) -> Response:
        return as_json(describe(app), OPENAPI)

    @app.get("/health", summary="Whether the server answers", operation_id="getHealth", tags=["Server"])
    def health() -> Response:
        return as_json({"status": "ok", "areas": len(catalogue.areas)})

    @app.get(
        "/metrics",
        summary="Meters for Prometheus",
        operation_id="getMetrics",
        tags=["Server"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
    )
    def metrics() -> Response:
        return Response(generate_latest(meters.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.mount("/static", StaticFiles(directory=STATIC))
    app.mount("/maplibre", StaticFiles(directory=map_library()))
    _answer_errors(app)
    app.add_middleware(GZipMiddleware, minimum_size=2048, compresslevel=4)
    return Guard(app, access, serving.limits, meters)


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI description: every operation may also answer with a problem."""
    from fastapi.openapi.utils import get_openapi

    if not hasattr(app.state, "described"):
        described = get_openapi(title="chorograph", version=_version(), openapi_version="3.0.3", routes=app.routes)
        described["components"].setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
        body = {"schema": {"$ref": "#/components/schemas/Problem"}}
        answer = {"description": "What went wrong", "content": {"application/problem+json": body}}
        for operations in described["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
                operation["responses"]["default"] = answer
        app.state.described = plain_openapi(described)
    found: dict[str, Any] = app.state.described
    return found


def plain_openapi(schema: Any) -> Any:
    """Return a description in the words of OpenAPI 3.0: what pydantic writes is JSON Schema of a later draft."""
    if isinstance(schema, list):
        return [plain_openapi(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: plain_openapi(value) for name, value in schema.items()}
    if "const" in plain:
        plain["enum"] = [plain.pop("const")]
    if isinstance(choices := plain.get("anyOf"), list) and {"type": "null"} in choices:
        others = [choice for choice in choices if choice != {"type": "null"}]
        plain.pop("anyOf")
        plain |= {"nullable": True, **(others[0] if len(others) == 1 else {"anyOf": others})}
    for end in ("Minimum", "Maximum"):
        if not isinstance(bound := plain.get(f"exclusive{end}", True), bool):
            plain |= {end.lower(): bound, f"exclusive{end}": True}
    if plain.pop("contentMediaType", None) == "application/octet-stream":
        plain["format"] = "binary"
    if "type" in plain and isinstance(examples := plain.get("examples"), list):
        plain.pop("examples")
        plain["example"] = examples[0]
    return plain


def _version() -> str:
    from importlib.metadata import version

    return version("chorograph")


def _warm(catalogue: Catalogue, finders: Mapping[str, Finder]) -> None:
    for served in catalogue:
        finders[served.slug].warm()
        served.ladder.warm()


def _answer_errors(app: FastAPI) -> None:
    """Turn the library's errors into problems; what nobody foresaw is a 500 without its inside."""

    @app.exception_handler(ChorographError)
    def known(_: Request, error: Exception) -> Response:
        found = next(((code, title) for kind, (code, title) in _STATUS.items() if isinstance(error, kind)), None)
        if found is None:  # a file of the server's is damaged: that concerns who runs it, not who asks
            _log.error("%s", error)
            return problem(500, "Internal server error", "the server cannot answer from its files; its log says why")
        return problem(*found, str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: Any) -> Response:
        said = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
        return problem(400, "Bad request", said[:1000])

    @app.exception_handler(HTTPException)
    def http(_: Request, error: Any) -> Response:
        return problem(error.status_code, str(error.detail), str(error.detail), error.headers)
