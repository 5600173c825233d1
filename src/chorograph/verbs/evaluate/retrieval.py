"""`evaluate retrieval`: images found by their captions, and captions by their images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting
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
    """Settings of `chorograph evaluate retrieval`."""

    duplicates: str = setting(
        "shared",
        help="equal captions and images: shared (a caption is right for all its images), or separate, as published",
        choices=("shared", "separate"),
    )
    decoder: bool = setting(
        False, help="of a CoCa: score pairs also by contrast and the decoder's likelihood of the caption together"
    )


def inputs(settings: Settings) -> list[Path]:
    """Return the data, what training saw, and the model's files."""
    return [*data_inputs(settings.data, settings.split), *settings.seen, *model_inputs(settings.model)]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Search both ways, score, and write `scores.json`."""

    def work(ledger: Ledger) -> None:
        from chorograph.evaluation.accounting import account, table
        from chorograph.evaluation.examples.encoding import encode_examples
        from chorograph.evaluation.examples.layouts import of_role, read_captioned
        from chorograph.evaluation.examples.seen import read_seen
        from chorograph.evaluation.suites.retrieval import evaluate_retrieval
        from chorograph.models.encoders.registry import load_image_text_encoder

        examples = of_role(read_captioned(settings.data, ledger, split=settings.split), settings.role)
        encoder = load_image_text_encoder(settings.model, settings.device)
        encoded = encode_examples(encoder, examples, ledger, skip_bad=settings.skip_bad, progress=progress)
        rows = evaluate_retrieval(
            encoder,
            encoded,
            ledger,
            shared=settings.duplicates == "shared",
            decoder=settings.decoder,
            seed=settings.seed,
            progress=progress,
        )
        seen = read_seen(settings.seen, settings.model, ledger, progress)
        facts = {"part": settings.part(), "duplicates": settings.duplicates}
        result = account("retrieval", encoder, encoded, settings.data, rows, ledger, seen=seen, **facts)
        finish(settings.out, result, table(rows), ledger)

    return run_evaluation("evaluate retrieval", settings, inputs(settings), work)


VERB = Verb(
    "evaluate retrieval",
    "Find images by their captions and captions by their images.",
    Settings,
    run,
    example="chorograph evaluate retrieval --model rsicd-coca --data rsicd --split by_class --out retrieval",
)
