"""What `graph embed` can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting
from chorograph.models.graph.composition import COMPOSITION_NAMES


@dataclass(frozen=True)
class GraphEmbedConfig:
    """Settings of `chorograph graph embed`."""

    area: Path = setting(help="the area folder, with a graph")
    model: str = setting("TuckER", help="TuckER, CompGCN, or a model that PyKEEN knows (TransE, RotatE, ...)")
    dim: int = setting(64, help="width of the vectors")
    epochs: int = setting(20, help="passes over the training facts")
    batch_size: int = setting(1024, help="pairs of head and relation (TuckER) or facts (others) a step")
    lr: float = setting(0.003, help="learning rate of Adam")
    candidates: int = setting(
        4096, help="TuckER: tails that each pair is scored with, its own among them; 0: all entities (1-N)"
    )
    composition: str = setting("rotate", help="CompGCN: how head and relation compose", choices=COMPOSITION_NAMES)
    layers: int = setting(2, help="CompGCN: layers")
    fan_out: int = setting(10, help="CompGCN: facts drawn into an entity, in each layer of a training step")
    compat: bool = setting(False, help="CompGCN: the published arithmetic of KnowCL, inverse self-loops included")
    held_out: float = setting(0.05, help="share of the facts held out for the link-prediction scores")
    inductive: str | None = setting(
        None, help="CompGCN: a split; facts of its test regions are kept from training and restored afterwards"
    )
    name: str | None = setting(None, help="name of the vectors; by default MODEL-DIM")
    seed: int = setting(0, help="decides weights, order, dropout and what is held out")
