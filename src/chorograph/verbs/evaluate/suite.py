"""`evaluate suite`: a published suite, its published results beside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.errors import InputError
from chorograph.ground.settings import setting
from chorograph.ground.stage import Ledger, Outcome, Progress
from chorograph.verbs.evaluate.settings import ModelSettings, data_inputs, finish, model_inputs, run_evaluation
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings(ModelSettings):
    """Settings of `chorograph evaluate suite`."""

    suite: str = setting(help="which suite: georsclip", choices=("georsclip",))
    against: str = setting("auto", help="the published row beside it (`list published`); auto: by weights file or tag")


def inputs(settings: Settings) -> list[Path]:
    """Return the data, what training saw, and the model's files."""
    return [*data_inputs(settings.data), *settings.seen, *model_inputs(settings.model)]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Run every data set of the suite that is there, and write `scores.json`."""

    def work(ledger: Ledger) -> None:
        from chorograph.evaluation.examples.seen import read_seen
        from chorograph.evaluation.published import find_published, published, wrong_architecture
        from chorograph.evaluation.suites.suite import run_suite
        from chorograph.models.encoders.registry import load_image_text_encoder

        against = find_published(settings.against, settings.model)
        if warning := wrong_architecture(against, settings.model):
            ledger.warnings.append(warning)
        encoder = load_image_text_encoder(settings.model, settings.device)
        seen = read_seen(settings.seen, settings.model, ledger, progress)
        done = run_suite(
            encoder,
            settings.data,
            against,
            ledger,
            seen=seen,
            skip_bad=settings.skip_bad,
            seed=settings.seed,
            progress=progress,
        )
        if not done.results:
            raise InputError(
                f"{settings.data} holds none of the data sets of the suite; docs/how-to/weights.md shows the layout"
            )
        ledger.facts["absent"] = ", ".join(done.absent) or "none"
        columns = ["data set", "score", "measured", "95 % interval", against.name, "difference"]
        shown = {"columns": columns, "rows": done.table}
        result = {
            "task": f"suite {settings.suite}",
            "model": encoder.name,
            "against": {"name": against.name, "source": against.source},
            "absent": list(done.absent),
            "table": shown,
            "published": [
                {"name": row.name, "source": row.source, "scores": {" ".join(key): v for key, v in row.scores.items()}}
                for row in published()
            ],
            "results": done.results,
        }
        finish(settings.out, result, shown, ledger)

    return run_evaluation(f"evaluate suite {settings.suite}", settings, inputs(settings), work)


VERB = Verb(
    "evaluate suite",
    "Run a published suite; its published results stand beside.",
    Settings,
    run,
    ("suite",),
    "chorograph evaluate suite georsclip --model open_clip:ViT-B-32/RS5M_ViT-B-32.pt --data benchmarks --out suite",
)
