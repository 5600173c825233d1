"""`export`: a checkpoint as other libraries load it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, make_folder
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

    def work(ledger: Ledger, out: Path) -> None:
        from chorograph.ground.drafts import share
        from chorograph.ground.files import read_text
        from chorograph.models.checkpoint import load_checkpoint
        from chorograph.models.export import EXPORTS

        loaded = load_checkpoint(settings.checkpoint)
        card = settings.checkpoint / "card.md"
        said = read_text(card) if card.is_file() else ""
        ledger.facts["largest difference of features"] = EXPORTS[settings.to](loaded, out, said)
        share(out)
        ledger.outputs += sorted(path for path in out.iterdir() if path.is_file())

    return make_folder("export", out=settings.out, config=plain(settings), inputs=inputs(settings), work=work)


VERB = Verb(
    "export",
    "Write a checkpoint as open_clip or Hugging Face's transformers load it, compared before it is kept.",
    Settings,
    run,
    ("checkpoint",),
    "chorograph export coca-vit --to open_clip --out for-open-clip",
)
