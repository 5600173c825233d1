from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from chorograph.models.graph.tucker import TuckER  # noqa: E402


def test_scores_equal_pykeens_on_the_same_weights() -> None:
    modules = pytest.importorskip("pykeen.nn.modules")
    torch.manual_seed(0)
    ours = TuckER(12, 6, dim=8, relation_dim=5).eval()
    theirs = modules.TuckERInteraction(embedding_dim=8, relation_dim=5, apply_batch_normalization=False).eval()
    with torch.no_grad():
        theirs.core_tensor.copy_(ours.core.permute(1, 0, 2))  # theirs: head, relation, tail
        heads, relations = torch.randint(12, (20,)), torch.randint(6, (20,))
        found = ours(heads, relations)
        wanted = theirs(ours.entity[heads][:, None], ours.relation[relations][:, None], ours.entity[None])
    assert torch.allclose(found, wanted, atol=1e-5)


def test_candidates_are_columns_of_all() -> None:
    model = TuckER(9, 2, 4).eval()
    heads, relations, some = torch.tensor([0, 3]), torch.tensor([1, 0]), torch.tensor([8, 2, 5])
    assert torch.allclose(model(heads, relations, some), model(heads, relations)[:, some])


def test_score_is_the_trilinear_form() -> None:
    model = TuckER(5, 3, 4).eval()
    e, r, w = (p.detach().numpy() for p in (model.entity, model.relation, model.core))
    found = model(torch.tensor([2]), torch.tensor([1])).detach().numpy()[0]
    assert np.allclose(found, np.einsum("r,h,rht,nt->n", r[1], e[2], w, e), atol=1e-5)
