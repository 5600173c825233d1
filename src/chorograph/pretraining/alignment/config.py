"""What `graph align` can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting
from chorograph.models.graph.composition import COMPOSITION_NAMES


@dataclass(frozen=True)
class AlignConfig:
    """Settings of `chorograph graph align`: KnowCL's first stage, images against the knowledge graph."""

    area: Path = setting(help="the area folder, with images and a graph")
    out: Path = setting(help="folder to write: the tower, its card and history")
    tower: str = setting(
        "vectors:efficientnet-lite0",
        help="vectors:NAME (a layer on vectors made by `embed`), or a network of timm on pixels (resnet18, ...)",
        choices=(),
    )
    init: Path | None = setting(None, help="weights to start a resnet18 from: KnowCL's SimCLR checkpoint_100.tar")
    graph: str = setting("TuckER-64", help="frozen vectors of entities, made by `graph embed`")
    view: str = setting("satellite", help="which images", choices=("satellite", "street"))
    images: int = setting(10, help="images of a region in a step, drawn anew each time")
    pooling: str = setting("mean", help="how a region's images become one", choices=("mean", "attention"))
    loss: str = setting(
        "corrected", help="corrected (cosines, temperature) or published (dot products, summed)",
        choices=("corrected", "published"),
    )  # fmt: skip
    layers: int = setting(2, help="layers of CompGCN")
    composition: str = setting("rotate", help="how head and relation compose", choices=COMPOSITION_NAMES)
    compat: bool = setting(False, help="the published arithmetic of the graph tower, inverse self-loops included")
    inductive: str | None = setting(
        None, help="a split: its test regions' facts and images are kept from training, facts restored afterwards"
    )
    epochs: int = setting(60, help="passes over the regions")
    batch_size: int = setting(64, help="regions a step")
    lr: float = setting(0.001, help="learning rate of Adam")
    size: int = setting(64, help="side that images are brought to, for a tower on pixels; KnowCL: 224")
    name: str = setting("knowcl", help="name of the vectors that are written into the area")
    seed: int = setting(0, help="decides weights, order, dropout and which images are drawn")
