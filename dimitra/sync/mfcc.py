"""Mel-frequency cepstral coefficients as SyncNet was trained on: those of python_speech_features.

Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word recognition
in continuously spoken sentences", IEEE TASSP 28(4), 1980; constants are the defaults of
python_speech_features 0.6, which ``syncnet_python`` calls with nothing but the sample rate.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

SAMPLE_RATE_HZ = 16_000
COEFFICIENTS = 13
PER_SECOND = 100
"""Rows a second: one every 160 samples."""

_STEP, _LENGTH, _FFT = 160, 400, 512
_FILTERS = 26
_PRE_EMPHASIS = 0.97
_LIFTER = 22
_FULL_SCALE = 32768.0
_EPSILON = float(np.finfo(float).eps)


def mfcc(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Coefficients of a mono sound at 16 kHz; the first is the log of the block's energy.

    Args:
        samples: ``[N]`` in -1..1; they are rounded to 16 bits, the reference's input.

    Returns:
        ``[F, 13]``, F = 1 + ceil((N - 400) / 160), at least 1; the last block is filled with zeros.

    Raises:
        ValueError: not one-dimensional, or empty.
    """
    if samples.ndim != 1 or not samples.size:
        raise ValueError(f"samples of shape {samples.shape}: need [N] with N > 0")
    scaled = np.rint(samples.astype(np.float64) * _FULL_SCALE)
    signal = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1.0)
    signal = np.append(signal[0], signal[1:] - _PRE_EMPHASIS * signal[:-1])
    count = 1 + max(0, -(-(len(signal) - _LENGTH) // _STEP))
    signal = np.pad(signal, (0, max(0, (count - 1) * _STEP + _LENGTH - len(signal))))
    blocks = np.lib.stride_tricks.sliding_window_view(signal, _LENGTH)[::_STEP][:count]
    power = np.square(np.abs(np.fft.rfft(blocks, _FFT))) / _FFT
    energy = power.sum(axis=1)
    bands = power @ _filter_bank().T
    bands = np.where(bands == 0.0, _EPSILON, bands)
    found = dct(np.log(bands), type=2, axis=1, norm="ortho")[:, :COEFFICIENTS]
    lift = 1.0 + (_LIFTER / 2) * np.sin(np.pi * np.arange(COEFFICIENTS) / _LIFTER)
    found = found * lift
    found[:, 0] = np.log(np.where(energy == 0.0, _EPSILON, energy))
    return np.asarray(found, dtype=np.float64)


@functools.cache
def _filter_bank() -> NDArray[np.float64]:
    """Triangles ``[26, 257]`` from 0 to 8 kHz, evenly spaced in mel (O'Shaughnessy 1987)."""
    top = 2595.0 * np.log10(1.0 + SAMPLE_RATE_HZ / 2 / 700.0)
    hertz = 700.0 * (10.0 ** (np.linspace(0.0, top, _FILTERS + 2) / 2595.0) - 1.0)
    corners = np.floor((_FFT + 1) * hertz / SAMPLE_RATE_HZ)
    bins = np.arange(_FFT // 2 + 1, dtype=np.float64)
    bank = np.zeros((_FILTERS, len(bins)))
    for row, (low, middle, high) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        rising = (bins >= low) & (bins < middle)
        falling = (bins >= middle) & (bins < high)
        bank[row, rising] = (bins[rising] - low) / (middle - low)
        bank[row, falling] = (high - bins[falling]) / (high - middle)
    return bank
