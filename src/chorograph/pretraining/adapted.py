"""Writing what was trained on top of a model that lies elsewhere: the adapter, how it came about, its card."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chorograph.ground.drafts import share
from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_folder, write_json, write_json_lines
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger
from chorograph.models.encoders.protocols import SEEN
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.feeds.read import Data

FORMAT = "chorograph-adapted-1"
_FACTS = "training.json"


@dataclass(frozen=True)
class Written:
    """What is said of it: what `kind` of thing it is, how it is used, and how it came about."""

    kind: str
    use: str
    config: PretrainConfig
    data: Data
    ledger: Ledger
    history: Sequence[dict[str, Any]]


def write_folder(out: Path, save: Callable[[Path], None], said: Written) -> list[Path]:
    """Let `save` fill a new folder, write the rest beside, and put it in the place of `out`; returns the files.

    Raises `InputError` where `out` is something else than an earlier result of this.
    """
    if out.exists() and any(out.iterdir()) and not (out / _FACTS).is_file() and not (out / "manifest.json").is_file():
        raise InputError(f"{out} holds something else; choose another folder or empty it")
    fresh = out.with_name(f".{out.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    facts = {
        "format": FORMAT,
        "kind": said.kind,
        "base": str(said.config.init),
        "objective": said.config.objective,
        "settings": plain(said.config),
        "held_out": said.data.how,
        "counts": dict(said.ledger.counts),
        "dropped": dict(said.ledger.dropped),
        "versions": {name: version(name) for name in ("chorograph", "torch")},
    }
    with atomic_folder(fresh) as draft:
        save(draft)
        share(draft)
        write_json(draft / _FACTS, facts)
        write_json_lines(draft / "history.jsonl", said.history)
        (draft / "README.md").write_text(_card(said), encoding="utf-8")
        (draft / SEEN).write_text("".join(f"{sha256}\n" for sha256 in sorted(set(said.data.seen))), encoding="ascii")
    if out.exists():
        shutil.rmtree(out)
    fresh.replace(out)
    return sorted(path for path in out.rglob("*") if path.is_file())


def _card(said: Written) -> str:
    losses = ", ".join(f"{name} {value}" for name, value in said.history[-1].items() if name.endswith("_loss"))
    sources = "\n".join(f"- {s.name}: licence {s.licence}. {s.attribution}".rstrip() for s in said.data.sources)
    made_up = "The data is **synthetic**.\n\n" if said.data.synthetic else ""
    return f"""# {said.kind} on {said.data.title}

Begun with {said.config.init}; {said.ledger.counts.get("parameters trained", 0):,} parameters trained for
{said.config.epochs} epochs on {said.ledger.counts.get("images trained on", 0):,} images (seed {said.config.seed}).
Last epoch: {losses}. Held out: {said.data.how}.

{made_up}## Data

{sources or "- no source is named"}

## Use

{said.use}
"""
