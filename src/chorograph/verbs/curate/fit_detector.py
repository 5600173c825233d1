"""`curate fit-detector`: a linear head on an encoder, fitted on images that show a topic and images that do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorograph.ground.errors import InputError
from chorograph.ground.settings import SEEDS, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph curate fit-detector`."""

    positive: Path = setting(help="images that show the topic: a folder, an area or corpus, or a shard")
    negative: Path = setting(help="images that do not")
    out: Path = setting(Path("detector"), help="folder for the fitted head")
    model: str = setting("efficientnet-lite0", help="the encoder under the head; any that needs no fitting")
    device: str = setting("cpu", help="where the encoder runs")
    seed: int = setting(0, help="what shares out train, validation and test", within=SEEDS)


def inputs(settings: Settings) -> list[Path]:
    """Return the two sets of images."""
    return [settings.positive, settings.negative]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Fit the head on a model by name."""
    from functools import partial

    from chorograph.models.encoders.registry import load_encoder

    return fit_with(settings, progress, partial(load_encoder, device=settings.device))


def fit_with(settings: Settings, progress: Progress, load_encoder: Callable[[str], Any]) -> Outcome:
    """Fit the head; its held-out accuracy is reported. `load_encoder`: from a name to an encoder."""

    def work(ledger: Ledger) -> None:
        from chorograph.curation.steps.detector import fit_detector, write_detector
        from chorograph.curation.steps.encoding import encode_pictures

        encoder = load_encoder(settings.model)
        if any(hasattr(part, "fit") for part in getattr(encoder, "parts", (encoder,))):
            raise InputError(f"{settings.model} must be fitted on an area first; use colour or a model with weights")
        shown, other = (encode_pictures(path, encoder, ledger, progress) for path in inputs(settings))
        head, report = fit_detector(shown, other, encoder.name, encoder.fingerprint, settings.seed)
        write_detector(settings.out, head, report)
        ledger.facts.update(report)
        ledger.outputs += [settings.out / "detector.json", settings.out / "detector.npz"]

    return run_stage(
        "fit-detector",
        manifest=settings.out / "manifest.json",
        config=plain(settings),
        inputs=inputs(settings),
        work=work,
    )


VERB = Verb(
    "curate fit-detector",
    "Fit a detector of a topic on images that show it and images that do not.",
    Settings,
    run,
    ("positive", "negative"),
    "chorograph curate fit-detector aerial other --out detector",
)
