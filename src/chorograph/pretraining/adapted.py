"""Training on top of a model that lies elsewhere, and writing what was trained: how it came about, and a card."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from chorograph.ground.drafts import share
from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_folder, write_json, write_json_lines
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Progress
from chorograph.models.checkpoint import write_seen
from chorograph.models.preprocessing import Preprocessing
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.feeds.feed import Batch, Batches
from chorograph.pretraining.feeds.read import Data, pairs_digest, read_pairs
from chorograph.pretraining.loop.objective import Objective
from chorograph.pretraining.loop.session import session, states_of

FORMAT = "chorograph-adapted-1"
_FACTS = "training.json"


@dataclass(frozen=True)
class Begun:
    """A model made ready: what is learnt, how images come, what `save` writes into a folder, how that is used."""

    objective: Objective[Batch]
    preprocessing: Preprocessing
    save: Callable[[Path], None]
    kind: str
    use: str
    lr: float


@dataclass(frozen=True)
class Written:
    """What is said of it: how it was begun, and how it came about."""

    begun: Begun
    config: PretrainConfig
    data: Data
    ledger: Ledger
    history: Sequence[dict[str, Any]]


def train_on_top(
    config: PretrainConfig, ledger: Ledger, progress: Progress, what: str, begin: Callable[[Path, str], Begun]
) -> list[Path]:
    """Train what `begin` makes of the folder `config.init` and a device, and write it; returns the files.

    Raises `InputError` without such a folder, of which `what` says what it holds, and for another adapter than LoRA.
    """
    if config.init is None or not config.init.is_dir():
        raise InputError(f"--objective {config.objective} begins with {what}: --init FOLDER")
    if config.adapter not in ("none", "lora"):
        raise InputError(f"--objective {config.objective} has --adapter lora or none, not {config.adapter}")
    with session(config, states_of(config.out), progress) as around:
        begun = begin(config.init, around.device)
        trained = sum(p.numel() for p in begun.objective.module.parameters() if p.requires_grad)
        ledger.count("parameters trained", trained)
        data = read_pairs(config, begun.preprocessing, ledger, around.progress)
        source = Batches(data.pairs, config.batch_size, config.seed, around.world, data.held, data.draw)
        state = around.train(begun.objective, source, config, config.lr or begun.lr, pairs_digest(data, config))
        ledger.facts["last epoch"] = state.history[-1]
        said = Written(begun, config, data, ledger, state.history)
        return write_folder(config.out, said) if around.world.first else []


def write_folder(out: Path, said: Written) -> list[Path]:
    """Write the folder, in the place of an earlier one; returns the files.

    Raises `InputError` where `out` is something else than an earlier result of this.
    """
    if out.exists() and any(out.iterdir()) and not (out / _FACTS).is_file() and not (out / "manifest.json").is_file():
        raise InputError(f"{out} holds something else; choose another folder or empty it")
    facts = {
        "format": FORMAT,
        "kind": said.begun.kind,
        "base": str(said.config.init),
        "objective": said.config.objective,
        "settings": plain(said.config),
        "held_out": said.data.how,
        "counts": dict(said.ledger.counts),
        "dropped": dict(said.ledger.dropped),
        "versions": {name: version(name) for name in ("chorograph", "torch")},
    }
    with atomic_folder(out, replace=True) as draft:
        said.begun.save(draft)
        share(draft)
        write_json(draft / _FACTS, facts)
        write_json_lines(draft / "history.jsonl", said.history)
        (draft / "README.md").write_text(_card(said), encoding="utf-8")
        write_seen(draft, said.data.seen)
    return sorted(path for path in out.rglob("*") if path.is_file())


def _card(said: Written) -> str:
    losses = ", ".join(f"{name} {value}" for name, value in said.history[-1].items() if name.endswith("_loss"))
    made_up = "The data is **synthetic**.\n\n" if said.data.synthetic else ""
    return f"""# {said.begun.kind} on {said.data.title}

Begun with {said.config.init}; {said.ledger.counts.get("parameters trained", 0):,} parameters trained for
{said.config.epochs} epochs on {said.ledger.counts.get("images trained on", 0):,} images (seed {said.config.seed}).
Last epoch: {losses}. Held out: {said.data.how}.

{made_up}## Data

{said.data.licences}

## Use

{said.begun.use}
"""
