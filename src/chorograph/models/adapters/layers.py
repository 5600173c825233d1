"""The small modules of adapters that peft does not have for open_clip's towers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class LowRank(nn.Module):
    """A weight that learns in few dimensions, as a parametrization: W to W + s BA (Hu et al. 2022, LoRA)."""

    def __init__(self, weight: Tensor, rank: int, scaling: float = 1.0) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.down = nn.Parameter(torch.empty(rank, columns))
        self.up = nn.Parameter(torch.zeros(rows, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.scaling = scaling

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight in use."""
        return weight + self.scaling * (self.up @ self.down)


class Dora(LowRank):
    """A weight of trained direction and length, as a parametrization: m (W + BA) / |W + BA|, row by row.

    Liu et al. 2024, DoRA: weight-decomposed low-rank adaptation; lengths are held constant in the gradient, as there.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__(weight, rank)
        self.magnitude = nn.Parameter(torch.linalg.vector_norm(weight.detach(), dim=1))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight in use."""
        turned = super().forward(weight)
        length: Tensor = torch.linalg.vector_norm(turned.detach(), dim=1)
        return turned * (self.magnitude / length).unsqueeze(1)


class Scale(nn.Module):
    """IA3 in an attention, as a parametrization of its packed projection: keys and values scaled feature by feature.

    Liu et al. 2022, Few-shot parameter-efficient fine-tuning is better and cheaper than in-context learning.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2 * width))

    def forward(self, packed: Tensor) -> Tensor:
        """Scale the last two thirds of the rows of a weight or bias."""
        scale = torch.cat([self.scale.new_ones(len(self.scale) // 2), self.scale])
        return packed * (scale.unsqueeze(1) if packed.ndim == 2 else scale)


class ScaleAlike(nn.Module):
    """Scales by another module's numbers, without counting them as its own."""

    def __init__(self, other: Scale) -> None:
        super().__init__()
        self._other = (other,)  # not a submodule: a tensor has one name in a state

    def forward(self, packed: Tensor) -> Tensor:
        """Scale as the other does."""
        scaled: Tensor = self._other[0](packed)
        return scaled


class Bottleneck(nn.Module):
    """x + U ReLU(D x), after the feed-forward layer: Pfeiffer et al. 2020, MAD-X; with a gate, its part of UniPELT."""

    def __init__(self, width: int, hidden: int, *, gated: bool = False) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.gate = nn.Linear(width, 1) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, length, width) for the same."""
        added: Tensor = self.up(functional.relu(self.down(x)))
        return x + (added if self.gate is None else added * torch.sigmoid(self.gate(x)))


class AttentionAdapter(nn.Module):
    """What a prefix, or UniPELT, trains in one attention.

    `length` keys and values that belong to no token (Li and Liang 2021, Prefix-tuning; trained directly, not through
    a perceptron as AdapterHub does). With `rank`, LoRA on queries and values too, and with `gated`, a gate on each (Mao
    et al. 2022, UniPELT). Gates are a token's own: AdapterHub takes their mean over a text, padding included, which
    would make a vector depend on what else is in its batch.
    """

    def __init__(self, width: int, length: int, *, rank: int = 0, gated: bool = False) -> None:
        super().__init__()
        self.keys = nn.Parameter(0.02 * torch.randn(length, width))
        self.values = nn.Parameter(0.02 * torch.randn(length, width))
        self.prefix_gate = nn.Linear(width, 1) if gated else None
        self.lora_gate = nn.Linear(width, 1) if gated and rank else None
        self.down = nn.Parameter(torch.empty(2, rank, width)) if rank else None
        self.up = nn.Parameter(torch.zeros(2, width, rank)) if rank else None
        if self.down is not None:
            nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def low_rank(self, part: int, x: Tensor) -> Tensor | float:
        """Return what LoRA adds to the queries (part 0) or values (part 1) of tokens x."""
        if self.down is None or self.up is None:
            return 0.0
        added = x @ self.down[part].T @ self.up[part].T
        return added if self.lora_gate is None else added * torch.sigmoid(self.lora_gate(x))


class AdaptedAttention(nn.MultiheadAttention):
    """An attention with an `AttentionAdapter` as `adapter`; torch's own takes its class and keeps its weights."""

    adapter: AttentionAdapter

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        need_weights: bool = False,
        attn_mask: Tensor | None = None,
        **unused: Any,
    ) -> tuple[Tensor, None]:
        """Attend over prefix and tokens, (n, length, width) each; a mask is additive and tells of the tokens alone."""
        adapter, heads = self.adapter, self.num_heads
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        q = functional.linear(query, weights[0], biases[0]) + adapter.low_rank(0, query)
        k = functional.linear(key, weights[1], biases[1])
        v = functional.linear(value, weights[2], biases[2]) + adapter.low_rank(1, value)
        gate: Tensor | float = 1.0
        if adapter.prefix_gate is not None:
            gate = torch.sigmoid(adapter.prefix_gate(query)).unsqueeze(1)
        q, k, v, own_k, own_v = (
            part.view(*part.shape[:-1], heads, self.head_dim).transpose(-3, -2)
            for part in (q, k, v, adapter.keys, adapter.values)
        )
        q = q / math.sqrt(self.head_dim)
        seen = q @ k.transpose(-2, -1)
        if attn_mask is not None:
            seen = seen + (
                attn_mask.view(len(query), heads, *attn_mask.shape[1:]) if attn_mask.ndim == 3 else attn_mask
            )
        shares = torch.softmax(torch.cat([gate * (q @ own_k.transpose(-2, -1)), seen], dim=-1), dim=-1)
        length = len(adapter.keys)
        attended = gate * (shares[..., :length] @ own_v) + shares[..., length:] @ v
        projected: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return projected, None
