"""The one grid of blocks on which sound of any length is encoded.

A pretrained encoder's vector depends on all that the network is given with it, so how sound is cut
is part of the feature. Every use of an encoder (training clips, long clips, one voice recording to
animate) goes through ``GridEncoder``: the same samples give the same features, and a block bounds
the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dimitra.speech.errors import EncoderError
from dimitra.speech.features import SAMPLE_RATE_HZ

_VARIANCE_FLOOR = 1e-7
"""Added to the variance, as Hugging Face's ``Wav2Vec2FeatureExtractor`` has it."""


@dataclass(frozen=True)
class Block:
    """A piece of the fixed grid on which long sound is encoded, counted in features.

    Attributes:
        start: first feature that the network gives.
        stop: one past the last.
        fade_in: features shared with the block before; 0 for the first.
        fade_out: features shared with the block after; 0 for the last.
    """

    start: int
    stop: int
    fade_in: int
    fade_out: int

    def weights(self) -> NDArray[np.float32]:
        """Share of this block in each of its features; with its neighbours' they sum to 1."""
        weights = np.ones(self.stop - self.start, dtype=np.float32)
        if self.fade_in:
            weights[: self.fade_in] = _ramp(self.fade_in)
        if self.fade_out:
            weights[len(weights) - self.fade_out :] = np.float32(1) - _ramp(self.fade_out)
        return weights


def _ramp(length: int) -> NDArray[np.float32]:
    return ((np.arange(length, dtype=np.float32) + np.float32(0.5)) / np.float32(length)).astype(
        np.float32
    )


def blocks(features: int, block: int, overlap: int) -> Iterator[Block]:
    """Cut a sequence into blocks of one fixed grid.

    Block ``k`` starts at ``k * (block - overlap)``; the last one ends with the sequence. Two
    neighbours fade into each other over all that they share. A hand-over at one feature would
    show: two blocks do not agree on a feature near their ends (docs/speech.md has the numbers).

    Args:
        features: length of the sequence.
        block: length of a block.
        overlap: shared by two neighbours.

    Raises:
        EncoderError: the overlap is more than half the block, so that three would share a feature.
    """
    if not (block > 0 and 0 <= 2 * overlap <= block):
        raise EncoderError(
            f"an overlap of {overlap} features must lie in 0..{max(block, 0) // 2}, half of a "
            f"block of {block}"
        )
    start, fade_in = 0, 0
    while start + fade_in < features:
        stop = min(start + block, features)
        fade_out = overlap if stop < features else 0
        yield Block(start, stop, fade_in, fade_out)
        start, fade_in = stop - overlap, overlap


class Network(Protocol):
    """A pretrained network that turns the samples of one block into vectors."""

    @property
    def stride(self) -> int:
        """Samples from one vector to the next."""
        ...

    @property
    def field(self) -> int:
        """Samples that a vector's convolutions see: vector ``k`` those from ``k * stride``."""
        ...

    @property
    def dim(self) -> int:
        """Width of a vector."""
        ...

    @property
    def normalised(self) -> bool:
        """Whether it wants sound of mean 0 and variance 1."""
        ...

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Vectors ``[1 + (N - field) // stride, dim]`` of ``[N]`` samples."""
        ...


def normalise(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sound of mean 0 and variance 1, ``(x - mean) / sqrt(variance + 1e-7)``."""
    if not len(samples):
        return samples
    # Sums in float64, without a copy of the whole sound in it.
    mean = samples.mean(dtype=np.float64)
    squares = np.einsum("i,i->", samples, samples, dtype=np.float64) / len(samples)
    scale = np.sqrt(max(squares - mean**2, 0.0) + _VARIANCE_FLOOR)
    return (samples - np.float32(mean)) / np.float32(scale)


class GridEncoder:
    """A ``SpeechEncoder``: a network, block by block on the fixed grid.

    Loudness is normalised over the whole sound, once, before it is cut (where the network wants
    it): a gain of its own for each block would show at the seams. Then zeros follow the sound, so
    that there is a vector for every started stride. Blocks pass the network one at a time, so that
    no vector depends on what else is in a batch, and fade into each other where they overlap.

    Args:
        network: loaded weights.
        block_s: seconds of vectors that the network gives at once.
        overlap_s: seconds shared by two neighbouring blocks.

    Raises:
        EncoderError: the overlap is more than half the block.
    """

    def __init__(self, network: Network, block_s: float, overlap_s: float) -> None:
        self.rate_hz = SAMPLE_RATE_HZ / network.stride
        self.dim = network.dim
        self._network = network
        self._block = round(block_s * self.rate_hz)
        self._overlap = round(overlap_s * self.rate_hz)
        if overlap_s <= block_s / 2:  # rounding alone must not make it more than half
            self._overlap = min(self._overlap, self._block // 2)
        next(blocks(1, self._block, self._overlap))

    def encode(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features ``[ceil(N / stride), dim]`` of ``[N]`` samples, 16 kHz mono in -1..1.

        Raises:
            ValueError: the network gave another number of vectors than its convolutions tell.
        """
        stride, field = self._network.stride, self._network.field
        count = -(-len(samples) // stride)
        padded = np.zeros(max(count - 1, 0) * stride + max(field, stride), dtype=np.float32)
        padded[: len(samples)] = normalise(samples) if self._network.normalised else samples
        features = np.zeros((count, self.dim), dtype=np.float32)
        for block in blocks(count, self._block, self._overlap):
            given = padded[block.start * stride : (block.stop - 1) * stride + field]
            encoded = self._network(given)
            expected = (block.stop - block.start, self.dim)
            if encoded.shape != expected:
                raise ValueError(f"the network gave {encoded.shape}, expected {expected}")
            features[block.start : block.stop] += block.weights()[:, None] * encoded
        return features
