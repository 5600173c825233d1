"""Any other model of facts, by name, through PyKEEN; slower, and trained on facts one by one."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorograph.graph.facts import Graph
from chorograph.ground.arrays import Indices
from chorograph.ground.errors import InputError, MissingExtraError, UnknownNameError
from chorograph.pretraining.config import GraphEmbedConfig


def learn_with_pykeen(
    graph: Graph, train: Indices, config: GraphEmbedConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32], Any]:
    """Train PyKEEN's model on facts (n, 3) and their inverses; returns entity and relation vectors, and what scores.

    Raises `UnknownNameError` for a model that PyKEEN does not have, `InputError` for one that is not made from the
    facts alone or whose entity vectors are not one row of real numbers.
    """
    name = config.model
    try:
        from pykeen.models import model_resolver
        from pykeen.training import SLCWATrainingLoop
        from pykeen.triples import CoreTriplesFactory
    except ImportError as error:
        raise MissingExtraError.of("graph", error) from error
    logging.getLogger("pykeen").setLevel(logging.ERROR)
    known = {candidate.__name__ for candidate in model_resolver}
    if name not in known:
        raise UnknownNameError.of("graph model", name, known | {"TuckER", "CompGCN"})
    facts = CoreTriplesFactory(
        mapped_triples=torch.from_numpy(train),
        num_entities=graph.number_of_entities,
        num_relations=graph.number_of_relations,
        create_inverse_triples=True,
    )
    try:
        model: Any = model_resolver.make(name, triples_factory=facts, embedding_dim=config.dim, random_seed=config.seed)
        optimiser = torch.optim.Adam(model.parameters(), lr=config.lr)
        torch.manual_seed(config.seed)
        loop = SLCWATrainingLoop(model=model, triples_factory=facts, optimizer=optimiser)
        loop.train(facts, num_epochs=config.epochs, batch_size=config.batch_size, use_tqdm=False, use_tqdm_batch=False)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(f"PyKEEN's {name} cannot be trained on these facts: {error}") from error
    model = model.eval()
    vectors = _rows(model.entity_representations, name)
    relations = _rows(model.relation_representations, name)

    def score(heads: Tensor, kinds: Tensor) -> Tensor:
        # PyKEEN numbers relation and inverse in turns: 2r and 2r + 1; here inverses come after all relations.
        number = graph.number_of_relations
        turned = torch.where(kinds >= number, 2 * (kinds - number) + 1, 2 * kinds)
        scores: Tensor = model.score_t(torch.stack([heads, turned], dim=1), mode=None)
        return scores

    return vectors, relations, score


def _rows(representations: Any, name: str) -> NDArray[np.float32]:
    if not len(representations):
        return np.zeros((0, 1), dtype=np.float32)
    with torch.no_grad():
        found = representations[0]()
    if torch.is_complex(found):
        found = torch.view_as_real(found).flatten(1)
    array: NDArray[np.float32] = found.detach().flatten(1).numpy().astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"PyKEEN's {name} learnt vectors that are not finite; lower --lr")
    return array
