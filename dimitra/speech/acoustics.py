"""Acoustic features of the aligner: 13 MFCC with first and second differences, every 10 ms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
FRAME_S = 0.01
"""Time between two feature frames; frame ``j`` is centred on ``(j + 0.5) * FRAME_S``."""

FEATURE_DIM = 39
_INT16 = 32768.0
_DITHER_SEED = 0
_SMALLEST_DEVIATION = 1e-3


def acoustic_features(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """MFCC, their differences and the differences of those, normalised over the clip.

    Kaldi's front end (25 ms Povey window, 23 mel filters, log energy in place of C0), each column
    brought to zero mean and unit deviation over the clip, which takes away most of what differs
    between speakers and channels. One fixed sequence of noise of one 16-bit step is
    added, so that the digital silence of synthetic speech has a finite logarithm.

    Args:
        samples: ``[N]``, 16 kHz mono in -1..1.

    Returns:
        ``[N // 160 (rounded), 39]``; empty where the sound is shorter than half a frame.
    """
    import kaldi_native_fbank as knf

    options = knf.MfccOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE_HZ
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    extractor = knf.OnlineMfcc(options)
    noise = np.random.default_rng(_DITHER_SEED).standard_normal(len(samples), dtype=np.float32)
    extractor.accept_waveform(SAMPLE_RATE_HZ, samples * np.float32(_INT16) + noise)
    extractor.input_finished()
    count = extractor.num_frames_ready
    if count == 0:
        return np.zeros((0, FEATURE_DIM), dtype=np.float32)
    static = np.stack([extractor.get_frame(index) for index in range(count)])
    features = np.asarray(knf.compute_deltas(knf.DeltaOptions(), static), dtype=np.float64)
    deviation = np.maximum(features.std(axis=0), _SMALLEST_DEVIATION)
    return np.asarray((features - features.mean(axis=0)) / deviation, dtype=np.float32)
