"""`evaluate generated`: generated pictures beside a folder of real ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.files import write_json
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.evaluate.settings import model_inputs
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph evaluate generated`."""

    pictures: Path = setting(help="a folder that `generate` wrote")
    real: Path = setting(help="a folder of real images of the same kind")
    model: str = setting(help="the network whose features are compared: an encoder's name; with texts, CLIPScore too")
    out: Path = setting(help="folder for scores.json and manifest")
    device: str = setting("cpu", help="torch device of the model: cpu, cuda")


def inputs(settings: Settings) -> list[Path]:
    """Return both folders and the model."""
    return [settings.pictures, settings.real, *model_inputs(settings.model)]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Write the Frechet distance, and the CLIPScore where the model reads texts; both say by which network."""

    def work(ledger: Ledger) -> None:
        from chorograph.evaluation.suites import generated
        from chorograph.models.encoders.registry import load_encoder

        encoder = load_encoder(settings.model, device=settings.device)
        files, prompts = generated.read_pictures(settings.pictures)
        real = generated.real_pictures(settings.real)
        made = generated.features_of(encoder, files)
        ledger.count("pictures", len(files))
        ledger.count("real images", len(real))
        distance = generated.frechet_distance(generated.features_of(encoder, real), made)
        scores: dict[str, object] = {"features": settings.model, "frechet_distance": distance}
        if hasattr(encoder, "encode_texts"):
            scores["clip_score"] = generated.clip_score(made, encoder.encode_texts(prompts))
        if min(len(files), len(real)) < 2048:
            ledger.warnings.append("fewer than 2,048 pictures of a kind: the Frechet distance is biased upwards")
        ledger.facts.update(scores)
        settings.out.mkdir(parents=True, exist_ok=True)
        write_json(settings.out / "scores.json", scores)
        ledger.outputs.append(settings.out / "scores.json")

    manifest = settings.out / "manifest.json"
    asked = plain(settings)
    return run_stage("evaluate generated", manifest=manifest, config=asked, inputs=inputs(settings), work=work)


VERB = Verb(
    "evaluate generated",
    "Set generated pictures beside real ones: Frechet distance by a named network, CLIPScore.",
    Settings,
    run,
    ("pictures",),
    "chorograph evaluate generated pictures --real tiles --model open_clip:ViT-B-32/openai --out judged",
)
