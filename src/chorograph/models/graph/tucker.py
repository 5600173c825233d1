"""TuckER (Balazevic et al. 2019): a fact's score is the core tensor times head, relation and tail."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TuckER(nn.Module):
    """Scores of facts of `entities` and `relations` (inverse relations counted, where they are used).

    `core` (dim of relations, dim, dim) as in the paper: score = core x1 relation x2 head x3 tail. Dropout stands where
    the paper has it; its two batch norms are left out, which our graphs train as well without.
    """

    def __init__(
        self, entities: int, relations: int, dim: int, relation_dim: int | None = None, dropout: float = 0.2
    ) -> None:
        super().__init__()
        width = relation_dim or dim
        self.entity = nn.Parameter(torch.empty(entities, dim).normal_(std=dim**-0.5))
        self.relation = nn.Parameter(torch.empty(relations, width).normal_(std=width**-0.5))
        self.core = nn.Parameter(torch.empty(width, dim, dim).uniform_(-1.0, 1.0))
        self.dropout = nn.Dropout(dropout)

    def forward(self, heads: Tensor, relations: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Return the scores (n, candidates) of n pairs (head, relation) with each candidate tail, or with all."""
        turned = self.query(self.dropout(self.entity[heads]), self.relation[relations])
        tails = self.entity if candidates is None else self.entity[candidates]
        scores: Tensor = self.dropout(turned) @ tails.T
        return scores

    def query(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Return what a tail must resemble, (n, dim): core x1 relation x2 head."""
        # One product of (n, dim of relations x dim) with the core, instead of a matrix for each row.
        outer = (relations[:, :, None] * heads[:, None, :]).flatten(1)
        turned: Tensor = outer @ self.core.flatten(0, 1)
        return turned
