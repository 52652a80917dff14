"""The decoder block of the cMDT: one self-attention, three parallel cross-attentions, one FFN.

Layout: the paper's architecture figure. Sub-blocks: MotionDiffuse (Zhang et al., 2022), whose
decoder the authors' released code builds on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dimitra.cmdt.attention import EfficientAttention


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
        self.project = nn.Sequential(nn.SiLU(), nn.Dropout(dropout), zero_linear(width, width))

    def forward(self, stream: Tensor, style: Tensor) -> Tensor:
        """Stylise ``stream`` [B, N, width] by ``style`` [B, style_width]."""
        scale, shift = self.to_modulation(style)[:, None].chunk(2, dim=-1)
        stylised: Tensor = self.project(self.norm(stream) * (1.0 + scale) + shift)
        return stylised


class SelfAttention(nn.Module):
    """Pre-norm efficient self-attention, stylised, with its residual."""

    def __init__(self, width: int, style_width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = EfficientAttention(width, width, heads)
        self.stylisation = Stylisation(width, style_width, dropout)

    def forward(self, stream: Tensor, mask: Tensor, style: Tensor) -> Tensor:
        """Attend within ``stream`` [B, N, width], ``mask`` [B, N] True for real frames."""
        normed = self.norm(stream)
        attended: Tensor = self.stylisation(self.attention(normed, normed, mask), style)
        return stream + attended


class CrossAttention(nn.Module):
    """Pre-norm efficient cross-attention, stylised.

    Without residual: the block concatenates its input beside the output.
    """

    def __init__(self, width: int, style_width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.memory_norm = nn.LayerNorm(width)
        self.attention = EfficientAttention(width, width, heads)
        self.stylisation = Stylisation(width, style_width, dropout)

    def forward(self, stream: Tensor, memory: Memory, style: Tensor) -> Tensor:
        """Attend from ``stream`` [B, N, width] to the memory's real tokens."""
        attended = self.attention(self.norm(stream), self.memory_norm(memory.tokens), memory.mask)
        stylised: Tensor = self.stylisation(attended, style)
        return stylised


class FeedForward(nn.Module):
    """Two layers with GELU, stylised, with their residual."""

    def __init__(self, width: int, hidden: int, style_width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width)
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


class Block(nn.Module):
    """One layer of the cMDT's decoder.

    Speech is added to the stream; self-attention; phonemes, text and first pose are each attended
    to from the self-attention's output; the three and that output are concatenated and projected
    back to one width, normalised, and fed forward.
    """

    def __init__(
        self, width: int, hidden: int, style_width: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.self_attention = SelfAttention(width, style_width, heads, dropout)
        self.to_phonemes = CrossAttention(width, style_width, heads, dropout)
        self.to_text = CrossAttention(width, style_width, heads, dropout)
        self.to_first_pose = CrossAttention(width, style_width, heads, dropout)
        self.merge = nn.Linear(4 * width, width)
        self.norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, style_width, dropout)

    def forward(
        self,
        stream: Tensor,
        mask: Tensor,
        style: Tensor,
        speech: Tensor,
        phonemes: Memory,
        text: Memory,
        first_pose: Memory,
    ) -> Tensor:
        """Refine ``stream`` [B, N, width].

        Args:
            stream: the motion tokens.
            mask: [B, N] bool, True for the real frames.
            style: [B, style_width], diffusion step and pooled conditions.
            speech: [B, N, width], added frame by frame; zero where a frame has none.
            phonemes: one token a frame.
            text: tokens of the transcript.
            first_pose: one token.

        Returns:
            [B, N, width].
        """
        attended = self.self_attention(stream + speech, mask, style)
        parts = [
            attended,
            self.to_phonemes(attended, phonemes, style),
            self.to_text(attended, text, style),
            self.to_first_pose(attended, first_pose, style),
        ]
        merged: Tensor = self.feed_forward(self.norm(self.merge(torch.cat(parts, -1))), style)
        return merged
