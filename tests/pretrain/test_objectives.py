from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from chorograph.area.errors import InputError, UnknownNameError
from chorograph.models.coca import SMALL, build
from chorograph.pretrain.objectives import captioning_loss, clamp_scale, contrastive_loss, objective


def test_contrast_of_two_perfect_pairs() -> None:
    """FACTS 9.1.1: I = T = identity of two, scale 1/0.07."""
    identity = torch.eye(2, dtype=torch.float64)
    scale = 1 / 0.07
    logits = scale * identity
    expected = float(torch.logsumexp(logits[0], 0) - logits[0, 0])
    assert expected == pytest.approx(6.2487e-7, rel=1e-4)
    assert float(contrastive_loss(identity, identity, scale)) == pytest.approx(6.2487e-7, abs=1e-8, rel=0.2)


@pytest.mark.parametrize(("rows", "expected"), [(128, 4.85203), (2, math.log(2))])
def test_contrast_of_identical_rows_is_chance(rows: int, expected: float) -> None:
    same = torch.nn.functional.normalize(torch.ones(rows, 8), dim=-1)
    assert float(contrastive_loss(same, same, 100.0)) == pytest.approx(expected, abs=1e-5)


def test_padding_does_not_change_the_captioning_loss() -> None:
    """FACTS 9.1.2."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, 11, generator=generator)
    labels = torch.randint(1, 11, (3, 6), generator=generator)
    padded_logits = torch.cat([logits, torch.randn(3, 4, 11, generator=generator)], dim=1)
    padded_labels = torch.cat([labels, torch.zeros(3, 4, dtype=torch.long)], dim=1)
    before, after = captioning_loss(logits, labels), captioning_loss(padded_logits, padded_labels)
    assert float(after) == pytest.approx(float(before), abs=1e-6)


@pytest.mark.parametrize(("value", "expected"), [(9.0, 4.60517), (-1.0, 0.0), (2.0, 2.0)])
def test_the_scale_stays_within_its_bounds(value: float, expected: float) -> None:
    model = nn.Module()
    model.logit_scale = nn.Parameter(torch.tensor(value))
    clamp_scale(model)
    assert model.logit_scale.item() == pytest.approx(expected, abs=1e-5)


def test_objectives_by_name() -> None:
    assert objective("coca").name == "coca"
    with pytest.raises(UnknownNameError, match="clip"):
        objective("clipp")
    with pytest.raises(InputError, match="coca-small"):
        objective("coca").check(build(SMALL["clip-small"], 0))


def test_captioning_alone_leaves_the_contrastive_feature_untrained() -> None:
    model = build({**SMALL["coca-small"]}, 0)
    images = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[1, 5, 6, 7, 1023], [1, 8, 9, 1023, 0]])
    losses = objective("caption")(model, images, tokens)
    assert float(losses["loss"].detach()) == pytest.approx(float(losses["captioning"].detach()))
    torch.autograd.backward(losses["loss"])
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for name in ("visual.proj", "logit_scale", "text.text_projection"):
        found = gradients[name]
        assert found is None or not found.any(), name
    assert gradients["visual.conv1.0.weight"].abs().sum() > 0
    with pytest.raises(InputError, match="objective caption needs"):
        objective("caption").check(build(SMALL["clip-small"], 0))
