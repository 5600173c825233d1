"""Cross-entropy over a vocabulary without ever holding the logits of all tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Logits that are held at once: 64 MiB of float32.
_LOGITS = 2**24


class _SumOfLosses(torch.autograd.Function):
    """The gradients are made together with the loss, chunk by chunk: no logits are kept, and none computed twice."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, projection: Tensor, labels: Tensor, chunk: int) -> Tensor:
        needs_hidden, needs_projection = ctx.needs_input_grad[:2]
        weight = projection.to(hidden.dtype)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hidden_gradient = torch.empty_like(hidden) if needs_hidden else None
        gradient = torch.zeros_like(projection) if needs_projection else None
        for start in range(0, len(hidden), chunk):
            rows = slice(start, start + chunk)
            part, wanted = hidden[rows], labels[rows, None]
            logits = (part @ weight).float()
            total += (logits.logsumexp(1) - logits.gather(1, wanted)[:, 0]).sum()
            if hidden_gradient is None and gradient is None:
                continue
            # What is left of the logits is their gradient: the probabilities, less 1 where the token is the right one.
            slope = torch.softmax(logits, 1, out=logits)
            slope.scatter_add_(1, wanted, slope.new_full((1, 1), -1.0).expand(len(wanted), 1))
            slope = slope.to(hidden.dtype)
            if hidden_gradient is not None:
                torch.mm(slope, weight.T, out=hidden_gradient[rows])
            if gradient is not None:
                if slope.dtype == gradient.dtype:
                    gradient.addmm_(part.T, slope)
                else:
                    gradient += part.T @ slope
        ctx.save_for_backward(hidden_gradient, gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden_gradient, gradient = ctx.saved_tensors
        return (
            None if hidden_gradient is None else hidden_gradient * outer[0].to(hidden_gradient.dtype),
            None if gradient is None else gradient * outer[0],
            None,
            None,
        )


def sum_of_losses(hidden: Tensor, projection: Tensor, labels: Tensor, chunk: int | None = None) -> Tensor:
    """Return the sum of the cross-entropies of `hidden @ projection` against `labels`, in float32.

    `hidden` (n, width), `projection` (width, words), `labels` (n,). Under autocast the products are made in its type;
    the logits are always compared in float32. `chunk` rows are worked on at once. Not differentiable twice.
    """
    if chunk is None:
        chunk = max(_LOGITS // projection.shape[1], 16)
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else projection.dtype
    with torch.autocast(device, enabled=False):
        total: Tensor = _SumOfLosses.apply(hidden.to(dtype), projection, labels, chunk)
    return total
