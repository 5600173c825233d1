"""`chorograph predict`: every region's indicators, with intervals, beside baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.area.descriptions import FILE as DESCRIPTIONS
from chorograph.ground.errors import InputError
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.prediction.settings import PredictionSettings
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings(PredictionSettings):
    """Settings of `chorograph predict`."""

    area: Path = setting(help="the area folder")
    indicator: list[str] = setting([], help="what to predict, as named in indicators.parquet; none: all of them")
    out: Path | None = setting(None, help="run folder for predictions, scores and manifest")
    embeddings: str = setting("default", help="image vectors made by `chorograph embed`, by model name; none: without")
    save: str | None = setting(None, help="also file the predictions in the area, under this name")


def inputs(settings: Settings) -> list[Path]:
    """Return the files that the predictions rest on."""
    from chorograph.area.folder import Area
    from chorograph.models.encoders.registry import resolve
    from chorograph.prediction.features import split_names, uses_imagery

    area = Area.open(settings.area)
    tables = ("regions", "images", "indicators", "poi_counts", "triples", "entities")
    files = [*(area.table_path(name) for name in tables), area.path / DESCRIPTIONS]
    imagery = uses_imagery(area, settings.embeddings)
    if imagery:
        files.append(area.embeddings_path(resolve(settings.embeddings)))
    if settings.texts is not None:
        files.append(area.embeddings_path(f"text:{resolve(settings.texts)}"))
    named = split_names(settings.modalities)
    files += [area.embeddings_path(name.partition(":")[2]) for name in named if name.startswith(("graph:", "region:"))]
    if "street" in named and imagery:
        files.append(area.embeddings_path(f"street:{resolve(settings.embeddings)}"))
    if settings.split.startswith("given:"):
        files.append(area.path / "splits" / f"{settings.split.removeprefix('given:')}.parquet")
    return files


def run(settings: Settings, progress: Progress) -> Outcome:
    """Predict into the run folder `settings.out`."""
    from chorograph.area.folder import Area

    if settings.out is None:
        raise InputError("say where the predictions go: --out FOLDER")
    out = settings.out
    area = Area.open(settings.area)

    def work(ledger: Ledger) -> None:
        from chorograph.area.embeddings import Embeddings
        from chorograph.models.encoders.registry import resolve
        from chorograph.prediction.features import uses_imagery
        from chorograph.prediction.run import predict_profile
        from chorograph.prediction.task import make_split

        vectors = None
        if uses_imagery(area, settings.embeddings):
            vectors = Embeddings.read(area.embeddings_path(resolve(settings.embeddings)))
        elif settings.embeddings != "none":
            ledger.warnings.append(f"{area.path} holds no images: predicted from what else is known of its regions")
        profile = predict_profile(area, vectors, settings.indicator, settings, make_split(settings), ledger, progress)
        ledger.outputs += profile.write(out)
        table = profile.r2_table()
        if len(profile) == 1:
            ledger.facts["rows"] = {name: value for name, row in table.items() for value in row.values()}
        else:
            ledger.facts["r2"] = table
        if chosen := profile.chosen:
            ledger.facts["chosen"] = chosen
        if settings.save is not None:
            ledger.outputs.append(profile.save(settings.save))

    asked = {**plain(settings), **_one(settings), "area": str(area.path.resolve()), "out": str(out.resolve())}
    return run_stage("predict", manifest=out / "manifest.json", config=asked, inputs=inputs(settings), work=work)


def _one(settings: Settings) -> dict[str, str]:
    """Return the indicator where there is one: a manifest names it as text, as it always did."""
    return {"indicator": settings.indicator[0]} if len(settings.indicator) == 1 else {}


VERB = Verb(
    "predict",
    "Predict indicators for every region, with intervals and baselines.",
    Settings,
    run,
    ("area",),
    "chorograph predict my-area --indicator income --log --out run",
)
