from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from chorograph.graph.neighbours import Neighbours  # noqa: E402
from chorograph.ground.errors import UnknownNameError  # noqa: E402
from chorograph.models.graph.compgcn import (  # noqa: E402
    COMPOSITIONS,
    CompGcn,
    CompGcnLayer,
    as_edges,
    circular_correlation,
    degree_weights,
    directed,
    rotate,
)

#: A->B, A->C, B->C
TOY = np.array([[0, 0, 1], [0, 0, 2], [1, 0, 2]])


def made(entities: int, relations: int, number: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, entities, number), rng.integers(0, relations, number), rng.integers(0, entities, number)]
    return np.unique(np.stack(columns, 1), axis=0)


# Worked by hand from KnowCL ------------------------------------------------------------------------------------------


def test_rotate_is_the_complex_product_of_halves() -> None:
    assert rotate(torch.tensor([1.0, 2, 3, 4]), torch.tensor([0.5, -1, 2, 0])).tolist() == [-5.5, -2, 3.5, -4]


def test_circular_correlation_equals_its_sum() -> None:
    a, b = torch.randn(2, 6, dtype=torch.float64)
    slow = torch.stack([sum(a[i] * b[(k + i) % 6] for i in range(6)) for k in range(6)])
    assert torch.allclose(circular_correlation(a, b), slow)


def test_every_edge_counts_in_fixed_mode_and_few_in_compat() -> None:
    assert np.allclose(degree_weights(TOY, 3, compat=True), [0, 0, 0.70710678])
    assert (degree_weights(TOY, 3) > 0).all()
    # 1 / sqrt(sent by the head x received by the tail)
    assert np.allclose(degree_weights(TOY, 3), [2**-0.5, 0.5, 2**-0.5])


def test_inverses_run_back_and_in_compat_nowhere() -> None:
    facts, weights = directed(TOY, 3, 1)
    assert facts[3:].tolist() == [[1, 1, 0], [2, 1, 0], [2, 1, 1]]
    assert (weights > 0).all()
    facts, weights = directed(TOY, 3, 1, compat=True)
    assert facts[3:].tolist() == [[1, 1, 1], [2, 1, 2], [2, 1, 2]]
    assert np.allclose(weights[3:], [1, 0.5, 0.5])


# Against plain dense arithmetic --------------------------------------------------------------------------------------


def dense(layer: CompGcnLayer, name: str, x: np.ndarray, r: np.ndarray, facts: np.ndarray, k: int) -> np.ndarray:
    """The layer as a loop over facts, in numpy, dropout off and batch norm at its initial statistics."""

    def compose(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if name == "sub":
            return a - b
        if name == "mul":
            return a * b
        if name == "rotate":
            h = len(a) // 2
            z = (a[:h] + 1j * a[h:]) * (b[:h] + 1j * b[h:])
            return np.concatenate([z.real, z.imag])
        return np.array([sum(a[i] * b[(j + i) % len(a)] for i in range(len(a))) for j in range(len(a))])

    def weights(linear: torch.nn.Linear) -> tuple[np.ndarray, np.ndarray]:
        w = linear.weight.detach().numpy()
        return w, np.zeros(len(w)) if linear.bias is None else linear.bias.detach().numpy()

    n, compat = len(x), layer.compat
    total = np.zeros((n, layer.forwards.out_features))
    for backward, linear in ((False, layer.forwards), (True, layer.backwards)):
        w, b = weights(linear)
        turned = facts if not backward else facts[:, [2, 1, 0]]
        if backward and compat:
            turned = facts[:, [2, 1, 2]]
        into, out = np.bincount(turned[:, 2], minlength=n), np.bincount(turned[:, 0], minlength=n)
        for head, relation, tail in turned:
            ends = (into if compat else out)[head] * into[tail]
            norm = ends**-0.5 if ends else 0.0
            vector = r[relation + k * backward]
            if compat:
                total[tail] += w @ compose(x[head], norm * vector) + b
            else:
                total[tail] += norm * (w @ compose(x[head], vector))
        if not compat:
            total += b
    w, b = weights(layer.itself)
    loop = layer.loop.detach().numpy()[0]
    own = np.stack([w @ compose(row, loop) + b for row in x])
    return np.tanh((own + total) / 3 / np.sqrt(1 + layer.norm.eps))


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("name", list(COMPOSITIONS))
def test_a_layer_equals_the_dense_one(name: str, compat: bool) -> None:
    torch.manual_seed(0)
    facts, k, n = made(7, 2, 15), 2, 7
    layer = CompGcnLayer(6, 4, name, compat=compat).double().eval()
    for part in (layer.forwards, layer.backwards):
        torch.nn.init.normal_(part.bias)
    x, r = np.random.default_rng(1).normal(size=(n, 6)), np.random.default_rng(2).normal(size=(2 * k, 6))
    both, weight = directed(facts, n, k, compat=compat)
    edges = as_edges(both, weight.astype(np.float64), k)
    with torch.no_grad():
        found, _ = layer(torch.from_numpy(x), torch.from_numpy(r), edges)
    assert np.allclose(found.numpy(), dense(layer, name, x, r, facts, k), atol=1e-6)


def test_unknown_compositions_are_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'rotate'"):
        CompGcnLayer(4, 4, "rotat")


# Sampling ------------------------------------------------------------------------------------------------------------


def test_a_sample_of_everything_gives_what_the_whole_graph_gives() -> None:
    torch.manual_seed(0)
    facts, k, n = made(40, 3, 150), 3, 40
    both, weight = directed(facts, n, k)
    model = CompGcn(k, 8, layers=2).eval()
    x = torch.randn(n, 8)
    sampled = Neighbours.of(both, n, weight).sample(np.array([3, 7, 30]), (1000, 1000), np.random.default_rng(0))
    with torch.no_grad():
        whole, _ = model(x, as_edges(both, weight, k))
        edges = as_edges(sampled.facts, sampled.weight, k)
        few, _ = model(x[torch.from_numpy(sampled.entities)], edges, sampled.steps)
    assert torch.allclose(few, whole[[3, 7, 30]], atol=1e-6)


def test_samples_keep_to_the_fan_out_and_their_weight() -> None:
    facts = np.stack([np.arange(1, 101), np.zeros(100, int), np.zeros(100, int)], 1)
    found = Neighbours.of(facts, 101).sample(np.array([0]), (10,), np.random.default_rng(0))
    assert len(found.facts) == 10
    assert len(set(found.facts[:, 0])) == 10  # none twice
    assert found.weight.sum() == pytest.approx(100)  # the sum is that of all
    assert found.steps == ((1, 10),)


def test_the_seed_decides_the_sample() -> None:
    index = Neighbours.of(made(50, 2, 600), 50)
    one, same, other = (index.sample(np.arange(5), (4, 4), np.random.default_rng(s)).entities for s in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
