"""Batch norms over the rows of all processes that train together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SyncedNorm(nn.modules.batchnorm._BatchNorm):
    """A batch norm over the rows of all processes; torch has one for GPUs only."""

    def forward(self, given: Tensor) -> Tensor:
        """Return `given` (n, channels, ...), normalised."""
        if not self.training:
            return super().forward(given)
        rows, shape = [0, *range(2, given.ndim)], [1, -1] + [1] * (given.ndim - 2)
        wide, channels = given.float(), given.shape[1]
        number = wide.new_tensor([given.numel() / channels])
        sums = torch.cat([wide.sum(rows), (wide * wide).sum(rows), number])
        summed: Tensor = all_reduce(sums)  # type: ignore[no-untyped-call]
        total, squares, count = summed[:channels], summed[channels:-1], summed[-1:]
        mean = total / count
        variance = squares / count - mean * mean
        with torch.no_grad():
            running: Any = self
            running.num_batches_tracked.add_(1)
            running.running_mean.lerp_(mean, running.momentum)
            running.running_var.lerp_(variance * count / (count - 1), running.momentum)
        normal = (wide - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        result: Tensor = normal * self.weight.view(shape) + self.bias.view(shape)
        return result.to(given.dtype)

    def _check_input_dim(self, given: Tensor) -> None:
        """Any number of dimensions will do."""


def sync_norms(module: nn.Module) -> int:
    """Let every batch norm of a module see the rows of all processes, in place; returns how many there are."""
    norms = [norm for norm in module.modules() if isinstance(norm, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.__class__ = SyncedNorm
    return len(norms)
