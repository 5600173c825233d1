"""Captions from a CoCa, greedy or by nucleus sampling; open_clip's `generate` refuses current transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from chorograph.area.errors import InputError
from chorograph.models.coca import PAD, encode_text, is_coca
from chorograph.models.openclip import ImageTextModel
from chorograph.models.preprocessing import Pixels

_BATCH = 32


def generate(
    loaded: ImageTextModel,
    images: Sequence[Pixels],
    *,
    max_length: int | None = None,
    top_p: float = 0.0,
    seed: int = 0,
) -> list[str]:
    """Write one caption for each uint8 (height, width, 3) image.

    `top_p` 0 takes the likeliest token each time; otherwise each token is drawn, from `seed`, among the likeliest that
    together hold a probability of `top_p`. A caption ends at its end token or at `max_length` tokens (default: what
    the model was built for). Raises `InputError` where the model has no decoder.
    """
    if not is_coca(loaded.model):
        raise InputError(f"{loaded.architecture} has no decoder; captions need a CoCa")
    generator = torch.Generator().manual_seed(seed)
    captions: list[str] = []
    for start in range(0, len(images), _BATCH):
        pixels = loaded.preprocessing.batch(images[start : start + _BATCH])
        written = _write(loaded, pixels, max_length, top_p, generator).tolist()
        captions.extend(_to_text(loaded.tokenizer, ids) for ids in written)
    return captions


@torch.inference_mode()
def _write(
    loaded: ImageTextModel, pixels: Tensor, max_length: int | None, top_p: float, generator: torch.Generator
) -> Tensor:
    model: Any = loaded.model.eval()
    tokenizer: Any = loaded.tokenizer
    limit = min(max_length or model.context_length, model.context_length)
    _, image_tokens = model._encode_image(loaded.preprocessing.normalise(pixels, loaded.device))
    tokens = torch.full((len(pixels), 1), tokenizer.sot_token_id, device=loaded.device)
    done = torch.zeros(len(pixels), dtype=torch.bool, device=loaded.device)
    while tokens.shape[1] < limit and not done.all():
        embeddings = encode_text(model, tokens).tokens
        logits = model.text_decoder(image_tokens, embeddings)[:, -1].float()
        logits[:, [PAD, tokenizer.sot_token_id]] = -torch.inf
        chosen = logits.argmax(-1) if top_p <= 0 else _draw(logits, top_p, generator)
        chosen = torch.where(done, PAD, chosen)
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        done |= chosen == tokenizer.eot_token_id
    return tokens


def _draw(logits: Tensor, top_p: float, generator: torch.Generator) -> Tensor:
    """Draw from the smallest set of tokens whose probabilities reach `top_p` (Holtzman et al. 2020)."""
    probability, order = logits.softmax(-1).sort(-1, descending=True)
    kept = probability * (probability.cumsum(-1) - probability < top_p)
    picked = torch.multinomial(kept.cpu(), 1, generator=generator).to(order.device)
    return order.gather(-1, picked)[:, 0]


def _to_text(tokenizer: Any, ids: Sequence[int]) -> str:
    special = {PAD, tokenizer.sot_token_id, tokenizer.eot_token_id}
    text: str = tokenizer.decode([number for number in ids if number not in special])
    return text.strip()
