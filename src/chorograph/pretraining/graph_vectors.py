"""A graph into vectors of its regions, with filtered link-prediction scores on facts that training never saw."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from torch import Tensor

from chorograph.area.folder import Area
from chorograph.graph.facts import Graph, both_ways
from chorograph.graph.inverses import hold_out, inverse_of, leaking, without_regions
from chorograph.graph.vectors import GraphEmbeddings
from chorograph.ground.arrays import Indices
from chorograph.ground.files import atomic_path, write_json_lines
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.metrics.links import KnownTails, link_scores
from chorograph.models.graph.compgcn import CompGcn
from chorograph.models.graph.links import CompGcnLinks, encode
from chorograph.models.graph.tucker import TuckER
from chorograph.pretraining.config import GraphEmbedConfig
from chorograph.pretraining.loop.session import Session, contents, session, states_of
from chorograph.pretraining.objectives.links import (
    CompGcnObjective,
    FactBatches,
    LinkObjective,
    PairBatches,
    TuckerObjective,
    rank_facts,
)
from chorograph.pretraining.objectives.registry import Trainer

TRANSDUCTIVE = "transductive: learnt from the facts of all regions, tested ones included; labels were never seen"
INDUCTIVE = (
    "inductive: the facts of the split's test regions were kept from training, and restored to tell their vectors"
)

PARTIAL = "the facts of the split's test regions were kept from training; a transductive model has no vector for them"

#: Facts that are ranked at most: an estimate from so many is within a percent.
_RANKED = 20_000


@dataclass(frozen=True)
class Learnt:
    """Vectors of entities (n, dim) and relations (2k, dim, inverses last), and what scores tails."""

    entity_vectors: NDArray[np.float32]
    relation_vectors: NDArray[np.float32]
    scorer: Any

    @property
    def entities(self) -> int:
        """How many entities there are."""
        return len(self.entity_vectors)

    def score(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Return the scores (n, entities) of n pairs."""
        scores: Tensor = self.scorer(heads, relations)
        return scores


def embed_graph(area: Area, config: GraphEmbedConfig, ledger: Ledger, around: Session | None = None) -> GraphEmbeddings:
    """Learn the graph of an area, write `embeddings/NAME.parquet` of its regions, and return the vectors.

    Of two inverse relations only the first is learnt, with its inverse on the carrier, and facts that tell a held-out
    one from the other end are removed from training: scores are not given away. All entities and relations are written
    beside, as `NAME.safetensors`. In an inductive run only CompGCN has vectors for the regions held out; of any other
    model the other entities' vectors are still free of their facts, and serve as inputs of `graph align`.
    """
    around = around or Session()
    graph = Graph.read(area)
    partner = inverse_of(graph)
    graph = graph.canonical(partner)
    # What is left of inverse pairs are symmetric relations.
    partner = np.where(partner == np.arange(len(partner)), partner, -1)
    ledger.count("facts, inverses told once", len(graph.facts))
    kept = graph
    if config.inductive is not None:
        held = graph.rows_of(_tested(area, config.inductive))
        kept = without_regions(graph, held)
        ledger.count("regions held out", int((held >= 0).sum()))
        ledger.drop("fact of a held-out region, in training", len(graph.facts) - len(kept.facts))
    parts = hold_out(kept, config.held_out, config.seed, partner)
    ledger.count("training facts", len(parts.train))
    ledger.count("tested facts", len(parts.test))
    ledger.drop("fact that tells a tested one from the other end", len(parts.removed))
    # After an inductive run regions are told by all their facts again, but for those that are tested.
    restores = config.inductive is not None and config.model == "CompGCN"
    told = parts.train if not restores else _without(graph, parts.test, parts.removed)
    given_away = leaking(told, parts.test, partner, graph.number_of_entities)
    ledger.count("tested facts that training knows", int(given_away.sum()))
    learnt, history = _learn(graph, parts.train, told, config, around, contents(graph_inputs(config)))
    if history:
        ledger.facts["loss"] = {"first": history[0]["train_loss"], "last": history[-1]["train_loss"]}
        if config.out is not None and around.world.first:
            config.out.mkdir(parents=True, exist_ok=True)
            write_json_lines(config.out / "history.jsonl", history)
            ledger.outputs.append(config.out / "history.jsonl")
    relations = graph.number_of_relations
    if len(parts.test):
        drawn = np.random.default_rng(config.seed).permutation(len(parts.test))[:_RANKED]
        known = KnownTails.of(both_ways(graph.facts, relations), 2 * relations)
        both = both_ways(parts.test[drawn], relations)
        scores = link_scores(rank_facts(learnt, both, known))
        ledger.facts["link_prediction"] = {name: round(value, 4) for name, value in scores.items()}
        ledger.facts["link_prediction"]["ranked"] = len(both)
    note = TRANSDUCTIVE if config.inductive is None else INDUCTIVE if restores else PARTIAL
    ledger.facts["note"] = note
    return _write(area, graph if restores else kept, learnt, config, note, ledger, write=around.world.first)


