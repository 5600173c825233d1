from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from chorograph.models.coca.vocabulary import sum_of_losses


def _made() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(23, 8, generator=generator)
    projection = torch.randn(8, 50, generator=generator)
    labels = torch.randint(0, 50, (23,), generator=generator)
    return hidden.requires_grad_(), projection.requires_grad_(), labels


@pytest.mark.parametrize("chunk", [1, 5, 23, 100, None])
def test_chunks_give_the_loss_and_gradients_of_all_logits_at_once(chunk: int | None) -> None:
    hidden, projection, labels = _made()
    expected = functional.cross_entropy(hidden @ projection, labels, reduction="sum")
    wanted = torch.autograd.grad(3 * expected, (hidden, projection))
    found = sum_of_losses(hidden, projection, labels, chunk)
    got = torch.autograd.grad(3 * found, (hidden, projection))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    hidden, projection, labels = _made()
    small = hidden.detach()[:3].double().requires_grad_(), projection.detach()[:, :6].double().requires_grad_()
    wanted = labels[:3] % 6
    step, at = 1e-4, (1, 2)
    found = torch.autograd.grad(sum_of_losses(*small, wanted, 2), small[0])[0][at]
    with torch.no_grad():
        sides = []
        for sign in (1, -1):
            moved = small[0].clone()
            moved[at] += sign * step
            sides.append(functional.cross_entropy(moved @ small[1], wanted, reduction="sum"))
    assert float(found) == pytest.approx(float(sides[0] - sides[1]) / (2 * step), rel=1e-3)


def test_what_is_frozen_gets_no_gradient() -> None:
    hidden, projection, labels = _made()
    projection.requires_grad_(False)
    sum_of_losses(hidden, projection, labels).backward()
    assert projection.grad is None
    assert hidden.grad is not None
    with torch.no_grad():
        assert not sum_of_losses(hidden, projection, labels).requires_grad


def test_autocast_multiplies_in_bfloat16_and_compares_in_float32() -> None:
    hidden, projection, labels = _made()
    expected = functional.cross_entropy(hidden @ projection, labels, reduction="sum")
    with torch.autocast("cpu", torch.bfloat16):
        found = sum_of_losses(hidden, projection, labels, 7)
    found.backward()
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=1e-2)
    assert projection.grad is not None
    assert projection.grad.dtype == torch.float32
