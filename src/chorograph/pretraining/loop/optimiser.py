"""The optimiser, its learning rate, and how large its gradients may be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn


def make_optimiser(
    parameters: Iterable[nn.Parameter],
    lr: float,
    weight_decay: float,
    device: torch.device,
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
) -> torch.optim.Optimizer:
    """Return AdamW in its fused form; biases, norms and scales (fewer than two dimensions) are not decayed."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
        {"params": [p for p in trained if p.ndim == 0], "weight_decay": 0.0},
    ]
    # Scales stay outside of shards, and one group does not take both kinds.
    fused = device.type in ("cpu", "cuda")
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=lr, betas=betas, eps=epsilon, fused=fused
    )


def peak_rate(asked: float | None, trained_before: bool) -> float:
    """Return the peak learning rate: the one asked for, or 1e-3 from scratch and 3e-5 from trained weights."""
    return asked if asked is not None else 3e-5 if trained_before else 1e-3


def rate_factor(step: int, steps: int, rises: int, schedule: str, falls: int = 0) -> float:
    """Return the learning rate of a step (from 0) as a share of its peak.

    A linear rise, then cosine or constant; `constant-cooldown` falls linearly in the last `falls` steps.
    """
    if step < rises:
        return (step + 1) / rises
    if schedule == "constant-cooldown":
        return min((steps - step) / max(falls, 1), 1.0)
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rises) / max(steps - rises, 1)))


def warm_up_steps(warmup: float, steps: int) -> int:
    """Return how many steps the learning rate rises: a share of all up to 1, their number above; at least one."""
    return max(round(warmup * steps if warmup <= 1 else warmup), 1)


def clip_gradients(parameters: Sequence[nn.Parameter], most: float) -> float:
    """Scale all gradients down, together, to a norm of at most `most`; returns the norm they had."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    # Of gradients in shards, each process knows its part of the norm only; `full_tensor` puts them together.
    norms: list[Any] = [gradient.norm() for gradient in gradients]
    whole = torch.stack([norm.full_tensor() if hasattr(norm, "full_tensor") else norm for norm in norms]).norm()
    factor = float((most / (whole + 1e-6)).clamp(max=1.0))
    if factor < 1:
        for gradient in gradients:
            gradient.mul_(factor)
    return float(whole)
