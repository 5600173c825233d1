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


def captioner(name: str) -> Captioner:
    """Return a captioner by name, or that of `hf:FOLDER`, `hf:FOLDER+ADAPTER`: a BLIP-2 of Hugging Face."""
    if not name.startswith("hf:"):
        return CAPTIONERS[name]
    from chorograph.captioning.blip2 import blip2_captions

    return lambda area, per_image, seed, ledger: blip2_captions(area, name, per_image, seed, ledger)


CAPTIONERS.add(
    "template",
    "chorograph.captioning.template:template_captions",
    "facts (points of interest, the graph, classes) put into sentences; no language model",
)
