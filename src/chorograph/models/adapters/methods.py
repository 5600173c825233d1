"""Training few parameters of a large model: LoRA and its kin, biases, norms, bottlenecks, prefixes, all of it gated.

`peft` adapts the linear layers: LoRA, rsLoRA, DoRA, IA3. The packed weights of `nn.MultiheadAttention` are adapted by
parametrizations of ours (`models/adapters/layers.py`): peft 0.21 has neither DoRA nor IA3 for them, and its LoRA
counts the output projection twice and lets frozen weights drift (docs/explanation/decisions/0008-lora-in-attention.md).
Bottlenecks, prefixes and UniPELT, which it has not for open_clip's towers, are ours too. All else of the model is
frozen, scale and projections included.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from open_clip.transformer import ResidualAttentionBlock
from peft import IA3Config, LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.files import atomic_path, read_json, write_json
from chorograph.ground.schema import check
from chorograph.models.adapters.layers import (
    AdaptedAttention,
    AttentionAdapter,
    Bottleneck,
    Dora,
    LowRank,
    Scale,
    ScaleAlike,
)
from chorograph.models.weights import check_whole, read_weights

#: Width of a layer over that of its bottleneck, and prefix vectors a layer: the defaults of AdapterHub.
REDUCTION, PREFIX, GATED_PREFIX = 16, 30, 10
FORMAT = "chorograph-adapter-1"
_WEIGHTS, _SETTINGS = "adapter.safetensors", "adapter.json"
_SHAPE = {"kind": str, "towers": [str], "rank": int, "seed": int, "base?": str, "base_sha256?": str}


#: By what one sees that a model is adapted; biases and norms add nothing to it.
_ADDED = (BaseTunerLayer, AdaptedAttention, Bottleneck, parametrize.ParametrizationList)


@dataclass(frozen=True)
class Adapter:
    """Which adapter, in which towers; `rank` is that of lora, rslora, dora and unipelt, `seed` draws its weights."""

    kind: str
    towers: tuple[str, ...] = ()
    rank: int = 8
    seed: int = 0


def add_adapter(model: nn.Module, adapter: Adapter) -> dict[str, int]:
    """Freeze a CLIP or CoCa and add the adapter, in place; returns the number of trained parameters of each tower.

    Towers are image, text and, of a CoCa, decoder; none named means all. The model computes what it did before, but for
    prefixes, which cannot be neutral. Raises `UnknownNameError`, and `InputError` where a tower would train nothing;
    the model is then of no further use.
    """
    if adapter.kind not in ADAPTERS:
        raise UnknownNameError.of("adapter", adapter.kind, ADAPTERS)
    if any(isinstance(module, _ADDED) for module in model.modules()):
        raise InputError("the model has an adapter already; merge it first")
    held = towers_of(model)
    for tower in adapter.towers:
        if tower not in held:
            raise UnknownNameError.of("tower of this model", tower, held)
    chosen = {tower: held[tower] for tower in adapter.towers or held}
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(adapter.seed)
        ADAPTERS[adapter.kind](model, tuple(start for starts in chosen.values() for start in starts), adapter.rank)
    counts = {
        tower: sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and name.startswith(prefixes))
        for tower, prefixes in chosen.items()
    }
    if idle := [tower for tower, number in counts.items() if not number]:
        raise InputError(
            f"{adapter.kind} would train nothing in the {' and '.join(idle)} tower: it has no layer of the kind that "
            f"{adapter.kind} goes into; name other towers, or take bitfit or lntuning"
        )
    return counts


def towers_of(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return the towers of a model, each with how the names of its parameters begin."""
    own = ("text.",) if hasattr(model, "text") else ("transformer.", "ln_final.", "token_embedding.")
    towers: dict[str, tuple[str, ...]] = {"image": ("visual.",), "text": own}
    return towers | ({"decoder": ("text_decoder.",)} if hasattr(model, "text_decoder") else {})


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """Return what training changes: the parameters that are not frozen, and the running means of batch norms."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    buffers = {name for name, _ in model.named_buffers()}
    return {name: tensor for name, tensor in model.state_dict().items() if name in trained or name in buffers}


def base_digest(model: nn.Module) -> str:
    """Return the digest of the plain weights underneath an adapter: those that no adapter trains or adds to."""
    plain = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if name in plain:
            values = tensor.detach().cpu().contiguous().flatten()
            digest.update(f"{name}\0{values.dtype}\0".encode())
            digest.update(values.view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    return digest.hexdigest()


def save_adapter(folder: Path, model: nn.Module, adapter: Adapter, base: str = "") -> None:
    """Write the adapter alone: its tensors as safetensors, and its settings.

    `base` is the model that it belongs to: an encoder's name, or that of a checkpoint folder beside `folder`.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in adapter_state(model).items()}
    with atomic_path(folder / _WEIGHTS) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    write_json(
        folder / _SETTINGS, {"format": FORMAT, "base": base, "base_sha256": base_digest(model), **asdict(adapter)}
    )


