"""`chorograph evaluate explain`: which tiles, areas of tiles and words moved a run's predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.errors import InputError
from chorograph.ground.files import read_json, slug
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, read_manifest, run_stage
from chorograph.study.settings import ExplainSettings
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings(ExplainSettings):
    """Settings of `chorograph evaluate explain`."""

    run: Path = setting(help="the run folder that `chorograph predict` wrote")
    indicator: str | None = setting(None, help="which indicator of the run; by default its first")
    out: Path | None = setting(
        None, help="folder to write; by default explanation/INDICATOR in the run folder, for the report"
    )


def run(settings: Settings, progress: Progress) -> Outcome:
    """Explain the predictions of a run into `settings.out`."""
    from chorograph.area.folder import Area
    from chorograph.models.encoders.registry import resolve
    from chorograph.prediction.profile import read_scores

    folder = settings.run
    asked_before = read_manifest(folder / "manifest.json")["config"]
    if "area" not in asked_before or not isinstance(asked_before.get("embeddings"), str):
        raise InputError(f"{folder / 'manifest.json'} is not the manifest of a run of `chorograph predict`")
    if asked_before["embeddings"] == "none":
        raise InputError(f"{folder} was predicted without imagery: there is nothing to look into")
    held = read_scores(read_json(folder / "scores.json"), str(folder / "scores.json"))
    indicator = settings.indicator or next(iter(held))
    out = settings.out or folder / "explanation" / slug(indicator)
    area = Area.open(asked_before["area"])

    def work(ledger: Ledger) -> None:
        from chorograph.study.explanation import explain_run

        ledger.outputs += explain_run(area, asked_before, folder, indicator, settings, out, ledger, progress)

    files = [folder / "manifest.json", folder / "predictions.parquet"]
    files += [area.embeddings_path(resolve(asked_before["embeddings"]))]
    files += [settings.concepts] if settings.concepts is not None else []
    asked = {**plain(settings), "run": str(folder.resolve()), "indicator": indicator, "out": str(out.resolve())}
    return run_stage("evaluate explain", manifest=out / "manifest.json", config=asked, inputs=files, work=work)


VERB = Verb(
    "evaluate explain",
    "Say which tiles, areas of tiles and concept words moved a run's predictions, with sanity checks.",
    Settings,
    run,
    ("run",),
    "chorograph evaluate explain run",
)
