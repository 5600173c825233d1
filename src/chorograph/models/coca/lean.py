"""open_clip's attention blocks computing the same with fewer copies.

`nn.MultiheadAttention` copies queries, keys and values before and after attending, CoCa's pooler projects the same
queries once an image, and its decoder normalises the image tokens twice a layer. The classes here take the place of
open_clip's in a model that is built already: parameters, names and results stay, to rounding.
"""

from __future__ import annotations

from typing import Any

from open_clip.transformer import AttentionalPooler, MultimodalTransformer, ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn import functional


class LeanBlock(ResidualAttentionBlock):  # type: ignore[misc]  # open_clip carries no types
    """A transformer block that attends without copies."""

    def attention(
        self, q_x: Tensor, k_x: Tensor | None = None, v_x: Tensor | None = None, attn_mask: Tensor | None = None
    ) -> Tensor:
        """Return self-attention of (n, length, width); anything else is left to the module."""
        if k_x is not None or v_x is not None or not is_plain(self.attn):
            return super().attention(q_x, k_x, v_x, attn_mask)  # type: ignore[no-any-return]
        n, length, width = q_x.shape
        heads = self.attn.num_heads
        packed = functional.linear(q_x, self.attn.in_proj_weight, self.attn.in_proj_bias)
        # Parted along the third of five axes, the gradient is put together in the layout that the product wants.
        query, key, value = packed.view(n, length, 3, heads, width // heads).unbind(2)
        return _attend(self.attn, query, key, value, attn_mask)


class LeanCrossBlock(ResidualAttentionBlock):  # type: ignore[misc]
    """A decoder block that looks at image tokens, normalised once for all layers."""

    def forward(
        self, q_x: Tensor, k_x: Tensor | None = None, v_x: Tensor | None = None, attn_mask: Tensor | None = None
    ) -> Tensor:
        """Return (n, length, width); with `k_x` alone, those are image tokens after `standardise`."""
        if k_x is None or v_x is not None:
            return super().forward(q_x, k_x, v_x, attn_mask)  # type: ignore[no-any-return]
        hidden = self.ln_1(q_x)
        if is_plain(self.attn):
            attended = self._attend_to(hidden, k_x)
        else:
            image = k_x * self.ln_1_kv.weight + self.ln_1_kv.bias
            attended = super().attention(hidden, image, image)
        q_x = q_x + self.ls_1(attended)
        return q_x + self.ls_2(self.mlp(self.ln_2(q_x)))  # type: ignore[no-any-return]

    def _attend_to(self, hidden: Tensor, standardised: Tensor) -> Tensor:
        """Attend; scale and shift of the image tokens' norm go into the projections, W(gx + b) = (Wg)x + Wb."""
        width, heads = self.attn.embed_dim, self.attn.num_heads
        weight, bias = self.attn.in_proj_weight, self.attn.in_proj_bias
        folded = weight[width:] * self.ln_1_kv.weight
        shift = bias[width:] + weight[width:] @ self.ln_1_kv.bias
        query = _by_head(functional.linear(hidden, weight[:width], bias[:width]), heads)
        packed = functional.linear(standardised, folded, shift)
        key, value = packed.view(*packed.shape[:2], 2, heads, width // heads).unbind(2)
        return _attend(self.attn, query, key, value, None)


class LeanPooler(AttentionalPooler):  # type: ignore[misc]
    """The attentional pooler, its queries projected once a batch."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled tokens (n, queries, width) of image tokens (n, length, width of the tower)."""
        if not is_plain(self.attn):
            return super().forward(x)  # type: ignore[no-any-return]
        attn, heads = self.attn, self.attn.num_heads
        if attn.in_proj_weight is not None:
            weights = attn.in_proj_weight.chunk(3)
        else:
            weights = (attn.q_proj_weight, attn.k_proj_weight, attn.v_proj_weight)
        biases = attn.in_proj_bias.chunk(3)
        x = self.ln_k(x)
        query = functional.linear(self.ln_q(self.query), weights[0], biases[0]).expand(len(x), -1, -1)
        key, value = (_by_head(functional.linear(x, weights[part], biases[part]), heads) for part in (1, 2))
        return _attend(attn, _by_head(query, heads), key, value, None)


def make_lean(model: nn.Module) -> None:
    """Give a model's blocks the classes of this module, in place."""
    decoder = getattr(model, "text_decoder", None)
    cross = set(decoder.cross_attn) if isinstance(decoder, MultimodalTransformer) else set()
    for module in model.modules():
        # The class exactly: one derived from it may compute something else.
        if type(module) is ResidualAttentionBlock:
            module.__class__ = LeanCrossBlock if module in cross else LeanBlock
        elif type(module) is AttentionalPooler:
            module.__class__ = LeanPooler


def is_plain(attention: nn.Module) -> bool:
    """Whether an attention is torch's own, without adapters, dropout or extra keys, its batch first."""
    if type(attention) is not nn.MultiheadAttention:
        return False
    plain: Any = attention
    return bool(
        plain.batch_first
        and not plain.dropout
        and plain.bias_k is None
        and not plain.add_zero_attn
        and plain.in_proj_bias is not None
        and type(plain.out_proj) is nn.modules.linear.NonDynamicallyQuantizableLinear
    )


def standardise(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Return `x` as a layer norm has it before scale and shift."""
    return functional.layer_norm(x, norm.normalized_shape, None, None, norm.eps)


def _by_head(x: Tensor, heads: int) -> Tensor:
    return x.view(*x.shape[:2], heads, -1)


def _attend(attention: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Attend with (n, length, heads, width); masks are additive, (length, length) or (n * heads, length, length)."""
    if mask is not None:
        mask = mask.to(query.dtype)
        if mask.ndim == 3:
            mask = mask.view(len(query), -1, *mask.shape[1:])
    attended = functional.scaled_dot_product_attention(
        query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=mask
    )
    projected: Tensor = attention.out_proj(attended.transpose(1, 2).flatten(2))
    return projected
