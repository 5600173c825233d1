"""What is watched beside the loss: whether captions still differ from image to image, and TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chorograph.ground.errors import MissingExtraError
from chorograph.metrics.captions import distinct, tokenize
from chorograph.models.coca.decoding import generate
from chorograph.models.encoders.open_clip import ImageTextModel
from chorograph.pretraining.feeds.pairs import Pairs

#: Held-out images that captions are written for after each epoch.
_WATCHED = 16
#: Captions have collapsed when their distinct-2 is less than this share of the human captions'.
_COLLAPSED = 0.25


def caption_diversity(loaded: ImageTextModel, held: Pairs) -> dict[str, float | bool]:
    """Return distinct-2 of captions written for a few held-out images, and whether they have collapsed.

    A decoder that has stopped looking at the image writes the same sentence for all of them. Human captions of the
    same images say how different they should be. Empty with fewer than two images.
    """
    rows = np.unique(np.linspace(0, len(held) - 1, min(_WATCHED, len(held))).astype(np.int64))
    pixels, reasons = held.images.read(rows)
    rows = rows[[reason is None for reason in reasons]]
    if len(rows) < 2:
        return {}
    written = generate(loaded, [image.permute(1, 2, 0).numpy() for image in pixels])
    found = _distinct(written)
    human = _distinct([held.captions[row][0] for row in rows.tolist()])
    same = len(set(written)) == 1 and human > found
    return {"caption_distinct_2": found, "caption_collapse": bool(same or found < _COLLAPSED * human)}


def _distinct(captions: list[str]) -> float:
    value = distinct([tokenize(caption) for caption in captions], 2)
    return 0.0 if np.isnan(value) else value


class Board:
    """A TensorBoard log; `MissingExtraError` where it is not installed."""

    def __init__(self, folder: Path, every: int = 1) -> None:
        try:
            import tensorboard  # noqa: F401  # what torch's writer stands on
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError(
                "tensorboard is not installed; pip install 'chorograph[tensorboard]', or leave --tensorboard away"
            ) from error
        self._writer: Any = SummaryWriter(str(folder))
        self._every = every

    def write(self, record: Mapping[str, Any]) -> None:
        """Write the numbers of an epoch's record."""
        self._add({name.replace("_", "/", 1): value for name, value in record.items()}, record["epoch"])

    def write_step(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write the numbers of a step, where it is its turn."""
        if step % self._every == 0:
            self._add({f"step/{name}": value for name, value in numbers.items()}, step)

    def _add(self, numbers: Mapping[str, Any], at: int) -> None:
        for name, value in numbers.items():
            if isinstance(value, float):
                self._writer.add_scalar(name, value, at)
        self._writer.flush()
