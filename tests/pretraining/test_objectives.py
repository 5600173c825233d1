from __future__ import annotations

import math

import pytest
import torch
from open_clip.loss import DistillClipLoss, SigLipLoss
from torch import nn

from chorograph.ground.errors import InputError
from chorograph.models.coca.contrast import clamp_scale, contrastive_loss, distillation_loss, sigmoid_loss, with_bias
from chorograph.models.coca.towers import SMALL, build
from chorograph.pretraining.objectives.pairs import PAIRINGS, Towers, real_tokens


def test_contrast_of_two_perfect_pairs() -> None:
    """Worked by hand: I = T = identity of two, scale 1/0.07."""
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


@pytest.mark.parametrize(("value", "expected"), [(9.0, 4.60517), (-1.0, 0.0), (2.0, 2.0)])
def test_the_scale_stays_within_its_bounds(value: float, expected: float) -> None:
    model = nn.Module()
    model.logit_scale = nn.Parameter(torch.tensor(value))
    clamp_scale(model)
    assert model.logit_scale.item() == pytest.approx(expected, abs=1e-5)


def test_captions_need_a_decoder() -> None:
    with pytest.raises(InputError, match="coca-small"):
        PAIRINGS["coca"].check(build(SMALL["clip-small"], 0))


def test_captioning_alone_leaves_the_contrastive_feature_untrained() -> None:
    model = build({**SMALL["coca-small"]}, 0)
    images = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[1, 5, 6, 7, 1023], [1, 8, 9, 1023, 0]])
    features, sums = Towers(model, captions=True)(images, tokens)
    contrastive = PAIRINGS["caption"].contrast(*features, slice(0, 2), model)
    torch.autograd.backward(PAIRINGS["caption"].contrastive * contrastive + sums["captioning"] / real_tokens(tokens))
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    for name in ("visual.proj", "logit_scale", "text.text_projection"):
        found = gradients[name]
        assert found is None or not found.any(), name
    assert gradients["visual.conv1.0.weight"].abs().sum() > 0
    with pytest.raises(InputError, match="objective caption needs"):
        PAIRINGS["caption"].check(build(SMALL["clip-small"], 0))


def test_parts_of_a_loss_add_up_to_it() -> None:
    generator = torch.Generator().manual_seed(0)
    images, texts = (nn.functional.normalize(torch.randn(7, 5, generator=generator), dim=-1) for _ in range(2))
    scale, bias = torch.tensor(3.0), torch.tensor(-2.0)
    own = [slice(0, 3), slice(3, 7)]
    whole = contrastive_loss(images, texts, scale)
    torch.testing.assert_close(sum(contrastive_loss(images, texts, scale, rows) for rows in own), whole)
    pairs = sigmoid_loss(images, texts, scale, bias)
    torch.testing.assert_close(sum(sigmoid_loss(images, texts, scale, bias, rows) for rows in own), pairs)


def test_the_distillation_loss_is_open_clips_and_adds_up() -> None:
    generator = torch.Generator().manual_seed(0)
    sides = [nn.functional.normalize(torch.randn(6, 5, generator=generator), dim=-1) for _ in range(4)]
    images, texts, teacher, taught = sides
    _, expected = DistillClipLoss()(images, texts, torch.tensor(7.0), teacher, taught, torch.tensor(9.0))
    parts = [distillation_loss(7 * images, texts, 9 * teacher, taught, own) for own in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(sum(parts), expected)


def test_the_sigmoid_loss_is_open_clips() -> None:
    generator = torch.Generator().manual_seed(0)
    images, texts = (nn.functional.normalize(torch.randn(6, 5, generator=generator), dim=-1) for _ in range(2))
    sides = [[side.clone().requires_grad_() for side in (images, texts)] for _ in range(2)]
    scales = [[torch.tensor(value, requires_grad=True) for value in (10.0, -10.0)] for _ in range(2)]
    found = sigmoid_loss(*sides[0], *scales[0])
    expected = SigLipLoss()(*sides[1], *scales[1])
    found.backward()
    expected.backward()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    for ours, theirs in zip(sides[0] + scales[0], sides[1] + scales[1], strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)


def test_siglip_needs_a_bias_and_gets_one() -> None:
    model = build(SMALL["clip-small"], 0)
    with pytest.raises(InputError, match="bias"):
        PAIRINGS["siglip"].check(model)
    settings = with_bias(model)
    PAIRINGS["siglip"].check(model)
    assert with_bias(model) == {}
    rebuilt = build({**SMALL["clip-small"], **settings}, 0)
    rebuilt.load_state_dict(model.state_dict())
    assert rebuilt.logit_bias.item() == model.logit_bias.item() == -10
    assert rebuilt.logit_scale.item() == pytest.approx(math.log(10))
