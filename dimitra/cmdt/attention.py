"""Efficient attention (Shen et al., WACV 2021), linear in the number of positions, and softmax's.

The queries are softmaxed over the channels of a head and the keys over the positions, so keys and
values meet first in one small context matrix per head: ``Y = softmax_d(Q) (softmax_n(K)^T V)``.
Each output is a convex combination of the values; with one single position it is that value.

Softmax attention (Vaswani et al., 2017), quadratic, has the same weights and masks; it is there to
be compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

AttentionKind: TypeAlias = Literal["efficient", "softmax"]


def summarise(keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """The context matrix of each head: all that efficient attention ever reads of a memory.

    Args:
        keys: [B, H, L, D].
        values: [B, H, L, E].
        mask: [B, L] bool, True where a position is real; None when all are. Positions outside it
            have no influence; where none is real, the context is zero.

    Returns:
        [B, H, D, E], whatever L is.
    """
    if mask is not None:
        padded = ~mask[:, None, :, None]
        keys = keys.masked_fill(padded, torch.finfo(keys.dtype).min)
        values = values.masked_fill(padded, 0.0)
    return keys.softmax(dim=-2).transpose(-2, -1) @ values


def efficient_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Efficient attention of one or more heads.

    Args:
        queries: [B, H, N, D].
        keys: [B, H, L, D].
        values: [B, H, L, E].
        mask: [B, L] bool, as ``summarise`` takes it.

    Returns:
        [B, H, N, E]; zero where no position is real.
    """
    return queries.softmax(dim=-1) @ summarise(keys, values, mask)


def softmax_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> Tensor:
    """PyTorch's scaled dot-product attention under the same masks as ``efficient_attention``.

    Args:
        queries: [B, H, N, D].
        keys: [B, H, L, D].
        values: [B, H, L, E].
        mask: [B, L] bool, True where a position is real; None when all are.

    Returns:
        [B, H, N, E]; zero where no position is real.
    """
    if mask is None:
        return functional.scaled_dot_product_attention(queries, keys, values)
    padded = ~mask[:, None, :, None]
    keys, values = keys.masked_fill(padded, 0.0), values.masked_fill(padded, 0.0)
    # A row without any position would be 0 / 0; all of them, with values of zero, give zero.
    read = mask | ~mask.any(dim=-1, keepdim=True)
    return functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=read[:, None, None, :]
    )


@dataclass(frozen=True)
class Readable:
    """A memory projected for reading: computed once, read by any number of queries.

    Attributes:
        context: [B, H, D, D] for efficient attention, else None.
        keys: [B, H, L, D] for softmax attention, else None.
        values: [B, H, L, D] for softmax attention, else None.
        mask: [B, L] bool for softmax attention, or None.
    """

    context: Tensor | None = None
    keys: Tensor | None = None
    values: Tensor | None = None
    mask: Tensor | None = None


class Attention(nn.Module):
    """Multi-head attention between a stream and a memory, without output projection.

    In the decoder a ``Stylisation`` takes the place of the output projection, as in MotionDiffuse
    (Zhang et al., 2022).

    Args:
        width: channels of the stream and of the output.
        memory_width: channels of the memory.
        heads: divides ``width``.
        kind: efficient, or softmax for comparison; the weights are the same.

    Raises:
        ValueError: ``heads`` does not divide ``width``.
    """

    def __init__(
        self, width: int, memory_width: int, heads: int, kind: AttentionKind = "efficient"
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} cannot be cut into {heads} equal heads")
        self.heads = heads
        self.kind = kind
        self.to_queries = nn.Linear(width, width)
        self.to_keys = nn.Linear(memory_width, width)
        self.to_values = nn.Linear(memory_width, width)

    def read(self, memory: Tensor, mask: Tensor | None = None) -> Readable:
        """Project ``memory`` [B, L, memory_width], ``mask`` [B, L] True for real positions."""
        keys, values = self._split(self.to_keys(memory)), self._split(self.to_values(memory))
        if self.kind == "efficient":
            return Readable(context=summarise(keys, values, mask))
        return Readable(keys=keys, values=values, mask=mask)

    def answer(self, stream: Tensor, readable: Readable) -> Tensor:
        """Attend from ``stream`` [B, N, width] to what ``read`` gave; [B, N, width]."""
        queries = self._split(self.to_queries(stream))
        if readable.context is not None:
            attended = queries.softmax(dim=-1) @ readable.context
        else:
            assert readable.keys is not None  # noqa: S101 - one of the two kinds
            assert readable.values is not None  # noqa: S101
            attended = softmax_attention(queries, readable.keys, readable.values, readable.mask)
        return attended.transpose(1, 2).flatten(2)

    def forward(self, stream: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """``read`` and ``answer``.

        Args:
            stream: [B, N, width], what asks.
            memory: [B, L, memory_width], what is read; the stream itself in self-attention.
            mask: [B, L] bool, True for the real positions of ``memory``.

        Returns:
            [B, N, width].
        """
        return self.answer(stream, self.read(memory, mask))

    def _split(self, projected: Tensor) -> Tensor:
        """[B, N, H * D] to [B, H, N, D]."""
        batch, length, width = projected.shape
        return projected.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
