"""Reading weights that strangers made: safetensors, or pickles of tensors and nothing else."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy._core.multiarray import scalar
from open_clip.convert import convert_state_dict
from open_clip.factory import convert_to_custom_text_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn

from chorograph.ground.errors import InputError
from chorograph.ground.file_sorts import sort_of

_SHOWN = 8
#: What wraps every name of a table: a distributed run, Lightning, a compiled model, or one inside the other.
_PREFIXES = ("module.", "model.", "_orig_mod.")
#: Under what names training scripts keep the table inside their checkpoints.
_NESTS = ("state_dict", "model_state_dict", "model")
#: What training scripts leave beside their tensors and that can do nothing: arguments, and numbers of numpy's.
_HARMLESS = [
    argparse.Namespace,
    np.dtype,
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    *(getattr(np.dtypes, f"{kind}DType") for kind in ("Float64", "Float32", "Float16", "Int64", "Int32", "Bool")),
]
#: Numbers and masks that published CLIP files hold beside their weights, and that newer models make themselves.
_NOT_WEIGHTS = {
    "input_resolution",
    "context_length",
    "vocab_size",
    "attn_mask",
    "text.attn_mask",
    "text.transformer.embeddings.position_ids",
}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a `.safetensors`, `.pt`, `.bin` or `.pth` file.

    Pickles are read with `weights_only=True`: a file that holds more than tensors, plain containers, arguments and
    numbers is refused and nothing in it runs. A `state_dict` inside is found, and prefixes that every name has are
    dropped. Raises `InputError` naming the file.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a checkpoint folder, or a .safetensors, .pt or .bin file")
    if (sort := sort_of(path)) is not None:
        raise InputError(f"{path} is no table of weights but {sort}")
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with torch.serialization.safe_globals(_HARMLESS):
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found is None:
            raise InputError(f"{path} cannot be read as weights: it is no PyTorch file, or damaged") from error
        raise InputError(f"{path} holds more than tensors and was refused (weights_only): {found.group(1)}") from error
    except Exception as error:
        raise InputError(f"{path} cannot be read as weights: {_said(error)}") from error
    outside = content
    while isinstance(content, Mapping):
        inner = next((content[key] for key in _NESTS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{path} is not a table of named tensors; {_held(outside)}")
    weights = {str(name): tensor for name, tensor in content.items()}
    while start := next((p for p in _PREFIXES if all(name.startswith(p) for name in weights)), ""):
        weights = {name.removeprefix(start): tensor for name, tensor in weights.items()}
    return weights


def apply_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Put weights into a model; `InputError` listing what does not fit where anything does not.

    Layouts that open_clip converts are converted: CLIP weights for a model whose text tower stands apart, OpenAI's and
    other published ones; a scale of shape (1,) for one without a shape.
    """
    converted: dict[str, Tensor] = dict(convert_state_dict(model, dict(weights)))
    wanted = model.state_dict()
    converted = {name: tensor for name, tensor in converted.items() if name in wanted or name not in _NOT_WEIGHTS}
    if "positional_embedding" in converted and "positional_embedding" not in wanted:
        converted = dict(convert_to_custom_text_state_dict(converted))
    for number in ("logit_scale", "logit_bias"):
        if number in converted and number in wanted:
            converted[number] = converted[number].reshape(wanted[number].shape)
    problems = [
        f"{name} is {_shape(converted[name])}, the model has {_shape(wanted[name])}"
        for name in wanted
        if name in converted and converted[name].shape != wanted[name].shape
    ]
    problems += [f"{name} {_shape(wanted[name])} is missing" for name in wanted if name not in converted]
    problems += [f"{name} {_shape(converted[name])} is not in the model" for name in converted if name not in wanted]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        names = fitting_architectures(weights)
        hint = f"; by its shapes it is one of {', '.join(names[:_SHOWN])}" if names else ""
        raise InputError(
            f"{source} does not fit this architecture ({len(problems)} of {len(wanted)} tensors): "
            f"{'; '.join(problems[:_SHOWN])}{more}{hint}{_prefix_hint(converted, wanted)}"
        )
    _check_numbers({name: converted[name] for name in wanted if wanted[name].is_floating_point()}, source)
    model.load_state_dict(converted)


def check_whole(model: nn.Module, source: str) -> None:
    """Raise `InputError` naming a weight that was not loaded, or that holds no finite numbers: all would be NaN."""
    for name, weight in model.named_parameters():
        if weight.is_meta:
            raise InputError(f"{source}: {name} is missing among the weights; get them again")
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise InputError(f"{source}: {name} holds numbers that are not finite; get the weights again")


