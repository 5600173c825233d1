"""`evaluate explain`: its stage."""

from __future__ import annotations

from chorograph.ground.errors import InputError
from chorograph.ground.files import read_json
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.study.config import ExplainConfig


def evaluate_explain(config: ExplainConfig, progress: Progress) -> Outcome:
    """Explain the predictions of a run into `config.out`."""
    from chorograph.area.folder import Area
    from chorograph.models.encoders.registry import resolve

    if config.tiles < 1 or config.grid < 2 or config.draws < 1:
        raise InputError("options: --tiles and --draws are at least 1, --grid at least 2")
    out = config.out or config.run / "explanation"
    described = read_json(config.run / "manifest.json")
    asked_before = described.get("config", {}) if isinstance(described, dict) else {}
    if "area" not in asked_before or "embeddings" not in asked_before:
        raise InputError(f"{config.run / 'manifest.json'} is not the manifest of a run of `chorograph predict`")
    if asked_before["embeddings"] == "none":
        raise InputError(f"{config.run} was predicted without imagery: there is nothing to look into")
    area = Area.open(asked_before["area"])

    def work(ledger: Ledger) -> None:
        from chorograph.study.explanation import explain_run

        ledger.outputs += explain_run(area, asked_before, config, out, ledger, progress)

    inputs = [config.run / "manifest.json", config.run / "predictions.parquet"]
    inputs += [area.embeddings_path(resolve(asked_before["embeddings"]))]
    inputs += [config.concepts] if config.concepts is not None else []
    asked = {**plain(config), "run": str(config.run.resolve()), "out": str(out.resolve())}
    return run_stage("evaluate explain", manifest=out / "manifest.json", config=asked, inputs=inputs, work=work)
