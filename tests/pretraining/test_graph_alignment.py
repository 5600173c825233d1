from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from chorograph.area.folder import Area  # noqa: E402
from chorograph.graph.vectors import GraphEmbeddings  # noqa: E402
from chorograph.ground.errors import InputError  # noqa: E402
from chorograph.ground.stage import silent  # noqa: E402
from chorograph.models.encoders.registry import load_encoder  # noqa: E402
from chorograph.models.graph.aligned import PixelTower  # noqa: E402
from chorograph.models.graph.alignment import corrected_loss, published_loss, summed_loss  # noqa: E402
from chorograph.models.graph.image_set import AttentionSet, masked_mean  # noqa: E402
from chorograph.pretraining.config import AlignConfig  # noqa: E402
from chorograph.verbs.graph.align import run as align  # noqa: E402

# Values worked by hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("similarity", "value"),
    [
        ([[2.0, 0.0], [0.0, 2.0]], 0.507712),
        ([[0.0] * 3] * 3, 6.591674),
        ([[1.0, 2.0], [0.0, 1.0]], 3.253047),
    ],
)
def test_pair_loss(similarity: list[list[float]], value: float) -> None:
    scores = torch.tensor(similarity, dtype=torch.float64)
    assert float(published_loss(scores)) == pytest.approx(value, abs=1e-6)
    assert float(summed_loss(scores)) == pytest.approx(value, abs=1e-6)


def test_log_softmax_stays_finite_where_the_published_gradient_dies() -> None:
    scores = torch.full((2, 2), 1000.0).fill_diagonal_(0.0).requires_grad_()
    torch.autograd.backward(summed_loss(scores))
    assert scores.grad is not None
    assert scores.grad.abs().min() > 0.9
    dead = torch.full((2, 2), 1000.0).fill_diagonal_(0.0).requires_grad_()
    torch.autograd.backward(published_loss(dead))
    assert dead.grad is not None
    assert dead.grad.abs().max() == 0
    assert torch.isfinite(summed_loss(1000 * torch.eye(3)))


def test_the_corrected_loss_does_not_depend_on_lengths() -> None:
    a, b, scale = torch.randn(5, 4), torch.randn(5, 4), torch.tensor(2.0)
    assert torch.allclose(corrected_loss(a, b, scale), corrected_loss(7 * a, b / 3, scale), atol=1e-5)
    same = torch.ones(4, 3)
    assert float(corrected_loss(same, same, scale)) == pytest.approx(np.log(4), abs=1e-5)


# Sets ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mean", "attention"])
def test_sets_forget_order_and_what_is_masked(kind: str) -> None:
    torch.manual_seed(0)
    pool: Any = masked_mean if kind == "mean" else AttentionSet(6)
    features, held = torch.randn(3, 4, 6), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    found = pool(features, held)
    turned = torch.randperm(4)
    assert torch.allclose(pool(features[:, turned], held[:, turned]), found, atol=1e-6)
    spoilt = torch.where(held[..., None], features, torch.tensor(float("nan")))
    assert torch.allclose(pool(spoilt, held), found, atol=1e-6)
    assert (found[2] == 0).all()
    alone = torch.tensor([[False, True, False, False]])
    assert torch.allclose(pool(features[:1], alone), features[:1, 1], atol=1e-6)


# A city whose imagery says what its graph says -----------------------------------------------------------------------


def run(city: Path, out: Path, **settings: Any) -> tuple[dict[str, Any], GraphEmbeddings]:
    given = {"graph": "TuckER-16", "tower": "resnet10t", "size": 16, "epochs": 2, "lr": 0.003, **settings}
    config = AlignConfig(area=city, out=out, **given)
    manifest = align(config, silent).manifest
    return manifest, GraphEmbeddings.read(Area.open(city).embeddings_path(config.name))


def test_the_tower_learns_what_the_graph_says(city: Path, tmp_path: Path) -> None:
    manifest, told = run(city, tmp_path / "tower", epochs=15, inductive="published")
    assert manifest["counts"] == {"regions held out": 12, "regions trained on": 68, "images": 160}
    assert manifest["facts"]["loss"]["last"] < 0.85 * manifest["facts"]["loss"]["first"]
    assert len(told.region_ids) == 80
    assert "inductive" in told.note
    encoder = load_encoder(f"knowcl:{tmp_path / 'tower'}")
    area = Area.open(city)
    vectors = encoder.encode([area.read_image(uri) for uri in area.images["uri"].head(3)])
    assert vectors.shape == (3, encoder.dim)
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("loss", ["corrected", "published"])
def test_the_seed_decides(city: Path, tmp_path: Path, loss: str) -> None:
    found = [
        run(city, tmp_path / str(number), seed=seed, loss=loss, pooling="attention", name=f"s{number}")[1].vectors
        for number, seed in enumerate((0, 0, 1))
    ]
    assert np.array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_large_graphs_are_sampled(city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole = run(city, tmp_path / "whole", epochs=1, name="whole")
    monkeypatch.setattr(sys.modules["chorograph.pretraining.feeds.facts"], "_WHOLE", 0)
    manifest, sampled = run(city, tmp_path / "sampled", epochs=1, name="sampled")
    # Few facts lead to an entity here, so that a sample holds them all; dropout draws differ by the rows it sees.
    assert np.isfinite(manifest["facts"]["loss"]["last"])
    assert sampled.vectors.shape == whole.vectors.shape


def test_compat_towers_and_missing_inputs(city: Path, tmp_path: Path) -> None:
    _, found = run(city, tmp_path / "compat", compat=True, epochs=1, name="compat")
    assert np.isfinite(found.vectors).all()
    with pytest.raises(InputError, match="graph embed"):
        run(city, tmp_path / "a", graph="absent")
    with pytest.raises(InputError, match="chorograph embed"):
        run(city, tmp_path / "b", tower="vectors:absent")
    assert not (tmp_path / "b").exists()


def test_simclr_weights_are_taken_up(tmp_path: Path) -> None:
    tower = PixelTower("resnet18")
    state = {
        f"encoder.{name}": torch.randn_like(v) if v.is_floating_point() else v
        for name, v in tower.network.state_dict().items()
    }
    state |= {"projector.0.weight": torch.zeros(512, 512), "projector.2.weight": torch.zeros(64, 512)}
    torch.save(state, tmp_path / "checkpoint_100.tar")
    tower.start_from_simclr(tmp_path / "checkpoint_100.tar")
    assert torch.equal(tower.network.conv1.weight, state["encoder.conv1.weight"])
    torch.save({"encoder.conv1.weight": torch.zeros(1)}, tmp_path / "other.tar")
    with pytest.raises(InputError, match="does not hold the weights of a resnet18"):
        tower.start_from_simclr(tmp_path / "other.tar")
