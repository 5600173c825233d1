"""`export`: a checkpoint as other libraries load it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph export`."""

    checkpoint: Path = setting(help="a checkpoint folder, as `pretrain` writes it")
    to: str = setting(
        "open_clip",
        help="open_clip: a folder for create_model_and_transforms('local-dir:OUT'); huggingface: one for transformers",
        choices=("open_clip", "huggingface"),
    )
    out: Path = setting(help="folder to write; must not exist yet")


def inputs(settings: Settings) -> list[Path]:
    """Return the checkpoint."""
    return [settings.checkpoint]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Write the folder, load it with the other library, and compare features; the manifest says how far they are."""

    def work(ledger: Ledger) -> None:
        from chorograph.ground.drafts import share
        from chorograph.ground.files import atomic_folder
        from chorograph.models.checkpoint import load_checkpoint
        from chorograph.models.export import EXPORTS

        loaded = load_checkpoint(settings.checkpoint)
        card = settings.checkpoint / "card.md"
        with atomic_folder(settings.out) as draft:
            said = card.read_text(encoding="utf-8") if card.is_file() else ""
            share(draft)
            ledger.facts["largest difference of features"] = EXPORTS[settings.to](loaded, draft, said)
        ledger.outputs += sorted(path for path in settings.out.iterdir() if path.is_file())

    manifest = settings.out / "manifest.json"
    return run_stage("export", manifest=manifest, config=plain(settings), inputs=inputs(settings), work=work)


VERB = Verb(
    "export",
    "Write a checkpoint as open_clip or Hugging Face's transformers load it, compared before it is kept.",
    Settings,
    run,
    ("checkpoint",),
    "chorograph export coca-vit --to open_clip --out for-open-clip",
)
