"""Does the head move with the voice? Beat alignment of head motion and sound.

The beat alignment score of dance generation (Li et al., "AI Choreographer", ICCV 2021), averaged
over the beats of the sound as Siyao et al. have it ("Bailando", CVPR 2022), which talking-head
papers report of head motion (SadTalker, CVPR 2023). The beats of speech are the onsets of its
sound; those of the motion are the local minima of its speed, where the head turns back or rests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, maximum_filter1d, uniform_filter1d
from scipy.signal import ShortTimeFFT
from scipy.spatial.transform import Rotation

SIGMA_S = 0.05
"""Width of the score's Gaussian: 3 frames at 60 a second, as published."""
_SMOOTH_S = 5 / 60
"""Of the speed before its minima are taken: 5 frames at 60 a second, as in Bailando."""
_WINDOW_S, _HOP_S = 0.032, 0.01
_NEAR, _AROUND, _ABOVE = 7, 13, 0.5
"""Peaks of Dixon 2006: hops in which a peak is the largest, those of the mean that it exceeds, and
by how many standard deviations."""
_LOUDNESS = 100.0
"""Compression ``log(1 + 100 |X|)`` of magnitudes, so that soft onsets count."""


def onsets(samples: NDArray[np.floating], rate_hz: int) -> NDArray[np.float64]:
    """Times at which sounds begin: peaks of the spectral flux.

    Dixon, "Onset detection revisited", DAFx 2006.

    Args:
        samples: ``[N]`` mono, in -1..1.
        rate_hz: of the samples.

    Returns:
        Seconds, ascending; none in silence.

    Raises:
        ValueError: not one-dimensional.
    """
    if samples.ndim != 1:
        raise ValueError(f"samples of shape {samples.shape} must be [N]")
    window, hop = round(_WINDOW_S * rate_hz), round(_HOP_S * rate_hz)
    if len(samples) < window:
        return np.zeros(0)
    transform = ShortTimeFFT(np.hanning(window), hop, rate_hz, scale_to="magnitude")
    spectrum = transform.stft(np.asarray(samples, dtype=np.float64))
    loud = np.log1p(_LOUDNESS * np.abs(spectrum))
    flux = np.maximum(np.diff(loud, axis=1, prepend=loud[:, :1]), 0.0).sum(axis=0)
    if flux.std() <= 1e-9:
        return np.zeros(0)
    score = (flux - flux.mean()) / flux.std()
    largest = score >= maximum_filter1d(score, _NEAR)
    high = score >= uniform_filter1d(score, _AROUND) + _ABOVE
    times = transform.t(len(samples))[np.flatnonzero(largest & high)]
    return np.asarray(times[(times >= 0.0) & (times <= len(samples) / rate_hz)])


def head_beats(angles: NDArray[np.floating], fps: float) -> NDArray[np.float64]:
    """Times of the local minima of a head's angular speed.

    Args:
        angles: ``[T, 3]`` pitch, yaw, roll in radians; ``R = Rz Ry Rx``.
        fps: frames a second; frame ``i`` shows the time ``(i + 0.5) / fps``.

    Returns:
        Seconds, ascending; none where the head does not move.
    """
    if len(angles) < 4:
        return np.zeros(0)
    heads = Rotation.from_euler("xyz", np.asarray(angles, dtype=np.float64))
    speed = (heads[1:] * heads[:-1].inv()).magnitude()
    if speed.max() <= 1e-9:
        return np.zeros(0)
    smooth = gaussian_filter1d(speed, _SMOOTH_S * fps)
    inner = smooth[1:-1]
    lowest = np.flatnonzero((inner < smooth[:-2]) & (inner < smooth[2:])) + 1
    return np.asarray((lowest + 1) / fps)


def beat_alignment(
    sound_s: NDArray[np.floating], motion_s: NDArray[np.floating], sigma_s: float = SIGMA_S
) -> float | None:
    """Mean over the sound's beats of ``exp(-d^2 / (2 sigma^2))``, d the time to the next motion's.

    Args:
        sound_s: ``[N]`` seconds.
        motion_s: ``[M]`` seconds.
        sigma_s: seconds.

    Returns:
        0 (no beat of the motion is near, or there is none) to 1 (each has one at its time); None
        where the sound has no beat.
    """
    if not len(sound_s):
        return None
    if not len(motion_s):
        return 0.0
    apart = np.abs(np.subtract.outer(sound_s, motion_s)).min(axis=1)
    return float(np.exp(-np.square(apart) / (2.0 * sigma_s**2)).mean())
