"""Features of speech from a pretrained encoder, and their windows around video frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
VIDEO_FPS = 25


class SpeechEncoder(Protocol):
    """Sound to one vector every ``1 / rate_hz`` seconds.

    Attributes:
        rate_hz: vectors per second.
        dim: width of a vector.
    """

    rate_hz: float
    dim: int

    def encode(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features ``[S, dim]`` of ``[N]`` samples, 16 kHz mono in -1..1."""
        ...


@dataclass(frozen=True)
class Block:
    """A piece of the fixed grid on which long sound is encoded, counted in features.

    Attributes:
        start: first feature whose context the encoder sees.
        stop: one past the last.
        keep_start: first feature taken from this block.
        keep_stop: one past the last.
    """

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def blocks(features: int, block: int, overlap: int) -> Iterator[Block]:
    """Cut a sequence into blocks of one fixed grid.

    Block ``k`` starts at ``k * (block - overlap)``. Each of two neighbours gives half of what they
    share, so a feature always has ``overlap // 2`` features of context, and every feature comes
    from exactly one block. A pretrained encoder's output depends on the context, so this grid is
    part of the feature.

    Args:
        features: length of the sequence.
        block: length of a block, longer than the overlap.
        overlap: shared by two neighbours.

    Raises:
        ValueError: the overlap is not shorter than the block.
    """
    if not 0 <= overlap < block:
        raise ValueError(
            f"overlap of {overlap} features must lie in 0..{block - 1} (a block is {block})"
        )
    hop = block - overlap
    start, kept = 0, 0
    while kept < features:
        stop = min(start + block, features)
        keep_stop = features if stop == features else stop - (overlap - overlap // 2)
        yield Block(start, stop, kept, keep_stop)
        start, kept = start + hop, keep_stop


class MoonshineEncoder:
    """Encoder of Moonshine base (Jeffries et al. 2024) in ONNX Runtime: 416 values, 41.67 Hz.

    The network takes raw samples ``[1, N]``; three convolutions (kernel and stride 127/64, 7/3,
    3/2) give one vector every 384 samples from 895 samples, and transformer layers mix them over
    the whole block. Sound is followed by 511 zero samples, so that there is a vector for every
    started 24 ms.

    Args:
        model: the ``.ort`` (or ``.onnx``) file.
        block_s: seconds that the network sees at once.
        overlap_s: seconds shared by two neighbouring blocks.

    Raises:
        ValueError: the overlap is not shorter than the block, or the file is another network.
    """

    STRIDE = 384
    FIELD = 895

    def __init__(self, model: Path, block_s: float, overlap_s: float) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        self._session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        inputs = [entry.name for entry in self._session.get_inputs()]
        dim = self._session.get_outputs()[0].shape[-1]
        if inputs != ["input_values"] or not isinstance(dim, int):
            raise ValueError(
                f"{model} takes {inputs} and gives {dim!r} values; Moonshine's encoder takes "
                "['input_values'] and gives 416"
            )
        self.rate_hz = SAMPLE_RATE_HZ / self.STRIDE
        self.dim = dim
        self._block = round(block_s * self.rate_hz)
        self._overlap = round(overlap_s * self.rate_hz)
        next(blocks(1, self._block, self._overlap))

    def encode(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features ``[ceil(N / 384), 416]`` of ``[N]`` samples, 16 kHz mono in -1..1."""
        count = -(-len(samples) // self.STRIDE)
        padded = np.zeros((count - 1) * self.STRIDE + self.FIELD, dtype=np.float32)
        padded[: len(samples)] = samples
        features = np.empty((count, self.dim), dtype=np.float32)
        for block in blocks(count, self._block, self._overlap):
            first = block.start * self.STRIDE
            last = (block.stop - 1) * self.STRIDE + self.FIELD
            (encoded,) = self._session.run(None, {"input_values": padded[None, first:last]})
            kept = slice(block.keep_start - block.start, block.keep_stop - block.start)
            features[block.keep_start : block.keep_stop] = encoded[0, kept]
        return features


def frame_windows(
    features: NDArray[np.float32], rate_hz: float, frames: int, window: int
) -> NDArray[np.float32]:
    """The features around each video frame.

    Frame ``i`` (at 25 fps) is centred on feature ``floor(i * rate / 25)``, which is ``2 i`` at 50
    Hz (DreamTalk, Ma et al. 2023); what lies outside the clip is zero.

    Args:
        features: ``[S, D]``.
        rate_hz: features per second.
        frames: number of video frames ``T``.
        window: features on either side of the centre.

    Returns:
        ``[T, 2 * window + 1, D]``.
    """
    # The product is rounded first: 3 * (125 / 3) / 25 must not fall just below 5.
    centres = np.floor(np.round(np.arange(frames) * rate_hz / VIDEO_FPS, 6)).astype(np.int64)
    index = centres[:, None] + np.arange(-window, window + 1)
    inside = (index >= 0) & (index < len(features))
    taken = (
        features[np.where(inside, index, 0)]
        if len(features)
        else np.zeros((*index.shape, features.shape[1]), dtype=np.float32)
    )
    return np.where(inside[:, :, None], taken, np.float32(0)).astype(np.float32)