def load_adapter(model: nn.Module, folder: Path) -> Adapter:
    """Add the adapter that `folder` holds to the plain model it was trained on; `InputError` where it does not fit."""
    settings = _settings(folder)
    base, digest = settings.pop("base", None), settings.pop("base_sha256", None)
    try:
        adapter = Adapter(**{**settings, "towers": tuple(settings["towers"])})
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{folder / _SETTINGS} does not describe an adapter: {error!r}") from error
    add_adapter(model, adapter)
    tensors, wanted = read_weights(folder / _WEIGHTS), adapter_state(model)
    wrong = sorted(
        name
        for name in tensors.keys() | wanted.keys()
        if name not in tensors or name not in wanted or tensors[name].shape != wanted[name].shape
    )
    if wrong:
        raise InputError(f"{folder} is the adapter of another model: {len(wrong)} tensors differ, {wrong[0]} first")
    if digest is not None and base_digest(model) != digest:
        raise InputError(
            f"{folder} was trained on other weights than {base or 'this model'} holds now; use the checkpoint that it "
            "was trained on, or train it again"
        )
    model.load_state_dict(tensors, strict=False)
    check_whole(model, str(folder / _WEIGHTS))
    return adapter


def base_of(folder: Path) -> str:
    """Return the encoder's name of the model that an adapter was trained on; `InputError` where it has none."""
    base = str(_settings(folder).get("base", ""))
    if not base:
        raise InputError(f"{folder} was trained on a model that was never saved; use the checkpoint beside it")
    beside = folder.parent / base
    return str(beside) if (beside / "config.json").is_file() else base


def _settings(folder: Path) -> dict[str, Any]:
    settings = read_json(folder / _SETTINGS)
    if not isinstance(settings, dict) or settings.pop("format", None) != FORMAT:
        raise InputError(f"{folder / _SETTINGS} does not describe an adapter ({FORMAT})")
    check(settings, _SHAPE, str(folder / _SETTINGS))
    return settings


