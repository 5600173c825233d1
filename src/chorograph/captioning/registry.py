"""The captioners by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from chorograph.ground.registry import Registry
from chorograph.ground.stage import Ledger

if TYPE_CHECKING:
    import pandas as pd

    from chorograph.area.folder import Area


class Captioner(Protocol):
    """Writes captions of an area's images."""

    def __call__(self, area: Area, per_image: int, seed: int, ledger: Ledger) -> pd.DataFrame:
        """Return captions: caption_id, image_id, rank, caption, origin; what has none is counted in `ledger`."""


CAPTIONERS: Registry[Captioner] = Registry("captioner")
CAPTIONERS.add(
    "template",
    "chorograph.captioning.template:template_captions",
    "facts (points of interest, the graph, classes) put into sentences; no language model",
)
