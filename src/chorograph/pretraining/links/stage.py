"""`graph embed` as a stage."""

from __future__ import annotations

from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.pretraining.links.config import GraphEmbedConfig


def embed_graph(config: GraphEmbedConfig, progress: Progress) -> Outcome:
    """Run `graph embed`: the manifest, with link-prediction scores, lies beside the vectors."""
    from chorograph.area.folder import Area
    from chorograph.ground.errors import MissingExtraError

    area = Area.open(config.area)
    try:
        from chorograph.pretraining.links import run as graph_run
    except ImportError as error:
        raise MissingExtraError.of("models,graph", error) from error

    def work(ledger: Ledger) -> None:
        graph_run.embed_graph(area, config, ledger, progress)

    inputs = [area.table_path(name) for name in ("triples", "entities", "regions")]
    if config.inductive is not None:
        inputs.append(area.path / "splits" / f"{config.inductive}.parquet")
    manifest = area.embeddings_path(graph_run.name_of(config)).with_suffix(".manifest.json")
    return run_stage("graph embed", manifest=manifest, config=plain(config), inputs=inputs, work=work)
