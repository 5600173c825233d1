"""chorograph profiles urban regions from satellite and street imagery, text and an urban knowledge graph.

Importing it is light: tables, torch and plots load where they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

# Each of these rooms offers a function of its own name. Bound here, `chorograph.embedding` is the function; the room's
# modules are reached as always (`from chorograph.area.embeddings import Embeddings`).
from chorograph.embedding import embed
from chorograph.prediction import predict
from chorograph.pretraining import pretrain
from chorograph.reporting import report

if TYPE_CHECKING:
    from chorograph.area.embeddings import Embeddings
    from chorograph.area.folder import Area
    from chorograph.area.splits import Given, LeaveGroupOut, RandomFolds, SpatialBlocks
    from chorograph.prediction.result import Prediction

_LAZY = {
    "Area": "chorograph.area.folder",
    "Embeddings": "chorograph.area.embeddings",
    "Given": "chorograph.area.splits",
    "LeaveGroupOut": "chorograph.area.splits",
    "Prediction": "chorograph.prediction.result",
    "RandomFolds": "chorograph.area.splits",
    "SpatialBlocks": "chorograph.area.splits",
}

__all__ = [
    "Area",
    "Embeddings",
    "Given",
    "LeaveGroupOut",
    "Prediction",
    "RandomFolds",
    "SpatialBlocks",
    "embed",
    "predict",
    "pretrain",
    "report",
]


def __getattr__(name: str) -> object:
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'chorograph' has no attribute {name!r}")
