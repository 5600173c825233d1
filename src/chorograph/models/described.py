"""Descriptions of models at the door: what a configuration may ask for, before anything is built from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import open_clip

from chorograph.ground.errors import InputError
from chorograph.ground.file_sorts import sort_of_folder
from chorograph.ground.files import read_json
from chorograph.ground.schema import OneOf, check
from chorograph.models.coca.tokenizer import Tokenizer
from chorograph.models.coca.towers import SMALL

#: What a checkpoint says of its images; see `Preprocessing`.
PREPROCESSING = {
    "size": object, "mean": [float], "std": [float], "fill_color?": int,
    "interpolation?": OneOf(("bicubic", "bilinear", "random")),
    "resize_mode?": OneOf(("shortest", "longest", "squash")),
}  # fmt: skip
_WHOLE = {"width?": int, "layers?": (int, list), "heads?": int, "context_length?": int, "vocab_size?": int}
_TOWER = {**_WHOLE, "timm_model_name?": str, "embed_dim?": int, "mlp_ratio?": float}
_MODEL = {
    "embed_dim": int, "vision_cfg": {**_TOWER, "patch_size?": object, "image_size?": object},
    "text_cfg": _TOWER, "multimodal_cfg?": _TOWER,
}  # fmt: skip
#: No tower is larger in any of these, and none of them is below 1.
_LARGEST = {"width": 16_384, "heads": 256, "context_length": 65_536, "vocab_size": 4_000_000, "embed_dim": 65_536}
_LAYERS, _SIDE, _CHANNELS = 512, 8_192, 4
#: Settings by which open_clip fetches a tower or a tokenizer.
_FETCHED = ("hf_model_name", "hf_tokenizer_name", "hf_model_pretrained", "hf_hub_prefix")


def read_described(path: Path, wanted: str, what: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Read a description of the format `wanted`; `InputError` naming the file, and what in it is of another form."""
    if path.parent.is_dir() and not path.exists() and (sort := sort_of_folder(path.parent)) is not None:
        raise InputError(f"{path.parent} is no checkpoint, it is {sort}")
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != wanted:
        sort = sort_of_folder(path.parent)
        raise InputError(f"{path} is not {what} ({wanted}){f'; the folder is {sort}' if sort else ''}")
    checked: dict[str, Any] = check(content, dict(schema), str(path))
    if "preprocessing" in schema:
        _check_preprocessing(checked["preprocessing"], path)
    return checked


def check_architecture(model: Mapping[str, Any], path: Path, weights_bytes: int) -> None:
    """Raise `InputError` naming the file where a model's description asks for a hub, or for more than its weights hold.

    A hub is asked by a tower or tokenizer of Hugging Face. The rest is arithmetic: a transformer of width w and n
    layers has at least 4 n w^2 numbers, a vocabulary of v words v w.
    """
    check(model, _MODEL, f"{path}: model")
    least = 0
    for name in ("vision_cfg", "text_cfg", "multimodal_cfg"):
        tower = model.get(name) or {}
        if fetched := [key for key in _FETCHED if tower.get(key)]:
            raise InputError(
                f"{path}: model.{name}.{fetched[0]} is {tower[fetched[0]]!r}, a tower from a hub; a checkpoint is read "
                "from its folder alone, and nothing is fetched for it"
            )
        _check_sizes(tower, f"{path}: model.{name}")
        width, layers = tower.get("width"), tower.get("layers")
        if isinstance(width, int) and isinstance(layers, int) and "timm_model_name" not in tower:
            least += 4 * layers * width**2 + (width * (tower.get("vocab_size") or 0) if name == "text_cfg" else 0)
    if least > weights_bytes:  # a number takes a byte at least
        raise InputError(
            f"{path} describes a model of more than {least:,} numbers, and its weights hold {weights_bytes:,} bytes"
        )


def shipped_tokenizer(named: str, path: Path) -> Tokenizer:
    """Return open_clip's tokenizer of an architecture; `InputError` naming the file for one that would be fetched."""
    name = named.removeprefix("open_clip:")
    if name in SMALL:
        return cast(Tokenizer, open_clip.SimpleTokenizer())
    config = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if config is None or any((config.get("text_cfg") or {}).get(key) for key in _FETCHED):
        raise InputError(
            f"{path}: the tokenizer {named!r} does not ship with open_clip and would come from a hub; "
            "nothing is fetched for a checkpoint"
        )
    tokenizer: Tokenizer = open_clip.get_tokenizer(name)
    return tokenizer


def _check_sizes(tower: Mapping[str, Any], where: str) -> None:
    for key, most in _LARGEST.items():
        value = tower.get(key)
        if value is not None and not 1 <= value <= most:
            raise InputError(f"{where}.{key} must lie between 1 and {most:,}, not {value!r}")
    layers = tower.get("layers")
    for number in layers if isinstance(layers, list) else [layers] if layers is not None else []:
        _check_whole(number, _LAYERS, f"{where}.layers")
    for key in ("image_size", "patch_size"):
        value = tower.get(key)
        for number in value if isinstance(value, list) else [value] if value is not None else []:
            _check_whole(number, _SIDE, f"{where}.{key}")


def _check_preprocessing(said: Mapping[str, Any], path: Path) -> None:
    size = said["size"]
    for number in size if isinstance(size, list) else [size]:
        _check_whole(number, _SIDE, f"{path}: preprocessing.size")
    if isinstance(size, list) and len(size) != 2:
        raise InputError(f"{path}: preprocessing.size is a height and a width, not {size!r}")
    for name in ("mean", "std"):
        if not 1 <= len(said[name]) <= _CHANNELS or (name == "std" and min(said[name]) <= 0):
            raise InputError(f"{path}: preprocessing.{name} is a number a colour, not {said[name]!r}")


def _check_whole(value: Any, most: int, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InputError(f"{where} must be a whole number between 1 and {most:,}, not {value!r}")
