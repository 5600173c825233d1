"""`localize`: find in a large image what a sentence says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.errors import SettingError
from chorograph.ground.settings import Range, between, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph localize`."""

    image: Path = setting(help="the image: GeoTIFF (read by windows), JPEG or PNG")
    text: str = setting(help="what to look for, in a sentence")
    model: str = setting(help="an encoder of images and texts: open_clip:NAME/TAG, or a checkpoint folder")
    out: Path = setting(help="folder for the heat map, the overlay, the peaks and the manifest")
    steps: list[int] = setting([256, 512, 768], help="sides of the windows, in pixels", within=between(16, 4096))
    level: float = setting(
        0.75,
        help="a peak is a part of the map at this share of its maximum or above",
        within=Range(0, 1, low_open=True),
    )
    compat: bool = setting(False, help="the published arithmetic: windows of 256 px, a map of 8 bits, median of 251 px")
    device: str = setting("cpu", help="torch device of the model: cpu, cuda")


def inputs(settings: Settings) -> list[Path]:
    """Return the image, and the model where it is a folder."""
    return [settings.image, *([Path(settings.model)] if Path(settings.model).is_dir() else [])]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Write heat map, overlay, peaks and manifest into `settings.out`."""
    if not settings.text.strip():
        raise SettingError("options: say what to look for, in a sentence; the text is empty")

    def work(ledger: Ledger) -> None:
        from chorograph.models.encoders.registry import load_image_text_encoder
        from chorograph.searching.find import find_in_image

        encoder = load_image_text_encoder(settings.model, settings.device)
        find_in_image(
            settings.image,
            settings.text,
            encoder,
            settings.out,
            ledger,
            steps=settings.steps,
            level=settings.level,
            compat=settings.compat,
            tags={"sentence": settings.text, "model": settings.model, "compat": str(settings.compat)},
            progress=progress,
        )

    asked = {**plain(settings), "image": str(settings.image.resolve()), "out": str(settings.out.resolve())}
    return run_stage(
        "localize", manifest=settings.out / "manifest.json", config=asked, inputs=inputs(settings), work=work
    )


VERB = Verb(
    "localize",
    "Find in a large image what a sentence says: heat map, overlay, polygons.",
    Settings,
    run,
    ("image", "text"),
    'chorograph localize scene.tif "a football field beside a river" --model rsicd-coca --out found',
)
