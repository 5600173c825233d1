"""`evaluate localize`: its settings and its stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage


@dataclass(frozen=True)
class LocalizationConfig:
    """Settings of `chorograph evaluate localize`."""

    model: str = setting(help="an encoder of images and texts: open_clip:NAME/TAG, or a checkpoint folder")
    data: Path = setting(help="a folder in the layout of AIR-SLT: annotations/anno.json and imgs/")
    out: Path = setting(help="folder for scores.json, samples.csv and manifest")
    compat: bool = setting(False, help="cut windows as published (256 px); both arithmetics are scored either way")
    steps: list[int] = setting([256, 512, 768], help="sides of the windows, in pixels")
    seen: list[Path] = setting(
        [],
        help="an area or folder of images that training saw; a checkpoint's own training images are always looked for",
    )
    seed: int = setting(0, help="decides the bootstrap")
    device: str = setting("cpu", help="torch device of the model: cpu, cuda")


def evaluate_localize(config: LocalizationConfig, progress: Progress) -> Outcome:
    """Judge a model's localisation into the folder `config.out`."""

    def work(ledger: Ledger) -> None:
        from chorograph.evaluation.accounting import interval
        from chorograph.evaluation.examples.seen import read_seen
        from chorograph.evaluation.suites.localization import (
            account_samples,
            check_samples,
            read_samples,
            score_samples,
            summarise,
        )
        from chorograph.ground.files import atomic_path, write_json
        from chorograph.models.encoders.registry import load_image_text_encoder
        from chorograph.searching.windows import check_steps

        check_steps(config.steps)
        samples = read_samples(config.data)
        encoder = load_image_text_encoder(config.model, config.device)
        checks = check_samples(encoder, samples)
        table = score_samples(encoder, samples, steps=config.steps, compat=config.compat, progress=progress)
        scores = summarise(table, config.seed)
        seen = read_seen(config.seen, config.model, ledger, progress)
        cut = {"steps": config.steps, "cut": "as published" if config.compat else "by the encoder"}
        facts = {"windows": cut, "checks": checks}
        result = account_samples(encoder, config.data, samples, scores, ledger, seen=seen, **facts)
        write_json(config.out / "scores.json", result)
        with atomic_path(config.out / "samples.csv") as temporary:
            table.to_csv(temporary, index=False)
        ledger.outputs += [config.out / "scores.json", config.out / "samples.csv"]
        ledger.facts["table"] = {
            "columns": ["arithmetic", "score", "mean", "95 % interval"],
            "rows": [
                [name, metric, f"{score.value:.4f}", interval(score, 1)]
                for name, row in scores.items()
                for metric, score in row.items()
            ],
        }

    inputs = [config.data / "annotations" / "anno.json", config.data / "imgs"]
    inputs += config.seen
    inputs += [Path(config.model)] if Path(config.model).exists() else []
    asked = {**plain(config), "data": str(config.data.resolve()), "out": str(config.out.resolve())}
    return run_stage("evaluate localize", manifest=config.out / "manifest.json", config=asked, inputs=inputs, work=work)
