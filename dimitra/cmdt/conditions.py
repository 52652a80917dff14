"""The four conditions of the cMDT (speech features, phonemes, text, first pose) and their encoders.

A condition is a tensor with a mask. A mask that is False everywhere drops the condition: its
encoder's pooled vector, its cross-attention and its share of the stream are then all zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dimitra.cmdt.attention import EfficientAttention
from dimitra.cmdt.blocks import Memory

TIME_PERIOD = 10_000.0
"""Longest period of the sinusoidal embeddings (Vaswani et al., 2017)."""


@dataclass(frozen=True)
class Condition:
    """A condition as it comes from the data.

    Attributes:
        values: [B, L, ...]; what stands outside the mask is arbitrary.
        mask: [B, L] bool, True for the real tokens.
    """

    values: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> Condition:
        return Condition(self.values.to(device), self.mask.to(device))

    def dropped(self) -> Condition:
        """The condition without any token."""
        return replace(self, mask=torch.zeros_like(self.mask))


@dataclass(frozen=True)
class Conditions:
    """What drives the motion of a batch of windows.

    Attributes:
        speech: values [B, N, (2 w + 1) * D], the speech features around each frame.
        phonemes: values [B, N] int64, one phoneme id a frame.
        text: values [B, L, E], features of the transcript's tokens.
        first_pose: values [B, 1, d], the motion values of the first frame.
    """

    speech: Condition
    phonemes: Condition
    text: Condition
    first_pose: Condition

    def to(self, device: torch.device) -> Conditions:
        return Conditions(
            self.speech.to(device),
            self.phonemes.to(device),
            self.text.to(device),
            self.first_pose.to(device),
        )


def sinusoid(positions: Tensor, width: int) -> Tensor:
    """Embed numbers by cosines, then sines, of geometrically spaced periods.

    Args:
        positions: [...] any numbers.
        width: even.

    Returns:
        [..., width].
    """
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=positions.device) / half
    angles = positions.to(torch.float32)[..., None] * torch.exp(-math.log(TIME_PERIOD) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class EncoderLayer(nn.Module):
    """A post-norm Transformer encoder layer on efficient attention."""

    def __init__(self, width: int, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = EfficientAttention(width, width, heads)
        self.project = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Encode ``tokens`` [B, L, width] under ``mask`` [B, L]."""
        attended = self.project(self.attention(tokens, tokens, mask))
        tokens = self.attention_norm(tokens + self.dropout(attended))
        encoded: Tensor = self.norm(tokens + self.dropout(self.layers(tokens)))
        return encoded


class SequenceEncoder(nn.Module):
    """Embeds a condition's values, adds sinusoidal positions, and encodes them.

    One class for speech, phonemes and text, which differ in their embedding alone.
    """

    def __init__(
        self,
        embedding: nn.Module,
        width: int,
        hidden: int,
        layers: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = nn.ModuleList(
            EncoderLayer(width, hidden, heads, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.width = width

    def forward(self, condition: Condition) -> Memory:
        """Encode to a memory of the model's width, one token for one."""
        mask = condition.mask
        values = condition.values
        shape = mask.shape + (1,) * (values.ndim - mask.ndim)
        tokens = self.embedding(values.masked_fill(~mask.reshape(shape), 0))
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        tokens = tokens + sinusoid(positions, self.width).to(tokens.dtype)
        for layer in self.layers:
            tokens = layer(tokens, mask)
        return Memory(self.norm(tokens), mask)


def speech_embedding(values: int, hidden: int, width: int) -> nn.Module:
    """Two linear layers without activation between, as the authors' released code has."""
    return nn.Sequential(nn.Linear(values, hidden), nn.Linear(hidden, width))


class PoseEncoder(nn.Module):
    """The paper's "simple MLP" for the first pose, to one token."""

    def __init__(self, values: int, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(values, width), nn.GELU(), nn.Linear(width, width), nn.LayerNorm(width)
        )

    def forward(self, condition: Condition) -> Memory:
        """Encode values [B, 1, d]."""
        values = condition.values.masked_fill(~condition.mask[..., None], 0.0)
        return Memory(self.layers(values), condition.mask)


def pad_stack(tensors: Sequence[Tensor]) -> Condition:
    """Stack tensors [L_i, ...] of unequal lengths, zero-padded, with the mask of what is real.

    Raises:
        ValueError: there is nothing to stack.
    """
    if not tensors:
        raise ValueError("a batch needs at least one sample")
    lengths = torch.tensor([len(tensor) for tensor in tensors])
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    return Condition(nn.utils.rnn.pad_sequence(list(tensors), batch_first=True), mask)
