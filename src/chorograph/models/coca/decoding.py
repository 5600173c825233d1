"""Captions from a CoCa, written or judged; open_clip's own `generate` refuses current transformers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from chorograph.ground.arrays import Pixels
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Progress, silent
from chorograph.models.coca.towers import PAD, decode, encode_text, is_coca, trim
from chorograph.models.encoders.open_clip import ImageTextModel

_BATCH = 32
#: Texts that are judged for an image at once.
_TEXTS = 512
#: Tokens whose logits over the vocabulary are held at once.
_TOKENS = 1024


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
def caption_evidence(
    loaded: ImageTextModel, images: Sequence[Pixels], texts: Sequence[str], *, progress: Progress = silent
) -> NDArray[np.float32]:
    """Return (n, m): how much likelier the decoder finds each of m texts for each of n images than for an image drawn.

    ln p(text | image) less the logarithm of its mean over the images given: an estimate of the pointwise mutual
    information, as the contrastive logit is one (van den Oord et al. 2018, equation 5), so that the two may be added.
    Raises `InputError` where the model has no decoder.
    """
    if not is_coca(loaded.model):
        raise InputError(f"{loaded.architecture} has no decoder that could judge captions; this needs a CoCa")
    model: Any = loaded.model.eval()
    found = np.empty((len(images), len(texts)), dtype=np.float32)
    parts = torch.split(trim(model, loaded.tokenizer(list(texts))).to(loaded.device), _TEXTS)
    read: list[Any] = [encode_text(model, part).tokens for part in parts]
    for row, image in enumerate(images):
        pixels = loaded.preprocessing.normalise(loaded.preprocessing.batch([image]), loaded.device)
        _, seen = model._encode_image(pixels)
        scores = []
        for part, embedded in zip(parts, read, strict=True):
            hidden = decode(model.text_decoder, seen.expand(len(part), -1, -1), embedded[:, :-1])
            labels = part[:, 1:]
            scores.append(-_sums(hidden, model.text_decoder.text_projection, labels))
        found[row] = torch.cat(scores).cpu().numpy()
        progress("judging captions by the decoder", row + 1, len(images))
    return found - np.logaddexp.reduce(found, axis=0, keepdims=True) + np.float32(np.log(len(images)))


def _sums(hidden: Tensor, projection: Tensor, labels: Tensor) -> Tensor:
    """Return each text's sum of the cross-entropies of its real labels (n, length); never all logits at once."""
    real = labels != PAD
    losses = [
        functional.cross_entropy((some @ projection).float(), wanted, reduction="none")
        for some, wanted in zip(torch.split(hidden[real], _TOKENS), torch.split(labels[real], _TOKENS), strict=True)
    ]
    sums = torch.zeros(labels.shape, device=labels.device)
    sums[real] = torch.cat(losses)
    return sums.sum(1)


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
