"""`ratings export`: what raters said, as a file, and whether they agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Outcome, Progress
from chorograph.verbs.verb import Verb

_KINDS = {".csv": "csv", ".parquet": "parquet", ".json": "label-studio"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph ratings export`."""

    area: Path = setting(help="the area folder")
    out: Path = setting(
        help="the file: .csv, .parquet, or .json (Label Studio); AREA/ratings.parquet is what `curate` filters by"
    )
    ratings: str | None = setting(None, help="URL of the database, as given to `serve`; else AREA/ratings.sqlite")
    name: str | None = setting(None, help="what the server called the area; by default what it would call it alone")


def inputs(settings: Settings) -> list[Path]:
    """Return the area."""
    return [settings.area]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Write the file. It leaves no manifest: ratings go on coming."""
    from chorograph.ground.files import atomic_path
    from chorograph.serving.catalogue.served import open_area
    from chorograph.serving.ratings.export import encode, summary
    from chorograph.serving.ratings.opening import FILE, url_of
    from chorograph.serving.ratings.store import RatingStore

    if settings.out.suffix not in _KINDS:
        raise InputError(f"options: --out ends in {', '.join(_KINDS)}, not {settings.out.suffix or 'nothing'}")
    if settings.ratings is None and not (settings.area / FILE).is_file():
        raise InputError(
            f"{settings.area} holds no {FILE}; rate with `chorograph serve {settings.area}`, or give --ratings"
        )
    served = open_area(settings.area, cache=False)
    store, name = RatingStore(settings.ratings or url_of(settings.area)), settings.name or served.slug
    if (rated := store.areas()) and name not in rated:
        raise UnknownNameError.of("area with ratings", name, rated)
    table = store.table(name)
    with atomic_path(settings.out) as temporary:
        temporary.write_bytes(encode(table, served.area, _KINDS[settings.out.suffix]))
    counts = {"ratings": len(table), "raters": int(table["rater"].nunique())}
    manifest = {"stage": "ratings export", "config": plain(settings), "counts": counts, "facts": summary(table)}
    return Outcome(manifest, skipped=False)


VERB = Verb(
    "ratings export",
    "Write the ratings of an area's captions as CSV, Parquet or Label Studio JSON, and say whether raters agree.",
    Settings,
    run,
    ("area", "out"),
    "chorograph ratings export my-area ratings.parquet",
)
