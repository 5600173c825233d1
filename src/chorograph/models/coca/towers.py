"""CoCa and CLIP towers: open_clip's classes, small configurations for a laptop, and text without padding."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
from open_clip.coca_model import CoCa
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import text_global_pool
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.models.coca.lean import LeanCrossBlock, make_lean, standardise

#: Padding token of every tokenizer used here, and the label that the captioning loss ignores.
PAD = 0

_SMALL_VISION = {
    "image_size": 112,
    "patch_size": 16,
    "width": 192,
    "head_width": 48,
    "layers": 2,
    "mlp_ratio": 2.0,
}
_SMALL_TEXT = {"context_length": 48, "vocab_size": 1024, "width": 128, "heads": 4, "layers": 2, "mlp_ratio": 2.0}

#: Small enough to be trained from scratch on two cores in about a minute.
SMALL: dict[str, dict[str, Any]] = {
    "coca-small": {
        "embed_dim": 128,
        "conv_stem": True,
        "vision_cfg": {
            **_SMALL_VISION,
            "attentional_pool": True,
            "attn_pooler_queries": 17,
            "attn_pooler_heads": 4,
            "output_tokens": True,
        },
        "text_cfg": {**_SMALL_TEXT, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 48, "vocab_size": 1024, "width": 128, "heads": 4, "layers": 2},
        "custom_text": True,
    },
    "clip-small": {
        "embed_dim": 128,
        "conv_stem": True,
        "vision_cfg": {**_SMALL_VISION, "pool_type": "avg"},
        "text_cfg": _SMALL_TEXT,
        "custom_text": True,
    },
}


class ConvStem(nn.Sequential):
    """Patch embedding by convolutions of stride two instead of one large step.

    A tower with a convolutional stem learns from few images what a plain patch embedding needs many for (Xiao et al.
    2021, Early convolutions help transformers see better). Takes the place of open_clip's `VisionTransformer.conv1`:
    (n, 3, height, width) to (n, width, height / patch, width / patch).
    """

    def __init__(self, width: int, patch: int) -> None:
        steps = int(math.log2(patch))
        if 2**steps != patch:
            raise ValueError(f"a stem of stride two cannot make patches of {patch} px")
        channels = [3, *(max(width // 2 ** (steps - step), 24) for step in range(1, steps + 1))]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.GELU()]
        super().__init__(*layers[:-1], nn.GELU(), nn.Conv2d(width, width, 1))


def architecture(name: str) -> dict[str, Any]:
    """Return the configuration of `coca-small`, `clip-small` or any of open_clip's architectures, as a fresh copy.

    Raises `UnknownNameError` with near misses, and `InputError` for one whose text tower or tokenizer would have to be
    fetched from a hub.
    """
    if name in SMALL:
        return deepcopy(SMALL[name])
    config: dict[str, Any] | None = open_clip.get_model_config(name)
    if config is None:
        raise UnknownNameError.of("architecture", name, [*SMALL, *open_clip.list_models()])
    if "hf_model_name" in config["text_cfg"] or "hf_tokenizer_name" in config["text_cfg"]:
        raise InputError(f"{name} takes its text tower or tokenizer from a hub, over the network; choose another")
    return config


def build(config: Mapping[str, Any], seed: int, *, lean: bool = True) -> nn.Module:
    """Build a model from its configuration, every parameter initialised from `seed`; nothing is downloaded.

    `lean` computes attention with fewer copies (`chorograph.models.coca.lean`); parameters and results are the same.
    open_clip 3.3 leaves the projection of CoCa's decoder uninitialised; it is drawn here as in its (never called)
    `init_parameters`: normal with standard deviation width^-1/2.
    """
    settings = deepcopy(dict(config))
    stem, custom_text = settings.pop("conv_stem", False), settings.pop("custom_text", False)
    vision = settings["vision_cfg"]
    if "timm_model_name" in vision:
        vision["timm_model_pretrained"] = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any  # open_clip's classes carry no types
        if "multimodal_cfg" in settings:
            model = CoCa(**settings)
            projection = model.text_decoder.text_projection
            nn.init.normal_(projection, std=projection.shape[0] ** -0.5)
        else:
            model = (CustomTextCLIP if custom_text else CLIP)(**settings, output_dict=True)
        if stem:
            model.visual.conv1 = ConvStem(vision["width"], vision["patch_size"])
    if lean:
        make_lean(model)
    built: nn.Module = model
    return built


def is_coca(model: nn.Module) -> bool:
    """Return whether the model has a decoder that writes captions."""
    return isinstance(model, CoCa)


@dataclass(frozen=True)
class TextFeatures:
    """What a text tower gives: `pooled` (n, dim), `tokens` (n, length, width) for the decoder."""

    pooled: Tensor
    tokens: Tensor | None


def trim(model: nn.Module, tokens: Tensor) -> Tensor:
    """Cut columns of padding from token ids (n, length), as many as change nothing.

    Towers that see padding (bidirectional ones, those from a hub) keep it all. CoCa's keep one column: its class
    token may attend to the first padding position when the text is padded, and to itself when it is not.
    """
    tower = _text_tower(model)
    if not _sees_no_padding(tower):
        return tokens
    longest = int((tokens != PAD).sum(1).max())
    return tokens[:, : longest + 1] if getattr(tower, "cls_emb", None) is not None else tokens[:, :longest]


def encode_text(model: nn.Module, tokens: Tensor, *, unit: bool = True) -> TextFeatures:
    """Encode trimmed token ids exactly as the model's own `encode_text` encodes them at full length.

    `unit` scales the pooled features to unit length.

    open_clip's towers take the full length only (CLIP), or give the class token a position that depends on the length
    (CoCa); this is their forward pass with both mended: the class token always has the last position.
    """
    tower = _text_tower(model)
    if not _sees_no_padding(tower):
        pooled = tower(tokens)
        return TextFeatures(functional.normalize(pooled, dim=-1) if unit else pooled, None)
    length = tokens.shape[1]
    hidden = tower.token_embedding(tokens) + tower.positional_embedding[:length]
    class_token = getattr(tower, "cls_emb", None)
    if class_token is None:
        hidden = tower.ln_final(tower.transformer(hidden, attn_mask=tower.attn_mask[:length, :length]))
        # CLIP holds its text tower's parts itself, these two under other names.
        pool, end = getattr(tower, "text_pool_type", None), getattr(tower, "text_eos_id", None)
        if pool is None:
            pool, end = tower.pool_type, tower.eos_id
        pooled, embeddings = text_global_pool(hidden, tokens, pool, eos_token_id=end), hidden
    else:
        last = (class_token + tower.positional_embedding[-1]).expand(len(tokens), 1, -1)
        mask = tower.attn_mask[: length + 1, : length + 1] + tower._build_additive_mask(
            tokens, length + 1, hidden.dtype
        )
        hidden = tower.transformer(torch.cat([hidden, last], dim=1), attn_mask=mask)
        pooled, embeddings = tower.ln_final(hidden[:, -1]), hidden[:, :-1]
    projection = tower.text_projection
    if isinstance(projection, nn.Linear):
        pooled = projection(pooled)
    elif projection is not None:
        pooled = pooled @ projection
    return TextFeatures(functional.normalize(pooled, dim=-1) if unit else pooled, embeddings)


def decode(decoder: nn.Module, image_tokens: Tensor, text_tokens: Tensor) -> Tensor:
    """Return a CoCa decoder's hidden states (n, length, width), normalised, before `text_projection` makes logits."""
    tower: Any = decoder
    hidden, length = text_tokens, text_tokens.shape[1]
    mask = tower.attn_mask[:length, :length]
    images: tuple[Tensor, ...] = (image_tokens, image_tokens)
    if all(isinstance(block, LeanCrossBlock) for block in tower.cross_attn):
        images = (standardise(tower.cross_attn[0].ln_1_kv, image_tokens),)
    for block, cross in zip(tower.resblocks, tower.cross_attn, strict=True):
        if tower.grad_checkpointing and torch.is_grad_enabled():
            hidden = checkpoint(block, hidden, None, None, mask, use_reentrant=False)
            hidden = checkpoint(cross, hidden, *images, use_reentrant=False)
        else:
            hidden = cross(block(hidden, attn_mask=mask), *images)
    states: Tensor = tower.ln_final(hidden)
    return states


def _text_tower(model: nn.Module) -> Any:
    return getattr(model, "text", model)


def _sees_no_padding(tower: Any) -> bool:
    """Whether a text tower is one of open_clip's causal ones, whose tokens never attend to the padding after them."""
    return hasattr(tower, "token_embedding") and getattr(tower, "attn_mask", None) is not None