def train_graph(config: GraphEmbedConfig, ledger: Ledger, progress: Progress = silent) -> list[Path]:
    """Learn the graph of `config.area`, and return the files that were written into it."""
    area = Area.open(config.area)
    with session(config, states_of(area.embeddings_path(name_of(config)).with_suffix("")), progress) as around:
        embed_graph(area, config, ledger, around)
        outputs, ledger.outputs = ledger.outputs, []
        return outputs


def graph_inputs(config: GraphEmbedConfig) -> list[Path]:
    """Return the files that vectors are learnt from."""
    area = Area.open(config.area)
    inputs = [area.table_path(name) for name in ("triples", "entities", "regions")]
    return inputs if config.inductive is None else [*inputs, area.path / "splits" / f"{config.inductive}.parquet"]


def name_of(config: GraphEmbedConfig) -> str:
    """Return what the vectors are called."""
    return config.name or f"{config.model}-{config.dim}" + ("-inductive" if config.inductive else "")


def _tested(area: Area, split: str) -> pd.Series[str]:
    table = area.split_of_regions(split)
    return table.loc[table["role"] == "test", "region_id"]


def _without(graph: Graph, *gone: Indices) -> Indices:
    """Return the facts of a graph that are in none of `gone`."""
    number = graph.number_of_entities

    def keys(rows: Indices) -> Indices:
        return np.asarray((rows[:, 1] * number + rows[:, 0]) * number + rows[:, 2])

    return graph.facts[~np.isin(keys(graph.facts), keys(np.concatenate(gone)))]


def _learn(
    graph: Graph, train: Indices, told: Indices, config: GraphEmbedConfig, around: Session, data: str
) -> tuple[Learnt, list[dict[str, Any]]]:
    """Return what was learnt from the facts `train`, entities told by the facts `told`, and the loop's history."""
    relations, entities = graph.number_of_relations, graph.number_of_entities
    if config.model not in ("TuckER", "CompGCN"):
        from chorograph.pretraining.objectives.pykeen import learn_with_pykeen

        return Learnt(*learn_with_pykeen(graph, train, config)), []
    size, seed, world = config.batch_size, config.seed, around.world
    objective: LinkObjective
    source: PairBatches | FactBatches
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if config.model == "TuckER":
            both = both_ways(train, relations)
            source = PairBatches(both, entities, 2 * relations, config.candidates, size, seed, world)
            objective = TuckerObjective(TuckER(entities, 2 * relations, config.dim))
        else:
            tower = CompGcn(relations, config.dim, config.layers, config.composition, compat=config.compat)
            torch.manual_seed(seed)
            objective = CompGcnObjective(CompGcnLinks(graph, tower, config.dim))
            source = FactBatches(graph, train, config.fan_out, config.layers, size, seed, world, compat=config.compat)
        state = around.train(objective, source, config, config.lr, data)
    model: Any = objective.head
    if config.model == "TuckER":
        return Learnt(
            model.entity.detach().numpy().copy(), model.relation.detach().numpy().copy(), model
        ), state.history
    vectors, kinds = encode(model, told, relations, compat=config.compat)
    learnt = Learnt(
        vectors.numpy(), kinds.numpy(), lambda heads, relation: (vectors[heads] * kinds[relation]) @ vectors.T
    )
    return learnt, state.history


def _write(
    area: Area, graph: Graph, learnt: Learnt, config: GraphEmbedConfig, note: str, ledger: Ledger,
    *, write: bool,
) -> GraphEmbeddings:  # fmt: skip
    ids = area.regions["region_id"]
    rows = graph.rows_of(ids)
    held = rows >= 0
    # A region without any fact has no vector: it is not told what another's would be.
    used = np.isin(rows, graph.facts[:, [0, 2]])
    ledger.drop("region that no fact told", int((~(held & used)).sum()))
    vectors = learnt.entity_vectors[rows[held & used]].astype(np.float32)
    name = name_of(config)
    embeddings = GraphEmbeddings(
        model=name,
        fingerprint=hashlib.sha256(np.ascontiguousarray(learnt.entity_vectors).tobytes()).hexdigest(),
        region_ids=ids.to_numpy(object)[held & used],
        vectors=vectors,
        note=note,
    )
    ledger.count("regions", len(embeddings.region_ids))
    ledger.count("width", vectors.shape[1])
    if not write:
        return embeddings
    path = area.embeddings_path(name)
    ledger.outputs.append(embeddings.write(path))
    arrays = {"entities": learnt.entity_vectors, "relations": learnt.relation_vectors}
    with atomic_path(path.with_suffix(".safetensors")) as temporary:
        save_file({key: np.ascontiguousarray(array, dtype=np.float32) for key, array in arrays.items()}, temporary)
    ledger.outputs.append(path.with_suffix(".safetensors"))
    return embeddings


TUCKER = Trainer(GraphEmbedConfig, graph_inputs, train_graph, (("model", "TuckER"),))
COMPGCN = Trainer(GraphEmbedConfig, graph_inputs, train_graph, (("model", "CompGCN"),))
