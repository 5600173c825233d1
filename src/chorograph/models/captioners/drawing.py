"""How words are drawn from a model of Hugging Face, the same for an image in any batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chorograph.ground.errors import InputError


@dataclass(frozen=True)
class Drawing:
    """How words are drawn. Without `sample` the likeliest is taken, or the best of `beams` ways."""

    sample: bool = False
    top_p: float = 1.0
    temperature: float = 1.0
    beams: int = 1
    max_tokens: int = 160
    top_k: int = 0

    @classmethod
    def of(cls, name: str, *, top_p: float | None, temperature: float | None, beams: int, max_tokens: int) -> Drawing:
        """Return the drawing of a name; `auto` draws where a temperature or top-p is given, as endpoints do."""
        if name == "open_clip":
            raise InputError("decoding open_clip belongs to a CoCa; give top_p, greedy or beam")
        drawn = (temperature is not None and temperature > 0) or (temperature is None and top_p is not None)
        if name == "beam":
            return cls(beams=beams, max_tokens=max_tokens)
        if name == "greedy" or (name == "auto" and not drawn):
            return cls(max_tokens=max_tokens)
        return cls(True, 0.9 if top_p is None else top_p, temperature or 1.0, 1, max_tokens)

    def plain(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)


class OwnNoise:
    """Turns the likeliest token into one drawn: Gumbel noise on the logits, from a generator of each row's own.

    The largest of logits plus Gumbel noise is a draw from their softmax (Gumbel 1954; Maddison et al. 2014). Rows do
    not share a generator, so what is drawn for an image does not depend on the others of its batch.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [np.random.default_rng(seed) for seed in seeds]

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores (rows, vocabulary) with noise."""
        noise = np.stack([rng.gumbel(size=scores.shape[-1]) for rng in self._generators]).astype(np.float32)
        return scores + torch.from_numpy(noise).to(scores.device)


def processors_of(drawing: Drawing, seeds: Sequence[int]) -> Any:
    """Return what is done to the scores of a token before the largest is taken."""
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    if not drawing.sample:
        return LogitsProcessorList([])
    steps: list[Any] = [TemperatureLogitsWarper(float(drawing.temperature))] if drawing.temperature != 1 else []
    if drawing.top_k:
        steps.append(TopKLogitsWarper(drawing.top_k))
    if drawing.top_p < 1:
        steps.append(TopPLogitsWarper(max(drawing.top_p, 1e-6)))
    return LogitsProcessorList([*steps, OwnNoise(seeds)])