def _check_numbers(weights: Mapping[str, Tensor], source: str) -> None:
    """Raise `InputError` for whole numbers in the place of weights, and for what is not finite."""
    whole = [f"{name} ({tensor.dtype})" for name, tensor in weights.items() if not tensor.is_floating_point()]
    if whole:
        raise InputError(
            f"{source} holds whole numbers in the place of weights: {', '.join(whole[:_SHOWN])}; quantised weights "
            "mean nothing without their scales: get those in half or full precision"
        )
    if odd := [name for name, tensor in weights.items() if not torch.isfinite(tensor.float()).all()]:
        raise InputError(
            f"{source} holds numbers that are not finite in {len(odd)} of {len(weights)} tensors "
            f"({', '.join(odd[:_SHOWN])}): its training diverged; take an earlier one"
        )


def fitting_architectures(weights: Mapping[str, Tensor]) -> list[str]:
    """Return the architectures of open_clip that a table of a ViT's weights fits, going by widths, depths and patches.

    Those that differ in activation alone (`-quickgelu`) cannot be told apart by shapes: both are named.
    """
    tower = "text." if "text.token_embedding.weight" in weights else ""
    parts = ("visual.conv1.weight", "visual.proj", "visual.positional_embedding", f"{tower}token_embedding.weight")
    if any(part not in weights for part in parts) or weights[parts[0]].ndim != 4:
        return []
    patches, projection, places, words = (weights[part].shape for part in parts)
    found = (
        projection[-1],
        (patches[0], patches[-1], places[0], _depth(weights, "visual.transformer.resblocks.")),
        (words[1], words[0], _depth(weights, f"{tower}transformer.resblocks.")),
        any(name.startswith("text_decoder.") for name in weights),
    )
    return [name for name in open_clip.list_models() if _described(open_clip.get_model_config(name)) == found]


def _described(config: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return what `fitting_architectures` compares; None for towers that are not open_clip's own."""
    image, text = config["vision_cfg"], config["text_cfg"]
    size, patch, layers = image.get("image_size", 224), image.get("patch_size", 16), image.get("layers", 12)
    if (
        "timm_model_name" in image
        or "hf_model_name" in text
        or not all(isinstance(n, int) for n in (size, patch, layers))
    ):
        return None
    return (
        config["embed_dim"],
        (image.get("width", 768), patch, (size // patch) ** 2 + 1, layers),
        (text.get("width", 512), text.get("vocab_size", 49408), text.get("layers", 12)),
        "multimodal_cfg" in config,
    )


def _depth(weights: Mapping[str, Tensor], start: str) -> int:
    return len({name.removeprefix(start).split(".")[0] for name in weights if name.startswith(start)})


def weights_digest(model: nn.Module) -> str:
    """Return the hex SHA-256 of a model's names, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name}\0{plain.dtype}\0{tuple(plain.shape)}\0".encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return digest.hexdigest()


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _said(error: Exception) -> str:
    """Return the first line of a library's error; never its advice to read files of strangers without safety."""
    first = str(error).strip().split("\n")[0][:200]
    return "it is no PyTorch file, or damaged" if "weights_only" in first or not first else first


def _held(content: Any) -> str:
    """Say what a file holds in the place of weights, and which part of it would be some."""
    if not isinstance(content, Mapping):
        return f"it holds a {type(content).__name__}"
    names = list(map(str, content)) or ["nothing"]
    tables = [
        name
        for name, part in content.items()
        if isinstance(part, Mapping) and part and all(isinstance(value, Tensor) for value in part.values())
    ]
    remedy = f"; save {' or '.join(map(repr, tables))} by itself, which is one" if tables else ""
    return f"it has: {', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}{remedy}"


def _prefix_hint(converted: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """Name the prefix without which more of the tensors would fit, or nothing."""
    starts = {name.partition(".")[0] for name in converted}
    prefix = f"{next(iter(starts), '')}."
    bare = {name.removeprefix(prefix) for name in converted}
    if len(starts) != 1 or len(bare & wanted.keys()) <= len(converted.keys() & wanted.keys()):
        return ""
    return (
        f"; every name in it begins with {prefix!r}: without that, {len(bare & wanted.keys())} of {len(wanted)} "
        "fit by name; take it off and save them anew"
    )
