"""`generate`: pictures from words, marked as generated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import SEEDS, above, at_least, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, make_folder, run_stage
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph generate`."""

    prompt: str = setting(help="what is to be seen")
    model: str = setting(
        help="a Stable Diffusion of diffusers by its folder, or FOLDER+TRAINED with what `pretrain --objective "
        "diffusion` wrote"
    )
    out: Path = setting(help="folder to write: PNG files, a contact sheet, pictures.json")
    number: int = setting(8, help="pictures", within=at_least(1))
    seed: int = setting(0, help="decides the first picture; the next one is that of the next seed", within=SEEDS)
    steps: int = setting(30, help="steps of taking out noise", within=at_least(1))
    guidance: float = setting(7.5, help="how closely the words are followed", within=above(0))
    side: int | None = setting(None, help="side of the pictures in pixels; unset: the model's", within=at_least(8))
    area: Path | None = setting(None, help="write the pictures as an area too, of source generated")
    device: str = setting("auto", help="torch device: auto, cpu, cuda")


def inputs(settings: Settings) -> list[Path]:
    """Return the model's folders."""
    return [Path(part) for part in settings.model.split("+")]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Draw the pictures; the manifest lies beside them."""

    def work(ledger: Ledger) -> None:
        from chorograph.generation.corpus import write_corpus
        from chorograph.generation.pictures import draw, write_pictures
        from chorograph.models.devices import device_of
        from chorograph.models.diffusion.pipeline import load_diffusion

        pictures = draw(
            load_diffusion(settings.model, device_of(settings.device)), settings.model, settings.prompt,
            settings.number, seed=settings.seed, steps=settings.steps, guidance=settings.guidance, side=settings.side,
            progress=progress,
        )  # fmt: skip
        ledger.count("pictures", len(pictures))
        ledger.outputs += write_pictures(settings.out, pictures)
        if settings.area is not None:
            make_folder(
                "generate", out=settings.area, config=plain(settings), inputs=inputs(settings),
                work=lambda ledger, area: write_corpus(area, pictures),
            )  # fmt: skip
            ledger.outputs.append(settings.area / "images.parquet")

    manifest = settings.out / "manifest.json"
    return run_stage("generate", manifest=manifest, config=plain(settings), inputs=inputs(settings), work=work)


VERB = Verb(
    "generate",
    "Draw pictures from words with a Stable Diffusion; they say that they are generated.",
    Settings,
    run,
    ("prompt",),
    'chorograph generate "a harbour with docks" --model sd-2-1+rs-sd --number 8 --seed 0 --out pictures',
)
