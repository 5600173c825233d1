"""`embed`: an area's images or captions into vectors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chorograph.ground.settings import SEEDS, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph embed`."""

    area: Path = setting(help="the area folder")
    model: str = setting(
        "default", help="encoder: default, colour, rcf:K, open_clip:NAME/TAG, a checkpoint folder, a+b"
    )
    of: str = setting(
        "images",
        help="what is encoded: images, or their captions (by lsa:K, or a model with a text tower)",
        choices=("images", "captions"),
    )
    view: str = setting("satellite", help="which images", choices=("satellite", "street"))
    device: str = setting("auto", help="torch device for encoders that use one: auto, cpu, cuda")
    engine: str = setting(
        "plain",
        help="how images are encoded: plain (a loop), or a Daft plan for millions of them, native or ray",
        choices=("plain", "native", "ray"),
    )
    ray_address: str | None = setting(None, help="a Ray cluster, HOST:PORT or auto; default: one on this machine")
    seed: int = setting(0, help="decides which images an encoder is fitted on", within=SEEDS)


def inputs(settings: Settings) -> list[Path]:
    """Return the tables of what is encoded, and the folders of checkpoints."""
    from chorograph.models.encoders.registry import BF16

    folders = [Path(part.removesuffix(BF16)) for part in settings.model.split("+")]
    tables = ("images",) if settings.of == "images" else ("images", "captions")
    files = [settings.area / f"{name}.parquet" for name in tables]
    return [*files, *_unhashed(settings.area), *(path for path in folders if path.is_dir())]


def _unhashed(area: Path) -> list[Path]:
    """Return the folder of images where the table does not say by hashes what they hold."""
    from chorograph.area.folder import Area

    images = Area.open(area).images
    return [area / "images"] if (images["uri"].notna() & images["sha256"].isna()).any() else []


def run(settings: Settings, progress: Progress) -> Outcome:
    """Encode; the manifest lies beside the vectors, as `SLUG.manifest.json`."""
    from chorograph.area.folder import Area
    from chorograph.embedding.texts import text_name
    from chorograph.models.encoders.kept import stored_as
    from chorograph.models.encoders.registry import resolve

    area = Area.open(settings.area)
    asked = replace(settings, model=resolve(settings.model))
    captions = asked.of == "captions"

    def work(ledger: Ledger) -> None:
        from chorograph.embedding.run import embed_images
        from chorograph.embedding.texts import embed_captions

        shared: dict[str, Any] = {"view": asked.view, "device": asked.device, "seed": asked.seed, "progress": progress}
        if captions:
            embed_captions(area, asked.model, ledger, **shared)
        else:
            plan: dict[str, Any] = {"engine": asked.engine, "ray_address": asked.ray_address}
            embed_images(area, asked.model, ledger, **shared, **plan)

    stored = text_name(asked.model) if captions else stored_as(asked.model, asked.view)
    return run_stage(
        "embed",
        manifest=area.embeddings_path(stored).with_suffix(".manifest.json"),
        # On which engine it ran changes no vector.
        config={name: value for name, value in plain(asked).items() if name not in ("engine", "ray_address")},
        inputs=inputs(asked),
        work=work,
    )


VERB = Verb(
    "embed",
    "Encode an area's images, each content once.",
    Settings,
    run,
    ("area",),
    "chorograph embed my-area --model default",
)
