"""The decoder block of the cMDT: one self-attention, three parallel cross-attentions, one FFN.

Layout: the paper's architecture figure. Sub-blocks: MotionDiffuse (Zhang et al., 2022), whose
decoder the authors' released code builds on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from dimitra.cmdt.attention import Attention, AttentionKind, Readable
from dimitra.cmdt.dropout import Dropout


def zero_linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer that starts as zero, so that what follows it starts as the identity."""
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Stylisation(nn.Module):
    """Modulates a stream by a global vector, then projects it by a layer that starts at zero."""

    def __init__(self, width: int, style_width: int, dropout: float) -> None:
        super().__init__()
        self.to_modulation = nn.Sequential(nn.SiLU(), nn.Linear(style_width, 2 * width))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Sequential(nn.SiLU(), Dropout(dropout), zero_linear(width, width))

    def forward(self, stream: Tensor, style: Tensor) -> Tensor:
        """Stylise ``stream`` [B, N, width] by ``style`` [B, style_width]."""
        scale, shift = self.to_modulation(style)[:, None].chunk(2, dim=-1)
        stylised: Tensor = self.project(self.norm(stream) * (1.0 + scale) + shift)
        return stylised


class SelfAttention(nn.Module):
    """Pre-norm self-attention, stylised, with its residual."""

    def __init__(
        self, width: int, style_width: int, heads: int, dropout: float, kind: AttentionKind
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, width, heads, kind)
        self.stylisation = Stylisation(width, style_width, dropout)

    def forward(self, stream: Tensor, mask: Tensor, style: Tensor) -> Tensor:
        """Attend within ``stream`` [B, N, width], ``mask`` [B, N] True for real frames."""
        normed = self.norm(stream)
        attended: Tensor = self.stylisation(self.attention(normed, normed, mask), style)
        return stream + attended


class CrossAttention(nn.Module):
    """Pre-norm cross-attention, stylised.

    Without residual: the block concatenates its input beside the output.
    """

    def __init__(
        self, width: int, style_width: int, heads: int, dropout: float, kind: AttentionKind
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.memory_norm = nn.LayerNorm(width)
        self.attention = Attention(width, width, heads, kind)
        self.stylisation = Stylisation(width, style_width, dropout)

    def read(self, memory: Memory) -> Readable:
        """What the attention reads of a memory; no diffusion step and no motion enters it."""
        return self.attention.read(self.memory_norm(memory.tokens), memory.mask)

    def forward(self, stream: Tensor, readable: Readable, style: Tensor) -> Tensor:
        """Attend from ``stream`` [B, N, width] to the real tokens of a memory."""
        attended = self.attention.answer(self.norm(stream), readable)
        stylised: Tensor = self.stylisation(attended, style)
        return stylised


class TokenAttention(nn.Module):
    """Cross-attention to a memory of one token, stylised.

    Every query's answer is that token's value, whatever query and key are (``attention``), and
    neither gets a gradient. So neither is built, and the answer is worked out once for all frames.
    """

    def __init__(self, width: int, style_width: int, dropout: float) -> None:
        super().__init__()
        self.memory_norm = nn.LayerNorm(width)
        self.to_values = nn.Linear(width, width)
        self.stylisation = Stylisation(width, style_width, dropout)

    def read(self, memory: Memory) -> Tensor:
        """[B, 1, width] the token's value; zero where it is masked."""
        values: Tensor = self.to_values(self.memory_norm(memory.tokens))
        return values.masked_fill(~memory.mask[..., None], 0.0)

    def forward(self, value: Tensor, style: Tensor) -> Tensor:
        """[B, 1, width] the answer that every frame gets."""
        stylised: Tensor = self.stylisation(value, style)
        return stylised


class FeedForward(nn.Module):
    """Two layers with GELU, stylised, with their residual."""

    def __init__(self, width: int, hidden: int, style_width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), Dropout(dropout), nn.Linear(hidden, width)
        )
        self.stylisation = Stylisation(width, style_width, dropout)

    def forward(self, stream: Tensor, style: Tensor) -> Tensor:
        """Transform each frame of ``stream`` [B, N, width]."""
        transformed: Tensor = self.stylisation(self.layers(stream), style)
        return stream + transformed


