"""`search`: the regions of an area by words, by an example or by a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorograph.ground.errors import InputError
from chorograph.ground.settings import between, plain, setting
from chorograph.ground.stage import Outcome, Progress
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph search`."""

    area: Path = setting(help="the area folder, or a run's")
    words: str | None = setting(None, help="what the place looks like, in a sentence")
    like: str | None = setting(None, help="a region id: find the regions that look like it")
    picture: Path | None = setting(None, help="a picture: find the regions that look like it")
    k: int = setting(10, help="regions to return", within=between(1, 1000))
    where: list[str] = setting([], help="INDICATOR:LOW..HIGH narrows by an indicator; an end may be left out")
    bbox: str | None = setting(None, help="west,south,east,north in degrees")
    model: str | None = setting(None, help="encoder to search with, which the area has vectors of; else the best one")
    device: str = setting("cpu", help="torch device of that encoder: cpu, cuda")


def inputs(settings: Settings) -> list[Path]:
    """Return the area."""
    return [settings.area]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Search as the server does. It leaves no manifest: the answer is the outcome's `hits`."""
    from chorograph.serving.catalogue.conditions import allowed_rows
    from chorograph.serving.catalogue.finder import Finder
    from chorograph.serving.catalogue.served import Catalogue

    if sum(given is not None for given in (settings.words, settings.like, settings.picture)) != 1:
        raise InputError("options: give one of WORDS, --like REGION or --picture FILE")
    served = next(iter(Catalogue.open([settings.area])))
    finder = Finder(served, settings.model, settings.device)
    allowed = allowed_rows(served, settings.bbox, settings.where)
    found = _find(settings, finder, allowed)
    hits = [_shown(str(served.names[served.row(hit.region_id)]), hit) for hit in found.hits]
    facts: dict[str, Any] = {"by": found.by, "hits": hits}
    if found.note:
        facts["note"] = found.note
    return Outcome({"stage": "search", "config": plain(settings), "counts": {"hits": len(hits)}, "facts": facts}, False)


def _find(settings: Settings, finder: Any, allowed: Any) -> Any:
    from chorograph.area.images import read_rgb

    if settings.picture is not None:
        return finder.by_image(read_rgb(settings.picture), settings.k, allowed)
    if settings.like is not None:
        return finder.by_region(settings.like, settings.k, allowed)
    return finder.by_words(settings.words, settings.k, allowed)


def _shown(name: str, hit: Any) -> dict[str, Any]:
    return {
        "region_id": hit.region_id,
        "name": name,
        "score": round(hit.score, 4),
        "images": list(hit.image_ids),
        "texts": list(hit.texts),
    }


VERB = Verb(
    "search",
    "Find regions by words, by an example region or by a picture.",
    Settings,
    run,
    ("area", "words"),
    'chorograph search my-area "dense housing beside a railway"',
)
