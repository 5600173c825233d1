"""`evaluate explain`: its settings and its stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.area.config import plain, setting
from chorograph.area.errors import InputError
from chorograph.area.files import read_json
from chorograph.area.stage import Ledger, Outcome, Progress, run_stage


@dataclass(frozen=True)
class ExplainConfig:
    """Settings of `chorograph evaluate explain`."""

    run: Path = setting(help="the run folder that `chorograph predict` wrote")
    out: Path | None = setting(None, help="folder to write; by default `explanation` in the run folder, for the report")
    concepts: Path | None = setting(None, help="a text file of words or phrases, one a line; default: a list of 18")
    tiles: int = setting(6, help="how many tiles are looked into by occlusion: half raise, half lower a prediction")
    grid: int = setting(8, help="cells a side that an occluded tile is parted into")
    draws: int = setting(5, help="how often the labels are permuted for the sanity check")
    seed: int = setting(0, help="decides permutations, re-drawn weights and the bootstrap")
    device: str = setting("cpu", help="torch device of the encoder: cpu, cuda")


def evaluate_explain(config: ExplainConfig, progress: Progress) -> Outcome:
    """Explain the predictions of a run into `config.out`."""
    from chorograph.area.folder import Area
    from chorograph.models.registry import resolve

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
        from chorograph.evaluate.explanation import explain_run

        ledger.outputs += explain_run(area, asked_before, config, out, ledger, progress)

    inputs = [config.run / "manifest.json", config.run / "predictions.parquet"]
    inputs += [area.embeddings_path(resolve(asked_before["embeddings"]))]
    inputs += [config.concepts] if config.concepts is not None else []
    asked = {**plain(config), "run": str(config.run.resolve()), "out": str(out.resolve())}
    return run_stage("evaluate explain", manifest=out / "manifest.json", config=asked, inputs=inputs, work=work)