@dataclass(frozen=True)
class Memory:
    """An encoded condition.

    Attributes:
        tokens: [B, L, width].
        mask: [B, L] bool, True for the real tokens.
    """

    tokens: Tensor
    mask: Tensor

    def pooled(self) -> Tensor:
        """[B, width] mean of the real tokens; zero where there is none."""
        weights = self.mask.to(self.tokens.dtype)[..., None]
        return (self.tokens * weights).sum(1) / weights.sum(1).clamp(min=1.0)


ATTENDED = ("phonemes", "text")
"""Conditions of many tokens that a block's stream attends to; the first pose has one."""


@dataclass(frozen=True)
class ReadMemories:
    """The conditions as one block reads them: computed once a window, whatever the step.

    Attributes:
        sequences: of the conditions in ``ATTENDED`` that the model has.
        first_pose: [B, 1, width], or None where the model has none.
    """

    sequences: dict[str, Readable]
    first_pose: Tensor | None


class Block(nn.Module):
    """One layer of the cMDT's decoder.

    Speech is added to the stream; self-attention; phonemes, text and first pose are each attended
    to from the self-attention's output; the three and that output are concatenated and projected
    back to one width, normalised, and fed forward. A condition that the model does not have takes
    its attention and its share of the concatenation with it.
    """

    def __init__(
        self,
        width: int,
        hidden: int,
        style_width: int,
        heads: int,
        dropout: float,
        kind: AttentionKind,
        conditions: Sequence[str],
    ) -> None:
        super().__init__()
        self.self_attention = SelfAttention(width, style_width, heads, dropout, kind)
        self.cross_attentions = nn.ModuleDict(
            {
                name: CrossAttention(width, style_width, heads, dropout, kind)
                for name in ATTENDED
                if name in conditions
            }
        )
        self.pose_attention = (
            TokenAttention(width, style_width, dropout) if "first_pose" in conditions else None
        )
        parts = 1 + len(self.cross_attentions) + (self.pose_attention is not None)
        self.merge = nn.Linear(parts * width, width)
        self.norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, style_width, dropout)

    def read(self, memories: Mapping[str, Memory]) -> ReadMemories:
        """Project the conditions for ``forward``."""
        pose = self.pose_attention
        return ReadMemories(
            {
                name: attention.read(memories[name])  # type: ignore[operator]
                for name, attention in self.cross_attentions.items()
            },
            None if pose is None else pose.read(memories["first_pose"]),
        )

    def forward(
        self,
        stream: Tensor,
        mask: Tensor,
        style: Tensor,
        speech: Tensor | None,
        memories: ReadMemories,
    ) -> Tensor:
        """Refine ``stream`` [B, N, width].

        Args:
            stream: the motion tokens.
            mask: [B, N] bool, True for the real frames.
            style: [B, style_width], diffusion step and pooled conditions.
            speech: [B, N, width], added frame by frame; zero where a frame has none.
            memories: from ``read``.

        Returns:
            [B, N, width].
        """
        if speech is not None:
            stream = stream + speech
        attended: Tensor = self.self_attention(stream, mask, style)
        parts = [attended]
        for name, attention in self.cross_attentions.items():
            parts.append(attention(attended, memories.sequences[name], style))
        merged = self._merge(parts, memories.first_pose, style)
        refined: Tensor = self.feed_forward(self.norm(merged), style)
        return refined

    def _merge(self, parts: list[Tensor], pose: Tensor | None, style: Tensor) -> Tensor:
        """The merging layer over ``parts`` [B, N, width] and the pose's answer beside them.

        The answer is the same in every frame, so its share of the product is worked out once.
        """
        joined = torch.cat(parts, dim=-1)
        if self.pose_attention is None or pose is None:
            merged: Tensor = self.merge(joined)
            return merged
        width = joined.shape[-1]
        weight = self.merge.weight
        answer = functional.linear(
            self.pose_attention(pose, style), weight[:, width:], self.merge.bias
        )
        return functional.linear(joined, weight[:, :width]) + answer
