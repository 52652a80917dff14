"""Speech features of long sound, piece by piece on the encoder's own grid.

The encoder sees blocks of a fixed grid (``dimitra.speech.grid``). A piece that begins and ends with
blocks of it gives the same features there as the whole sound, so the memory is that of a piece.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dimitra.speech.features import SAMPLE_RATE_HZ, SpeechEncoder

PIECE_BLOCKS = 12
"""Blocks that a piece gives; two more are encoded and dropped, for its ends."""


def write_features(
    encoder: SpeechEncoder,
    samples: NDArray[np.float32],
    block_s: float,
    overlap_s: float,
    file: Path,
    done: Callable[[int, int], None],
    *,
    whole: bool,
) -> NDArray[np.float16]:
    """Encode sound into a file.

    Args:
        encoder: on the grid of ``block_s`` and ``overlap_s``.
        samples: [N], 16 kHz mono in -1..1.
        block_s: seconds that its network sees at once.
        overlap_s: seconds shared by two neighbouring blocks.
        file: takes the features.
        done: told how many of how many features are there.
        whole: encode in one go, because the encoder normalises loudness over all that it is given.

    Returns:
        [ceil(N / stride), D] float16, mapped from the file.
    """
    rate = encoder.rate_hz
    stride = round(SAMPLE_RATE_HZ / rate)
    count = -(-len(samples) // stride)
    block = round(block_s * rate)
    hop = block - min(round(overlap_s * rate), block // 2)
    stored = np.memmap(file, np.float16, "w+", shape=(count, encoder.dim))
    if whole or count <= PIECE_BLOCKS * hop:
        stored[:] = encoder.encode(np.asarray(samples)).astype(np.float16)
        done(count, count)
        return stored
    start = 0  # a feature: the first one that is still to be written
    while start < count:
        # Block k begins at feature k hop. What lies before the second block of a piece may lack
        # its predecessor, and the last block its successor.
        first = max(0, start - hop)
        stop = start + PIECE_BLOCKS * hop
        last = stop + block
        piece = np.array(samples[first * stride : last * stride])
        if last >= count:
            stop = count
        features = encoder.encode(piece)
        stored[start:stop] = features[start - first : stop - first].astype(np.float16)
        start = stop
        done(start, count)
    return stored
