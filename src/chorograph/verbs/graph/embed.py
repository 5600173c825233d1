"""`graph embed`: vectors of regions from the graph; an old name of two objectives, and PyKEEN's models beside."""

from __future__ import annotations

from pathlib import Path

from chorograph.ground.stage import Outcome, Progress
from chorograph.pretraining.config import GraphEmbedConfig as Settings
from chorograph.verbs.training import train_stage
from chorograph.verbs.verb import Verb


def inputs(settings: Settings) -> list[Path]:
    """Return the tables that are learnt from."""
    from chorograph.pretraining.graph_vectors import graph_inputs

    return graph_inputs(settings)


def run(settings: Settings, progress: Progress) -> Outcome:
    """Write the vectors into the area; the manifest, with link-prediction scores, lies beside them."""
    from chorograph.area.folder import Area
    from chorograph.pretraining.graph_vectors import name_of, train_graph

    manifest = Area.open(settings.area).embeddings_path(name_of(settings)).with_suffix(".manifest.json")
    return train_stage(
        "graph embed", settings, manifest, inputs(settings), lambda *rest: train_graph(settings, *rest), progress,
        objective={"TuckER": "tucker", "CompGCN": "compgcn"}.get(settings.model),
    )  # fmt: skip


VERB = Verb(
    "graph embed",
    "Vectors of regions from the graph, scored on held-out facts: PyKEEN's models; old name of two objectives.",
    Settings,
    run,
    ("area",),
    "chorograph graph embed my-area",
)
