"""The conditional Motion Diffusion Transformer (paper, section III-B): predicts x_0 from x_t."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dimitra.cmdt.blocks import Block, Memory, zero_linear
from dimitra.cmdt.conditions import (
    Conditions,
    PoseEncoder,
    SequenceEncoder,
    sinusoid,
    speech_embedding,
)

PHONEME_IDS = 64
"""Size of the phoneme embedding; ids are below it."""
STYLE_RATIO = 4
"""Width of the stylisation vector over the model's width (2048 over 512 in the authors' code)."""


@dataclass(frozen=True)
class CMDTConfig:
    """Sizes of one model.

    Attributes:
        motion: d, motion values a frame: 13 (lips), 51 (expression) or 6 (pose).
        frames: N, the longest window in frames.
        speech_values: speech features a frame, the window included: (2 w + 1) * D.
        text_values: E, width of the text features.
        width: channels of the motion tokens and of the encoded conditions.
        speech_hidden: width between the two layers of the speech embedding.
        feed_forward: hidden width of every feed-forward.
        layers: decoder blocks.
        heads: of the decoder's attentions.
        encoder_layers: layers of each condition encoder.
        encoder_heads: of the encoders' attentions.
        dropout: share of activations dropped in training.
    """

    motion: int
    frames: int
    speech_values: int
    text_values: int
    width: int
    speech_hidden: int
    feed_forward: int
    layers: int
    heads: int
    encoder_layers: int
    encoder_heads: int
    dropout: float


@dataclass(frozen=True)
class Encoded:
    """Encoded conditions: computed once a window, used at every sampling step."""

    speech: Memory
    phonemes: Memory
    text: Memory
    first_pose: Memory


class CMDT(nn.Module):
    """Denoises a window of motion under speech, phonemes, text and the first pose.

    Motion enters and leaves in the units of the data; ``shift`` and ``scale`` (0 and 1 unless
    training statistics are set) take it to the space in which diffusion happens.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, config: CMDTConfig) -> None:
        super().__init__()
        self.config = config
        width, style_width = config.width, STYLE_RATIO * config.width

        def encoder(embedding: nn.Module) -> SequenceEncoder:
            return SequenceEncoder(
                embedding,
                width,
                config.feed_forward,
                config.encoder_layers,
                config.encoder_heads,
                config.dropout,
            )

        self.speech_encoder = encoder(
            speech_embedding(config.speech_values, config.speech_hidden, width)
        )
        self.phoneme_encoder = encoder(nn.Embedding(PHONEME_IDS, width))
        self.text_encoder = encoder(nn.Linear(config.text_values, width))
        self.pose_encoder = PoseEncoder(config.motion, width)
        self.time_embedding = nn.Sequential(
            nn.Linear(width, style_width), nn.SiLU(), nn.Linear(style_width, style_width)
        )
        self.pooled_embeddings = nn.ModuleDict(
            {
                name: nn.Linear(width, style_width, bias=False)
                for name in ("speech", "phonemes", "text", "first_pose")
            }
        )
        self.motion_embedding = nn.Linear(config.motion, width)
        self.frame_embedding = nn.Parameter(torch.randn(config.frames, width))
        self.blocks = nn.ModuleList(
            Block(width, config.feed_forward, style_width, config.heads, config.dropout)
            for _ in range(config.layers)
        )
        self.output = zero_linear(width, config.motion)
        self.register_buffer("shift", torch.zeros(config.motion))
        self.register_buffer("scale", torch.ones(config.motion))

    def normalise(self, motion: Tensor) -> Tensor:
        """[..., d] from the units of the data to those of diffusion."""
        return (motion - self.shift) / self.scale

    def denormalise(self, motion: Tensor) -> Tensor:
        """[..., d] from the units of diffusion to those of the data."""
        return motion * self.scale + self.shift

    def encode(self, conditions: Conditions) -> Encoded:
        """Encode the conditions; ``first_pose`` is given in the units of the data."""
        pose = conditions.first_pose
        return Encoded(
            speech=self.speech_encoder(conditions.speech),
            phonemes=self.phoneme_encoder(conditions.phonemes),
            text=self.text_encoder(conditions.text),
            first_pose=self.pose_encoder(type(pose)(self.normalise(pose.values), pose.mask)),
        )

    def denoise(self, noisy: Tensor, steps: Tensor, mask: Tensor, encoded: Encoded) -> Tensor:
        """Predict x_0.

        Args:
            noisy: [B, N, d] x_t, normalised.
            steps: [B] int64 diffusion steps.
            mask: [B, N] bool, True for the real frames.
            encoded: from ``encode``.

        Returns:
            [B, N, d] the predicted x_0, normalised; arbitrary outside the mask.

        Raises:
            ValueError: the window is longer than the model's.
        """
        frames = noisy.shape[1]
        if frames > self.config.frames:
            raise ValueError(
                f"a window of {frames} frames, but the model takes {self.config.frames} at most: "
                "generate longer motion in chunks (dimitra.cmdt.recursion)"
            )
        style = self.time_embedding(sinusoid(steps, self.config.width))
        for name, embedding in self.pooled_embeddings.items():
            memory: Memory = getattr(encoded, name)
            style = style + embedding(memory.pooled())
        speech = encoded.speech.tokens * encoded.speech.mask[..., None]
        stream = self.motion_embedding(noisy) + self.frame_embedding[:frames]
        for block in self.blocks:
            stream = block(
                stream, mask, style, speech, encoded.phonemes, encoded.text, encoded.first_pose
            )
        clean: Tensor = self.output(stream)
        return clean

    def forward(self, noisy: Tensor, steps: Tensor, mask: Tensor, conditions: Conditions) -> Tensor:
        """``encode`` and ``denoise`` in one pass, for training."""
        return self.denoise(noisy, steps, mask, self.encode(conditions))
