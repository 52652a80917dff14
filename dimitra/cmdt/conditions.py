"""The four conditions of the cMDT (speech features, phonemes, text, first pose) and their encoders.

A condition is a tensor with a mask and the name of its encoder. A mask that is False everywhere
drops the condition: its encoder's pooled vector, what its cross-attention reads and its share of
the stream are then all zero. A model can also be built without a condition (``CMDTConfig``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from dimitra.cmdt.attention import Attention, AttentionKind
from dimitra.cmdt.blocks import Memory
from dimitra.cmdt.dropout import Dropout

TIME_PERIOD = 10_000.0
"""Longest period of the sinusoidal embeddings (Vaswani et al., 2017)."""


ConditionName: TypeAlias = Literal["speech", "phonemes", "text", "first_pose"]
CONDITIONS: tuple[ConditionName, ...] = ("speech", "phonemes", "text", "first_pose")
HEARD: frozenset[ConditionName] = frozenset({"speech", "phonemes", "text"})
"""Conditions that come from the sound; guidance weighs the motion with them against without."""


@dataclass(frozen=True)
class Condition:
    """A condition as it comes from the data.

    Attributes:
        encoder: name of the model's encoder that reads it.
        values: [B, L, ...]; what stands outside the mask is arbitrary.
        mask: [B, L] bool, True for the real tokens.
    """

    encoder: ConditionName
    values: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> Condition:
        return Condition(self.encoder, self.values.to(device), self.mask.to(device))

    def dropped(self, samples: Tensor | None = None) -> Condition:
        """The condition without any token, in every sample or in those that are True in [B]."""
        if samples is None:
            return replace(self, mask=torch.zeros_like(self.mask))
        return replace(self, mask=self.mask & ~samples[:, None])


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

    def __iter__(self) -> Iterator[Condition]:
        return iter((self.speech, self.phonemes, self.text, self.first_pose))

    def map(self, change: Callable[[Condition], Condition]) -> Conditions:
        """Each condition changed by ``change``."""
        return Conditions(**{condition.encoder: change(condition) for condition in self})

    def to(self, device: torch.device) -> Conditions:
        return self.map(lambda condition: condition.to(device))

    def unheard(self, samples: Tensor | None = None) -> Conditions:
        """Without what is heard, in every sample or in those that are True in [B].

        The first pose stays: motion without speech must begin where motion with it begins.
        """
        return self.map(lambda c: c.dropped(samples) if c.encoder in HEARD else c)


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
    """A post-norm Transformer encoder layer."""

    def __init__(
        self, width: int, hidden: int, heads: int, dropout: float, kind: AttentionKind
    ) -> None:
        super().__init__()
        self.attention = Attention(width, width, heads, kind)
        self.project = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), Dropout(dropout), nn.Linear(hidden, width)
        )
        self.norm = nn.LayerNorm(width)
        self.attention_dropout = Dropout(dropout)
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Encode ``tokens`` [B, L, width] under ``mask`` [B, L]."""
        attended = self.project(self.attention(tokens, tokens, mask))
        tokens = self.attention_norm(tokens + self.attention_dropout(attended))
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
        kind: AttentionKind,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.layers = nn.ModuleList(
            EncoderLayer(width, hidden, heads, dropout, kind) for _ in range(layers)
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


def pad_stack(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack tensors [L_i, ...] of unequal lengths, zero-padded.

    Returns:
        [B, L, ...] and the mask [B, L] of what is real.

    Raises:
        ValueError: there is nothing to stack.
    """
    if not tensors:
        raise ValueError("a batch needs at least one sample")
    lengths = torch.tensor([len(tensor) for tensor in tensors])
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    return nn.utils.rnn.pad_sequence(list(tensors), batch_first=True), mask