def merge_adapter(model: nn.Module) -> None:
    """Put an adapter into the weights, in place: the plain model that computes the same, with its plain names.

    Raises `InputError` with the reason for bottlenecks, prefixes and unipelt, which no plain weights can stand for.
    """
    for module in model.modules():
        if isinstance(module, Bottleneck):
            raise InputError(
                "a bottleneck cannot be merged: it bends what it passes on (ReLU), which no weight does; "
                "save it with save_adapter"
            )
        if isinstance(module, AdaptedAttention):
            raise InputError(
                "a prefix cannot be merged: its keys and values belong to no token, and a plain attention has no place "
                "for them; save it with save_adapter"
            )
    for name, module in list(model.named_modules()):
        for parameter in list(getattr(module, "parametrizations", {})):
            parametrize.remove_parametrizations(module, parameter, leave_parametrized=True)
        if isinstance(module, BaseTunerLayer):
            wrapper: Any = module
            wrapper.merge(safe_merge=True)
            holder, _, own = name.rpartition(".")
            setattr(model.get_submodule(holder), own, wrapper.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config  # peft's note of what it wrapped
    model.requires_grad_(True)


# What each kind adds below names that begin with `prefixes` -----------------------------------------------------------


def _lora(model: nn.Module, prefixes: tuple[str, ...], rank: int) -> None:
    _low_rank(model, prefixes, lambda weight: LowRank(weight, rank))
    _inject(model, _linears(model, prefixes), lambda at: LoraConfig(r=rank, lora_alpha=rank, target_modules=at))


def _rslora(model: nn.Module, prefixes: tuple[str, ...], rank: int) -> None:
    _low_rank(model, prefixes, lambda weight: LowRank(weight, rank, scaling=rank**0.5))
    _inject(
        model,
        _linears(model, prefixes),
        lambda at: LoraConfig(r=rank, lora_alpha=rank, use_rslora=True, target_modules=at),
    )


def _dora(model: nn.Module, prefixes: tuple[str, ...], rank: int) -> None:
    _low_rank(model, prefixes, lambda weight: Dora(weight, rank))
    _inject(
        model,
        _linears(model, prefixes),
        lambda at: LoraConfig(r=rank, lora_alpha=rank, use_dora=True, target_modules=at),
    )


def _low_rank(model: nn.Module, prefixes: tuple[str, ...], make: Callable[[Tensor], nn.Module]) -> None:
    for attention in _attentions(model, prefixes).values():
        parametrize.register_parametrization(attention, "in_proj_weight", make(attention.in_proj_weight))
        parametrize.register_parametrization(attention.out_proj, "weight", make(attention.out_proj.weight))


def _ia3(model: nn.Module, prefixes: tuple[str, ...], rank: int) -> None:
    for attention in _attentions(model, prefixes).values():
        scale = Scale(attention.embed_dim)
        parametrize.register_parametrization(attention, "in_proj_weight", scale)
        parametrize.register_parametrization(attention, "in_proj_bias", ScaleAlike(scale))
    inner = [name for name in _linears(model, prefixes) if name.endswith(("mlp.c_proj", "mlp.fc2"))]
    _inject(model, inner, lambda at: IA3Config(target_modules=at, feedforward_modules=at))


def _bitfit(model: nn.Module, prefixes: tuple[str, ...], rank: int) -> None:
    for name, parameter in model.named_parameters():
        if name.startswith(prefixes) and name.endswith("bias"):
            parameter.requires_grad_(True)


def _lntuning(model: nn.Module, prefixes: tuple[str, ...], rank: int) -> None:
    for name, module in model.named_modules():
        if f"{name}.".startswith(prefixes) and isinstance(module, nn.LayerNorm):
            module.requires_grad_(True)


def _pfeiffer(model: nn.Module, prefixes: tuple[str, ...], rank: int) -> None:
    for block in _blocks(model, prefixes):
        # Last in the sequence, so that the layers before it keep their names.
        block.mlp.add_module("adapter", Bottleneck(block.attn.embed_dim, _narrow(block.attn.embed_dim)))


def _prefix(model: nn.Module, prefixes: tuple[str, ...], rank: int) -> None:
    for attention in _attentions(model, prefixes).values():
        _adapt(attention, AttentionAdapter(attention.embed_dim, PREFIX))


def _unipelt(model: nn.Module, prefixes: tuple[str, ...], rank: int) -> None:
    for block in _blocks(model, prefixes):
        width = block.attn.embed_dim
        _adapt(block.attn, AttentionAdapter(width, GATED_PREFIX, rank=rank, gated=True))
        block.mlp.add_module("adapter", Bottleneck(width, _narrow(width), gated=True))


#: What each adapter does to a tower: (model, how its names begin, rank).
ADAPTERS: Mapping[str, Callable[[nn.Module, tuple[str, ...], int], None]] = {
    "lora": _lora,
    "rslora": _rslora,
    "dora": _dora,
    "ia3": _ia3,
    "bitfit": _bitfit,
    "lntuning": _lntuning,
    "pfeiffer": _pfeiffer,
    "prefix": _prefix,
    "unipelt": _unipelt,
}


def _attentions(model: nn.Module, prefixes: tuple[str, ...]) -> dict[str, Any]:
    """Return the attentions whose three projections are one matrix: all but poolers between widths."""
    return {
        name: module
        for name, module in model.named_modules()
        if name.startswith(prefixes) and type(module) is nn.MultiheadAttention and module.in_proj_weight is not None
    }


def _linears(model: nn.Module, prefixes: tuple[str, ...]) -> list[str]:
    """Return the names of the linear layers of blocks; an attention's output projection is part of the attention."""
    block = re.compile(r"\.(res)?blocks\.|\.cross_attn\.")
    return [
        name
        for name, module in model.named_modules()
        if name.startswith(prefixes) and type(module) is nn.Linear and block.search(name)
    ]


def _blocks(model: nn.Module, prefixes: tuple[str, ...]) -> Iterator[Any]:
    for name, module in model.named_modules():
        if name.startswith(prefixes) and isinstance(module, ResidualAttentionBlock):
            yield module


def _inject(model: nn.Module, names: list[str], config: Callable[[str], Any]) -> None:
    """Let peft wrap exactly these modules: in a list, a name would stand for all that end with it."""
    if not names:
        return
    before = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    inject_adapter_in_model(config(f"(?:{'|'.join(map(re.escape, names))})"), model)
    for name, parameter in model.named_parameters():
        if name in before:
            parameter.requires_grad_(True)  # peft froze it again


def _narrow(width: int) -> int:
    return max(width // REDUCTION, 8)


def _adapt(attention: nn.Module, adapter: AttentionAdapter) -> None:
    attention.add_module("adapter", adapter)
    attention.__class__ = AdaptedAttention
