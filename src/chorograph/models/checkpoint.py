"""Checkpoint folders: weights, configuration, tokenizer, card and history together, written whole or not at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from chorograph.ground.drafts import contents
from chorograph.ground.errors import InputError
from chorograph.ground.files import (
    atomic_folder,
    atomic_path,
    check_regular,
    naming_damage,
    write_json,
    write_json_lines,
)
from chorograph.models.coca.tokenizer import Tokenizer, WordTokenizer
from chorograph.models.coca.towers import build
from chorograph.models.described import PREPROCESSING, check_architecture, read_described, shipped_tokenizer
from chorograph.models.encoders.open_clip import ImageTextModel, OpenClipEncoder, check_vocabulary
from chorograph.models.encoders.protocols import SEEN
from chorograph.models.preprocessing import Preprocessing
from chorograph.models.weights import apply_weights, read_weights

FORMAT = "chorograph-checkpoint-1"
_WEIGHTS, _CONFIG, _TOKENIZER, _CARD, _HISTORY = (
    "model.safetensors",
    "config.json",
    "tokenizer.json",
    "card.md",
    "history.jsonl",
)
_SHAPE = {
    "architecture": str, "model": {str: object}, "preprocessing": PREPROCESSING, "tokenizer": str, "seed?": int,
}  # fmt: skip
_OURS = {_WEIGHTS, _CONFIG, _TOKENIZER, _CARD, _HISTORY, SEEN, "manifest.json"}


def check_target(folder: Path) -> None:
    """Raise `InputError` unless `folder` is absent, empty, or a checkpoint with nothing else in it."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; a checkpoint is a folder")
    foreign = [name for name in contents(folder) if name not in _OURS]
    if foreign:
        raise InputError(f"{folder} holds {foreign[0]!r}, which no checkpoint has; choose another folder or empty it")


def save_checkpoint(
    folder: Path,
    loaded: ImageTextModel,
    *,
    facts: Mapping[str, Any],
    card: str,
    history: Sequence[Mapping[str, Any]],
    seen: Collection[str] = (),
) -> None:
    """Write a checkpoint folder; an earlier checkpoint there is replaced once the new one is complete.

    `facts` (objective, seed, versions, data) goes into `config.json` beside what rebuilds the model; `seen` are the
    hashes of the images trained on.
    """
    check_target(folder)
    with atomic_folder(folder, replace=True) as draft:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in loaded.model.state_dict().items()}
        with atomic_path(draft / _WEIGHTS) as temporary:  # readable by others, as `save_file` alone would not leave it
            save_file(tensors, temporary, metadata={"format": "pt"})
        compact = isinstance(loaded.tokenizer, WordTokenizer)
        if isinstance(loaded.tokenizer, WordTokenizer):
            loaded.tokenizer.write(draft / _TOKENIZER)
        described = {
            "format": FORMAT,
            "architecture": loaded.architecture,
            "model": dict(loaded.config),
            "preprocessing": loaded.preprocessing.settings(),
            "tokenizer": _TOKENIZER if compact else f"open_clip:{loaded.architecture}",
            **facts,
        }
        write_json(draft / _CONFIG, described)
        (draft / _CARD).write_text(card, encoding="utf-8")
        write_json_lines(draft / _HISTORY, history)
        write_seen(draft, seen)


def write_seen(folder: Path, hashes: Collection[str]) -> Path:
    """Write the hashes of the images that a model was trained on, a line each; returns the file."""
    with atomic_path(folder / SEEN) as temporary:
        temporary.write_text("".join(f"{sha256}\n" for sha256 in sorted(set(hashes))), encoding="ascii")
    return folder / SEEN


def load_checkpoint(folder: Path, device: str = "cpu") -> ImageTextModel:
    """Load a checkpoint folder, ready to encode; `InputError` naming the file where it is damaged."""
    path, weights = folder / _CONFIG, folder / _WEIGHTS
    config = read_described(path, FORMAT, "a checkpoint's configuration", _SHAPE)
    check_regular(weights)
    check_architecture(config["model"], path, weights.stat().st_size)
    with naming_damage(path, "the description of a model", "train it again, or get the file again"):
        model = build(config["model"], config.get("seed", 0))
        preprocessing = Preprocessing.of(config["preprocessing"])
    architecture, named = config["architecture"], config["tokenizer"]
    ours = named == _TOKENIZER
    tokenizer: Tokenizer = WordTokenizer.read(folder / _TOKENIZER) if ours else shipped_tokenizer(named, path)
    check_vocabulary(config["model"], tokenizer, str(path))
    apply_weights(model, read_weights(weights), str(weights))
    model.to(device).eval()
    return ImageTextModel(architecture, config["model"], model, preprocessing, tokenizer)


def load_checkpoint_encoder(folder: Path, device: str = "cpu") -> OpenClipEncoder:
    """Load a checkpoint folder as an encoder of images, named like the folder."""
    return OpenClipEncoder(str(folder), load_checkpoint(folder, device))
