"""`evaluate zero-shot`: images classified by the prompts of their classes."""

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
    """Settings of `chorograph evaluate zero-shot`."""

    prompts: str = setting(
        "georsclip", help="prompt set: georsclip, satellite, name, or a text file, one template a line"
    )


def inputs(settings: Settings) -> list[Path]:
    """Return the data, what training saw, the model's files, and a file of prompts."""
    prompts = [path for path in (Path(settings.prompts),) if path.is_file()]
    return [*data_inputs(settings.data, settings.split), *settings.seen, *prompts, *model_inputs(settings.model)]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Classify, score, and write `scores.json`."""

    def work(ledger: Ledger) -> None:
        from chorograph.evaluation.accounting import account, table
        from chorograph.evaluation.examples.encoding import encode_examples
        from chorograph.evaluation.examples.layouts import of_role, read_classified
        from chorograph.evaluation.examples.seen import read_seen
        from chorograph.evaluation.prompts import load_prompts
        from chorograph.evaluation.suites.zero_shot import evaluate_zero_shot
        from chorograph.models.encoders.registry import load_image_text_encoder, warn_of_unknown

        templates = load_prompts(settings.prompts)
        examples = read_classified(settings.data, ledger, split=settings.split)
        classes = sorted({str(example.kind) for example in examples})
        chosen = of_role(examples, settings.role)
        encoder = load_image_text_encoder(settings.model, settings.device)
        encoded = encode_examples(encoder, chosen, ledger, skip_bad=settings.skip_bad, progress=progress)
        warn = ledger.warnings.append
        warn_of_unknown(encoder, classes, warn)
        rows = evaluate_zero_shot(
            encoder, encoded, classes, templates, seed=settings.seed, progress=progress, warn=warn
        )
        seen = read_seen(settings.seen, settings.model, ledger, progress)
        facts = {
            "part": settings.part(),
            "classes": classes,
            "prompts": settings.prompts,
            "templates": list(templates),
        }
        result = account("zero-shot", encoder, encoded, settings.data, rows, ledger, seen=seen, **facts)
        finish(settings.out, result, table(rows), ledger)

    return run_evaluation("evaluate zero-shot", settings, inputs(settings), work)


VERB = Verb(
    "evaluate zero-shot",
    "Classify images by the prompts of their classes.",
    Settings,
    run,
    example="chorograph evaluate zero-shot --model rsicd-coca --data rsicd --split by_class --out zero-shot",
)
