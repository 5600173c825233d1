"""`evaluate localize`: how well a model finds in large images what sentences say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import between, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.evaluate.settings import EvaluateSettings, finish
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings(EvaluateSettings):
    """Settings of `chorograph evaluate localize`."""

    model: str = setting(help="an encoder of images and texts: open_clip:NAME/TAG, or a checkpoint folder")
    data: Path = setting(help="a folder in the layout of AIR-SLT: annotations/anno.json and imgs/")
    compat: bool = setting(False, help="cut windows as published (256 px); both arithmetics are scored either way")
    steps: list[int] = setting([256, 512, 768], help="sides of the windows, in pixels", within=between(16, 4096))


def inputs(settings: Settings) -> list[Path]:
    """Return the sentences, the images, what training saw, and the model where it is a folder."""
    data = [settings.data / "annotations" / "anno.json", settings.data / "imgs"]
    return [*data, *settings.seen, *([Path(settings.model)] if Path(settings.model).exists() else [])]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Localise every sentence, score, and write `scores.json` and `samples.csv`."""

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
        from chorograph.ground.files import atomic_path
        from chorograph.models.encoders.registry import load_image_text_encoder
        from chorograph.searching.windows import check_steps

        check_steps(settings.steps)
        samples = read_samples(settings.data)
        encoder = load_image_text_encoder(settings.model, settings.device)
        checks = check_samples(encoder, samples)
        scored = score_samples(encoder, samples, steps=settings.steps, compat=settings.compat, progress=progress)
        scores = summarise(scored, settings.seed)
        seen = read_seen(settings.seen, settings.model, ledger, progress)
        cut = {"steps": settings.steps, "cut": "as published" if settings.compat else "by the encoder"}
        facts = {"windows": cut, "checks": checks}
        result = account_samples(encoder, settings.data, samples, scores, ledger, seen=seen, **facts)
        rows = [
            [name, metric, f"{score.value:.4f}", interval(score, 1)]
            for name, row in scores.items()
            for metric, score in row.items()
        ]
        finish(
            settings.out,
            result,
            {"columns": ["arithmetic", "score", "mean", "95 % interval"], "rows": rows},
            ledger,
        )
        with atomic_path(settings.out / "samples.csv") as temporary:
            scored.to_csv(temporary, index=False)
        ledger.outputs.append(settings.out / "samples.csv")

    asked = {**plain(settings), "data": str(settings.data.resolve()), "out": str(settings.out.resolve())}
    manifest = settings.out / "manifest.json"
    return run_stage("evaluate localize", manifest=manifest, config=asked, inputs=inputs(settings), work=work)


VERB = Verb(
    "evaluate localize",
    "Judge how well a model finds in large images what sentences say.",
    Settings,
    run,
    example="chorograph evaluate localize --model rsicd-coca --data AIR-SLT --out localize",
)
