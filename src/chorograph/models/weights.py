"""Reading weights that strangers made: safetensors, or pickles of tensors and nothing else."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from open_clip.convert import convert_state_dict
from open_clip.factory import convert_to_custom_text_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from chorograph.area.errors import InputError

_SHOWN = 8
#: What wraps every name of a table: a distributed run, Lightning, or one inside the other.
_PREFIXES = ("module.", "model.")
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

    Pickles are read with `weights_only=True`: a file that holds anything but tensors and plain containers is refused
    and nothing in it runs. A `state_dict` inside is found, and prefixes that every name has are dropped.
    Raises `InputError` naming the file.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a checkpoint folder, or a .safetensors, .pt or .bin file")
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path} holds more than tensors and was refused (weights_only): {_first(error)}") from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as weights: {_first(error)}") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{path} is not a table of named tensors")
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
    for scalar in ("logit_scale", "logit_bias"):
        if scalar in converted and scalar in wanted:
            converted[scalar] = converted[scalar].reshape(wanted[scalar].shape)
    problems = [
        f"{name} is {_shape(converted[name])}, the model has {_shape(wanted[name])}"
        for name in wanted
        if name in converted and converted[name].shape != wanted[name].shape
    ]
    problems += [f"{name} {_shape(wanted[name])} is missing" for name in wanted if name not in converted]
    problems += [f"{name} {_shape(converted[name])} is not in the model" for name in converted if name not in wanted]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InputError(
            f"{source} does not fit this architecture ({len(problems)} of {len(wanted)} tensors): "
            f"{'; '.join(problems[:_SHOWN])}{more}"
        )
    model.load_state_dict(converted)


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


def _first(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
