"""The processes that train together: one, or as many as `torchrun` started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class World:
    """Which of `size` processes this is. Every method is called by all of them alike; alone, each is the identity."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over the processes."""
        if self.size > 1:
            tensor = tensor.clone()
            distributed.all_reduce(tensor)
        return tensor

    def gather(self, rows: Tensor, sizes: list[int]) -> Tensor:
        """Return the rows of all processes, (n, dim) of `sizes[rank]` each, in the order of the processes."""
        if self.size == 1:
            return rows
        # Collectives want one shape: shares that differ by a row or two are filled up and cut again.
        padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def sizes(self, number: int, device: torch.device) -> list[int]:
        """Return the number that each process has."""
        if self.size == 1:
            return [number]
        parts = [torch.empty(1, dtype=torch.long, device=device) for _ in range(self.size)]
        distributed.all_gather(parts, torch.tensor([number], device=device))
        return [int(part) for part in parts]

    def told(self, value: Any) -> Any:
        """Return what the first process says."""
        if self.size == 1:
            return value
        said = [value]
        distributed.broadcast_object_list(said, src=0)
        return said[0]

    def all(self, value: Any) -> list[Any]:
        """Return what every process says."""
        if self.size == 1:
            return [value]
        said: list[Any] = [None] * self.size
        distributed.all_gather_object(said, value)
        return said

    def wait(self) -> None:
        """Wait for the others."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """Join the processes that `torchrun` started (RANK and WORLD_SIZE in the environment), or be alone.

    On CUDA each process of a machine takes its own device. A group that stands already is used and left standing.
    """
    if distributed.is_initialized():
        yield World(distributed.get_rank(), distributed.get_world_size())
        return
    if not in_world():
        yield World()
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("cpu:gloo,cuda:nccl")
    else:
        distributed.init_process_group("gloo")
    try:
        yield World(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def in_world() -> bool:
    """Return whether this is one of several processes, or of one that `torchrun` started."""
    return distributed.is_initialized() or "WORLD_SIZE" in os.environ
