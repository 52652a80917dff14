"""Efficient attention (Shen et al., WACV 2021): linear in the number of positions.

The queries are softmaxed over the channels of a head and the keys over the positions, so keys and
values meet first in one small context matrix per head: ``Y = softmax_d(Q) (softmax_n(K)^T V)``.
Each output is a convex combination of the values; with one single position it is that value.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def efficient_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Efficient attention of one or more heads.

    Args:
        queries: [B, H, N, D].
        keys: [B, H, L, D].
        values: [B, H, L, E].
        mask: [B, L] bool, True where a position is real; None when all are. Positions outside it
            have no influence; where none is real, the output is zero.

    Returns:
        [B, H, N, E].
    """
    if mask is not None:
        padded = ~mask[:, None, :, None]
        keys = keys.masked_fill(padded, torch.finfo(keys.dtype).min)
        values = values.masked_fill(padded, 0.0)
    context = keys.softmax(dim=-2).transpose(-2, -1) @ values
    return queries.softmax(dim=-1) @ context


class EfficientAttention(nn.Module):
    """Multi-head efficient attention between a stream and a memory, without output projection.

    In the decoder a ``Stylisation`` takes the place of the output projection, as in MotionDiffuse
    (Zhang et al., 2022).

    Args:
        width: channels of the stream and of the output.
        memory_width: channels of the memory.
        heads: divides ``width``.

    Raises:
        ValueError: ``heads`` does not divide ``width``.
    """

    def __init__(self, width: int, memory_width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} cannot be cut into {heads} equal heads")
        self.heads = heads
        self.to_queries = nn.Linear(width, width)
        self.to_keys = nn.Linear(memory_width, width)
        self.to_values = nn.Linear(memory_width, width)

    def forward(self, stream: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from ``stream`` [B, N, width] to ``memory`` [B, L, memory_width].

        Args:
            stream: what asks.
            memory: what is read; the stream itself in self-attention.
            mask: [B, L] bool, True for the real positions of ``memory``.

        Returns:
            [B, N, width].
        """
        attended = efficient_attention(
            self._split(self.to_queries(stream)),
            self._split(self.to_keys(memory)),
            self._split(self.to_values(memory)),
            mask,
        )
        return attended.transpose(1, 2).flatten(2)

    def _split(self, projected: Tensor) -> Tensor:
        """[B, N, H * D] to [B, H, N, D]."""
        batch, length, width = projected.shape
        return projected.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
