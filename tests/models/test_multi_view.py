from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from chorograph.models.views.location import SIGMAS, FourierFeatures, LocationEncoder, equal_earth  # noqa: E402
from chorograph.models.views.multi_view import (  # noqa: E402
    MultiView,
    token_loss,
    token_similarity,
    word_similarity,
)

# Worked by hand from UrbanVLP -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "point"),
    [
        ((0.0, 0.0), (0.0, 0.0)),
        ((0.0, 180.0), (1.0, 0.0)),
        ((90.0, 0.0), (0.0, 0.486717)),
        ((40.042901, 116.253607), (0.572270, 0.286471)),
    ],
)
def test_equal_earth(place: tuple[float, float], point: tuple[float, float]) -> None:
    found = equal_earth(torch.tensor(place, dtype=torch.float64))
    assert torch.allclose(found, torch.tensor(point, dtype=torch.float64), atol=1e-6)


E1, E2 = [1.0, 0.0], [0.0, 1.0]
IMAGES = torch.tensor([[E1, E2], [E1, E1]])
TEXTS = torch.tensor([[E1, E2], [E1, E1]])


def published_token_loss(images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
    """Return the published form: one similarity, no temperature, its transpose for the second direction."""
    similarity, own = token_similarity(images, texts), torch.arange(len(images))
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(similarity, own) + cross_entropy(similarity.T, own)) / 2


def test_token_similarity_and_its_untempered_loss() -> None:
    assert token_similarity(IMAGES, TEXTS).tolist() == [[1.0, 0.5], [1.0, 1.0]]
    assert float(published_token_loss(IMAGES, TEXTS)) == pytest.approx(0.583612, abs=1e-6)


@pytest.mark.parametrize("similarity", [token_similarity, word_similarity])
def test_padding_matches_nothing(similarity: object) -> None:
    assert callable(similarity)
    held = torch.tensor([[True, True, False, False]] * 2)
    padded = torch.cat([TEXTS, 9 * torch.ones(2, 2, 2)], dim=1)
    assert torch.equal(similarity(IMAGES, padded, held), similarity(IMAGES, TEXTS))


def test_a_temperature_lets_the_loss_fall_below_its_published_floor() -> None:
    tokens = torch.eye(8)[:, None, :]
    assert float(published_token_loss(tokens, tokens)) > math.log(1 + 7 * math.exp(-2))
    assert float(token_loss(tokens, tokens, scale=50.0)) < 1e-6
    with pytest.raises(ValueError, match="without any word"):
        token_similarity(IMAGES, TEXTS, torch.zeros(2, 2, dtype=torch.bool))


# The location encoder ------------------------------------------------------------------------------------------------


def test_three_scales_of_fixed_frequencies() -> None:
    encoder = LocationEncoder(dim=16, hidden=32, features=64)
    spread = [branch[0].frequencies.std().item() for branch in encoder.branches]
    assert all(abs(found / sigma - 1) < 0.3 for found, sigma in zip(spread, SIGMAS, strict=True))
    assert not any("frequencies" in name for name, _ in encoder.named_parameters())
    places = torch.tensor([[47.6, -122.3], [40.0, 116.3]])
    assert encoder(places).shape == (2, 16)
    other = LocationEncoder(16, 32, 64)
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(encoder(places), other(places))
    features = FourierFeatures(1.0, 5)(torch.zeros(1, 2))
    assert features.tolist() == [[1.0] * 5 + [0.0] * 5]


# The model -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", ["sum", "gated"])
def test_views_are_a_masked_set(fusion: str) -> None:
    torch.manual_seed(0)
    model = MultiView(6, 5, dim=16, fusion=fusion, location_hidden=32)  # type: ignore[arg-type]
    satellite, street = torch.randn(4, 6), torch.randn(4, 3, 5)
    places = torch.tensor([40.0, 116.0]) + torch.rand(4, 3, 2)
    held = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
    found = model(satellite, street, places, held)
    # Without a street view: what is seen above, exactly.
    assert torch.equal(found[3], model.satellite(satellite)[3])
    assert not torch.allclose(found[0], model.satellite(satellite)[0])
    # Order does not matter, nor does what stands where nothing is.
    order = torch.tensor([2, 0, 1])
    assert torch.allclose(model(satellite, street[:, order], places[:, order], held[:, order]), found, atol=1e-5)
    spoilt = torch.where(held[..., None], street, torch.tensor(float("nan")))
    assert torch.allclose(model(satellite, spoilt, places, held), found, atol=1e-6)
    torch.autograd.backward(found.square().sum())
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_batch_without_any_street_view_trains() -> None:
    model = MultiView(6, 5, dim=8, location_hidden=16)
    held = torch.zeros(2, 3, dtype=torch.bool)
    found = model(torch.randn(2, 6), torch.randn(2, 3, 5), torch.zeros(2, 3, 2), held)
    torch.autograd.backward(found.sum())
    assert torch.isfinite(found).all()
