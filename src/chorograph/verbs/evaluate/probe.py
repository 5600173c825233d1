"""`evaluate probe`: images classified by a linear probe and nearest neighbours on frozen features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import inside, setting
from chorograph.ground.stage import Ledger, Outcome, Progress
from chorograph.verbs.evaluate.settings import (
    ModelSettings,
    PartSettings,
    data_inputs,
    finish,
    model_inputs,
    run_evaluation,
)
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings(PartSettings, ModelSettings):
    """Settings of `chorograph evaluate probe`."""

    test_share: float = setting(
        0.2, help="share of each class that is tested, where the data is not parted", within=inside(0, 1)
    )


def inputs(settings: Settings) -> list[Path]:
    """Return the data, what training saw, and the model's files."""
    return [*data_inputs(settings.data, settings.split), *settings.seen, *model_inputs(settings.model)]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Fit on the training part, score on the other, and write `scores.json`."""

    def work(ledger: Ledger) -> None:
        from chorograph.evaluation.accounting import account, table
        from chorograph.evaluation.examples.encoding import encode_examples, fit_encoder
        from chorograph.evaluation.examples.layouts import read_classified
        from chorograph.evaluation.examples.seen import read_seen
        from chorograph.evaluation.suites.probe import evaluate_probe, part
        from chorograph.models.encoders.registry import load_encoder

        examples = read_classified(settings.data, ledger, split=settings.split)
        classes = sorted({str(example.kind) for example in examples})
        train, test, how = part(examples, settings.role, settings.test_share, settings.seed)
        encoder = load_encoder(settings.model, settings.device)
        fit_encoder(encoder, [examples[row] for row in train], settings.seed)
        trained, tested = (
            encode_examples(
                encoder, [examples[row] for row in rows], ledger, skip_bad=settings.skip_bad, progress=progress
            )
            for rows in (train, test)
        )
        rows = evaluate_probe(trained, tested, classes, ledger, seed=settings.seed)
        seen = read_seen(settings.seen, settings.model, ledger, progress)
        facts = {"part": how, "classes": classes, "inverse_penalty": ledger.facts["inverse penalty"]}
        result = account("probe", encoder, tested, settings.data, rows, ledger, seen=seen, **facts)
        finish(settings.out, result, table(rows), ledger)

    return run_evaluation("evaluate probe", settings, inputs(settings), work)


VERB = Verb(
    "evaluate probe",
    "Classify images by a linear probe and nearest neighbours on frozen features.",
    Settings,
    run,
    example="chorograph evaluate probe --model colour --data EuroSAT --out probe",
)
