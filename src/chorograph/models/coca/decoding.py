"""Captions from a CoCa, written or judged; open_clip's own `generate` refuses current transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class Decoding:
    """How a caption is written.

    `top_p` 0 takes the likeliest token each time; otherwise each token is drawn among the likeliest that together hold
    a probability of `top_p`, of logits over `temperature`. With `beams`, the best of that many ways is sought. The end
    token is not taken before `min_length` tokens; at `max_length` (None: what the model was built for) a caption stops,
    by the end token itself where `ends` is set.
    """

    top_p: float = 0.0
    temperature: float = 1.0
    beams: int = 0
    min_length: int = 0
    max_length: int | None = None
    ends: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        *,
        top_p: float | None = None,
        temperature: float | None = None,
        beams: int = 6,
        max_length: int | None = None,
    ) -> Decoding:
        """Return the decoding of a name; `open_clip` is what its `generate` does for UrbanCLIP's second task.

        That is top-p 0.1, 30 tokens in all, five at least, the last one the end. Its comment says that the tokens
        above the 1 - top_p quantile stay; its code (transformers' `TopPLogitsWarper`) keeps the likeliest tokens that
        hold top_p, which is what everybody calls top-p (Holtzman et al. 2020).
        """
        heat = 1.0 if temperature is None else temperature
        match name:
            case "greedy":
                return cls(max_length=max_length)
            case "beam":
                return cls(beams=beams, max_length=max_length)
            case "open_clip":
                chosen = 0.1 if top_p is None else top_p
                return cls(chosen, heat, min_length=5, max_length=max_length or 30, ends=True)
            case "top_p":
                return cls(0.9 if top_p is None else top_p, heat, max_length=max_length)
        raise InputError(f"decoding is greedy, top_p, open_clip or beam, not {name!r}")

    def plain(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)


def generate(
    loaded: ImageTextModel,
    images: Sequence[Pixels],
    *,
    max_length: int | None = None,
    top_p: float = 0.0,
    seed: int = 0,
    decoding: Decoding | None = None,
    seeds: Sequence[int] | None = None,
) -> list[str]:
    """Write one caption for each uint8 (height, width, 3) image, as `decoding` says (default: `max_length`, `top_p`).

    What is drawn comes from `seed` for all images together, or from `seeds`, one an image, whatever its batch. Raises
    `InputError` where the model has no decoder.
    """
    if not is_coca(loaded.model):
        raise InputError(f"{loaded.architecture} has no decoder; captions need a CoCa")
    decoding = decoding or Decoding(top_p, max_length=max_length)
    uniform = _uniform(seed, seeds)
    captions: list[str] = []
    for start in range(0, len(images), _BATCH):
        pixels = loaded.preprocessing.batch(images[start : start + _BATCH])
        rows = range(start, start + len(pixels))
        written = _beam(loaded, pixels, decoding) if decoding.beams else _write(loaded, pixels, decoding, uniform, rows)
        captions.extend(_to_text(loaded.tokenizer, ids) for ids in written.tolist())
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


#: Gives a number in [0, 1) for each of some rows.
_Uniform = Callable[[range], Tensor]


def _uniform(seed: int, seeds: Sequence[int] | None) -> _Uniform:
    """Return where the chance comes from: one generator for all rows, or one for each."""
    if seeds is None:
        generator = torch.Generator().manual_seed(seed)
        return lambda rows: torch.rand(len(rows), generator=generator, dtype=torch.float64)
    own = [np.random.default_rng(number) for number in seeds]
    return lambda rows: torch.tensor([own[row].random() for row in rows], dtype=torch.float64)


@torch.inference_mode()
def _write(loaded: ImageTextModel, pixels: Tensor, decoding: Decoding, uniform: _Uniform, rows: range) -> Tensor:
    model: Any = loaded.model.eval()
    tokenizer: Any = loaded.tokenizer
    limit = min(decoding.max_length or model.context_length, model.context_length)
    _, image_tokens = model._encode_image(loaded.preprocessing.normalise(pixels, loaded.device))
    tokens = torch.full((len(pixels), 1), tokenizer.sot_token_id, device=loaded.device)
    done = torch.zeros(len(pixels), dtype=torch.bool, device=loaded.device)
    while tokens.shape[1] < limit and not done.all():
        logits = _next(model, tokenizer, image_tokens, tokens, decoding)
        chosen = logits.argmax(-1) if decoding.top_p <= 0 else _draw(logits, decoding, uniform(rows))
        if decoding.ends and tokens.shape[1] + 1 == limit:
            chosen = torch.full_like(chosen, tokenizer.eot_token_id)
        chosen = torch.where(done, PAD, chosen)
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        done |= chosen == tokenizer.eot_token_id
    return tokens


def _next(model: Any, tokenizer: Any, image_tokens: Tensor, tokens: Tensor, decoding: Decoding) -> Tensor:
    """Return the logits (n, vocabulary) of the next token; what may not come next has none."""
    embeddings = encode_text(model, tokens).tokens
    logits: Tensor = model.text_decoder(image_tokens, embeddings)[:, -1].float()
    logits[:, [PAD, tokenizer.sot_token_id]] = -torch.inf
    if tokens.shape[1] < decoding.min_length:
        logits[:, tokenizer.eot_token_id] = -torch.inf
    return logits


@torch.inference_mode()
def _beam(loaded: ImageTextModel, pixels: Tensor, decoding: Decoding) -> Tensor:
    """Return the best caption of each image that keeping `beams` ways a token finds, by mean log-probability."""
    model: Any = loaded.model.eval()
    _, seen = model._encode_image(loaded.preprocessing.normalise(pixels, loaded.device))
    found = [_beam_one(loaded, seen[row : row + 1], decoding) for row in range(len(pixels))]
    length = max((len(ids) for ids in found), default=0)
    return torch.tensor([[*ids, *[PAD] * (length - len(ids))] for ids in found], dtype=torch.long)


def _beam_one(loaded: ImageTextModel, seen: Tensor, decoding: Decoding) -> list[int]:
    model: Any = loaded.model
    tokenizer: Any = loaded.tokenizer
    end = tokenizer.eot_token_id
    limit = min(decoding.max_length or model.context_length, model.context_length)
    ways: list[tuple[float, list[int]]] = [(0.0, [tokenizer.sot_token_id])]
    finished: list[tuple[float, list[int]]] = []
    while ways and len(ways[0][1]) < limit:
        tokens = torch.tensor([ids for _, ids in ways], device=loaded.device)
        logs = _next(model, tokenizer, seen.expand(len(ways), -1, -1), tokens, decoding).log_softmax(-1)
        best, place = (
            (logs + torch.tensor([[score] for score, _ in ways], device=logs.device))
            .flatten()
            .topk(min(2 * decoding.beams, logs.numel()))
        )
        further: list[tuple[float, list[int]]] = []
        for score, at in zip(best.tolist(), place.tolist(), strict=True):
            if score == -np.inf:
                continue
            way, token = divmod(at, logs.shape[-1])
            ids = [*ways[way][1], token]
            (finished if token == end else further).append((score, ids))
        ways = further[: decoding.beams]
        finished = sorted(finished, key=_mean, reverse=True)[: decoding.beams]
        # Scores only fall, and a mean of at most `limit` tokens is the least that dividing can make of them.
        if len(finished) == decoding.beams and ways and ways[0][0] / limit < _mean(finished[-1]):
            break
    return max([*finished, *ways], key=_mean)[1]


def _mean(way: tuple[float, list[int]]) -> float:
    return way[0] / len(way[1])


def _draw(logits: Tensor, decoding: Decoding, uniform: Tensor) -> Tensor:
    """Draw from the smallest set of tokens whose probabilities reach `top_p` (Holtzman et al. 2020).

    As transformers' warpers do it, the set is chosen before the temperature is applied, as in open_clip.
    """
    probability, order = logits.softmax(-1).sort(-1, descending=True)
    before = probability.cumsum(-1) - probability
    heat = max(decoding.temperature, 1e-6)
    kept = (logits.gather(-1, order) / heat).softmax(-1) if heat != 1 else probability
    share = (kept * (before < decoding.top_p)).double().cumsum(-1)
    wanted = uniform.to(share.device)[:, None] * share[:, -1:]
    picked = torch.searchsorted(share, wanted, right=True).clamp(max=share.shape[-1] - 1)
    return order.gather(-1, picked)[:, 0]


def _to_text(tokenizer: Any, ids: Sequence[int]) -> str:
    special = {PAD, tokenizer.sot_token_id, tokenizer.eot_token_id}
    text: str = tokenizer.decode([number for number in ids if number not in special])
    return text.strip()
