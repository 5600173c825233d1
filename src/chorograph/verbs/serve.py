"""`serve`: areas as pages and standard interfaces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.ground.settings import at_least, between, plain, setting
from chorograph.ground.stage import Outcome, Progress
from chorograph.verbs.verb import Verb

if TYPE_CHECKING:
    from chorograph.serving.catalogue.served import Catalogue


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph serve`."""

    areas: list[Path] = setting(help="areas to serve: their folders, or a run's; runs beside an area are found")
    run: list[Path] = setting([], help="a run folder that does not lie beside its area")
    host: str = setting("127.0.0.1", help="address to listen on; beyond this machine the token is asked for")
    port: int = setting(8000, help="port to listen on; 0 takes a free one", within=between(0, 65535))
    name: list[str] = setting([], help="a name that clients call the server by, such as maps.example.org")
    token_file: Path | None = setting(None, help="file with the token for writing; without it one is drawn and printed")
    ratings: str | None = setting(
        None, help="URL of the database for ratings, such as postgresql+psycopg://…; else AREA/ratings.sqlite"
    )
    overlap: int = setting(2, help="raters wanted on each pair of image and caption", within=at_least(1))
    read_only: bool = setting(False, help="take no ratings and nothing else that is written")
    model: str | None = setting(None, help="encoder to search with, which the areas have vectors of; else the best one")
    device: str = setting("cpu", help="torch device of that encoder: cpu, cuda")
    cache: bool = setting(True, help="keep simplified shapes and indexes in AREA/.cache")
    mcp: bool = setting(False, help="speak MCP on stdin and stdout for language models, read-only, instead of HTTP")
    log: bool = setting(False, help="a line of JSON on stderr for each request, without who asked")


def inputs(settings: Settings) -> list[Path]:
    """Return the areas."""
    return settings.areas


def run(settings: Settings, progress: Progress) -> Outcome:
    """Serve until interrupted. It leaves no manifest: nothing is made."""
    from chorograph.serving.api.app import Serving, create_app
    from chorograph.serving.api.guard import Limits
    from chorograph.serving.catalogue.served import Catalogue
    from chorograph.serving.ratings.opening import open_stores
    from chorograph.serving.run import access_for, read_token, serve

    catalogue = Catalogue.open(settings.areas, settings.run, cache=settings.cache)
    if settings.mcp:
        return _speak_mcp(settings, catalogue)
    token = read_token(settings.token_file)
    access = access_for(settings.host, token, read_only=settings.read_only, names=settings.name)
    stores = {} if settings.read_only else open_stores(catalogue, settings.ratings)
    app = create_app(Serving(catalogue, access, Limits(), stores, settings.overlap, settings.model, settings.device))
    serve(app, access, settings.host, settings.port, log=settings.log)
    return _outcome(settings, catalogue)


def _speak_mcp(settings: Settings, catalogue: Catalogue) -> Outcome:
    from chorograph.serving.catalogue.finder import Finder
    from chorograph.serving.mcp import create_mcp

    finders = {area.slug: Finder(area, settings.model, settings.device) for area in catalogue}
    create_mcp(catalogue, finders).run("stdio")
    return _outcome(settings, catalogue)


def _outcome(settings: Settings, catalogue: Catalogue) -> Outcome:
    served = {"areas": len(catalogue.areas), "regions": sum(len(area.regions) for area in catalogue)}
    return Outcome({"stage": "serve", "config": plain(settings), "counts": served}, skipped=False)


VERB = Verb(
    "serve",
    "Serve areas: a map in the browser, search, region cards, and an API that QGIS opens.",
    Settings,
    run,
    ("areas",),
    "chorograph serve my-area",
)
