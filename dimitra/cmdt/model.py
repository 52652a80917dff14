"""The conditional Motion Diffusion Transformer (paper, section III-B)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from dimitra.cmdt.attention import AttentionKind
from dimitra.cmdt.blocks import Block, Memory, ReadMemories, zero_linear
from dimitra.cmdt.conditions import (
    CONDITIONS,
    ConditionName,
    Conditions,
    PoseEncoder,
    SequenceEncoder,
    sinusoid,
    speech_embedding,
)
from dimitra.cmdt.drive import PHONEME_IDS
from dimitra.cmdt.dropout import number
from dimitra.diffusion.target import Target

Positions: TypeAlias = Literal["normal", "sinusoid"]
"""What the learned embedding of the frames starts as."""
STYLE_RATIO = 4
"""Width of the stylisation vector over the model's width (2048 over 512 in the authors' code)."""


@dataclass(frozen=True)
class CMDTConfig:
    """Sizes of one model.

    Attributes:
        motion: d, motion values a frame: 13 (lips), 51 (expression), 6 (pose) or all 70.
        frames: N, the longest window in frames.
        speech_values: speech features a frame, the window included: (2 w + 1) * D.
        text_values: E, width of the text features.
        width: channels of the motion tokens and of the encoded conditions.
        speech_hidden: width between the two layers of the speech embedding.
        feed_forward: hidden width of the decoder's feed-forwards.
        encoder_feed_forward: hidden width of the encoders'.
        layers: decoder blocks.
        heads: of the decoder's attentions.
        encoder_layers: layers of each condition encoder.
        encoder_heads: of the encoders' attentions.
        dropout: share of activations dropped in training.
        attention: of decoder and encoders.
        conditions: those it takes; the others have no weights and are not looked at.
        target: what its output is.
        positions: what the embedding of the frames starts as: N(0, 1), or sinusoids, which tell it
            from the first step on which frames are neighbours.
    """

    motion: int
    frames: int
    speech_values: int
    text_values: int
    width: int
    speech_hidden: int
    feed_forward: int
    encoder_feed_forward: int
    layers: int
    heads: int
    encoder_layers: int
    encoder_heads: int
    dropout: float
    attention: AttentionKind = "efficient"
    conditions: tuple[ConditionName, ...] = CONDITIONS
    target: Target = "x0"
    positions: Positions = "normal"

    def __post_init__(self) -> None:
        """Refuse what is no set of conditions.

        Raises:
            ValueError: an unknown condition, or one named twice.
        """
        given = self.conditions
        if len(set(given)) != len(given) or not set(given) <= set(CONDITIONS):
            raise ValueError(
                f"conditions {', '.join(given)}: expected some of {', '.join(CONDITIONS)}, "
                "each once"
            )


@dataclass(frozen=True)
class Encoded:
    """Encoded conditions: computed once a window, used at every sampling step.

    Attributes:
        style: [B, 4 width] sum of the projected pooled conditions.
        speech: [B, N, width], zero where a frame has none; None in a model without speech.
        memories: one for each block.
    """

    style: Tensor
    speech: Tensor | None
    memories: tuple[ReadMemories, ...]


class CMDT(nn.Module):
    """Denoises a window of motion under speech, phonemes, text and the first pose.

    One class serves all parts; a part is its number of motion values.

    Motion enters and leaves in the units of the data; ``shift`` and ``scale`` (0 and 1 unless
    training statistics are set) take it to the space in which diffusion happens.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, config: CMDTConfig) -> None:
        super().__init__()
        self.config = config
        width, style_width = config.width, STYLE_RATIO * config.width
        names = [name for name in CONDITIONS if name in config.conditions]
        self.encoders = nn.ModuleDict({name: _encoder(name, config) for name in names})
        self.pooled_embeddings = nn.ModuleDict(
            {name: nn.Linear(width, style_width, bias=False) for name in names}
        )
        self.time_embedding = nn.Sequential(
            nn.Linear(width, style_width), nn.SiLU(), nn.Linear(style_width, style_width)
        )
        self.motion_embedding = nn.Linear(config.motion, width)
        start = torch.randn(config.frames, width)
        if config.positions == "sinusoid":
            start = sinusoid(torch.arange(config.frames), width)
        self.frame_embedding = nn.Parameter(start)
        self.blocks = nn.ModuleList(
            Block(
                width,
                config.feed_forward,
                style_width,
                config.heads,
                config.dropout,
                config.attention,
                names,
            )
            for _ in range(config.layers)
        )
        self.output = zero_linear(width, config.motion)
        self.register_buffer("shift", torch.zeros(config.motion))
        self.register_buffer("scale", torch.ones(config.motion))
        number(self)

    def normalise(self, motion: Tensor) -> Tensor:
        """[..., d] from the units of the data to those of diffusion."""
        return (motion - self.shift) / self.scale

    def denormalise(self, motion: Tensor) -> Tensor:
        """[..., d] from the units of diffusion to those of the data."""
        return motion * self.scale + self.shift

    def encode(self, conditions: Conditions) -> Encoded:
        """Encode the conditions; ``first_pose`` is given in the units of the data."""
        pose = conditions.first_pose
        given = replace(conditions, first_pose=replace(pose, values=self.normalise(pose.values)))
        memories: dict[str, Memory] = {
            condition.encoder: self.encoders[condition.encoder](condition)
            for condition in given
            if condition.encoder in self.encoders
        }
        style = pose.values.new_zeros(len(pose.values), STYLE_RATIO * self.config.width)
        for name, embedding in self.pooled_embeddings.items():
            style = style + embedding(memories[name].pooled())
        speech = memories.get("speech")
        return Encoded(
            style,
            None if speech is None else speech.tokens * speech.mask[..., None],
            tuple(block.read(memories) for block in self.blocks),  # type: ignore[operator]
        )

    def denoise(self, noisy: Tensor, steps: Tensor, mask: Tensor, encoded: Encoded) -> Tensor:
        """Predict the configured target, x_0 unless told otherwise.

        Args:
            noisy: [B, N, d] x_t, normalised.
            steps: [B] int64 diffusion steps.
            mask: [B, N] bool, True for the real frames.
            encoded: from ``encode``.

        Returns:
            [B, N, d], normalised; arbitrary outside the mask.

        Raises:
            ValueError: the window is longer than the model's.
        """
        frames = noisy.shape[1]
        if frames > self.config.frames:
            raise ValueError(
                f"a window of {frames} frames, but the model takes {self.config.frames} at most: "
                "generate longer motion in chunks (dimitra.cmdt.recursion)"
            )
        style = self.time_embedding(sinusoid(steps, self.config.width)) + encoded.style
        stream = self.motion_embedding(noisy) + self.frame_embedding[:frames]
        for block, memories in zip(self.blocks, encoded.memories, strict=True):
            stream = block(stream, mask, style, encoded.speech, memories)
        predicted: Tensor = self.output(stream)
        return predicted

    def forward(self, noisy: Tensor, steps: Tensor, mask: Tensor, conditions: Conditions) -> Tensor:
        """``encode`` and ``denoise`` in one pass, for training."""
        return self.denoise(noisy, steps, mask, self.encode(conditions))


def _encoder(name: ConditionName, config: CMDTConfig) -> nn.Module:
    """The encoder of a condition."""
    width = config.width
    if name == "first_pose":
        return PoseEncoder(config.motion, width)
    embedding: nn.Module
    if name == "speech":
        embedding = speech_embedding(config.speech_values, config.speech_hidden, width)
    elif name == "phonemes":
        embedding = nn.Embedding(PHONEME_IDS, width)
    else:
        embedding = nn.Linear(config.text_values, width)
    return SequenceEncoder(
        embedding,
        width,
        config.encoder_feed_forward,
        config.encoder_layers,
        config.encoder_heads,
        config.dropout,
        config.attention,
    )
