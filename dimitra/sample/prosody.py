"""Loudness, pitch and accents of speech: what head, brows and jaw follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter

from dimitra.sample.phones import Span
from dimitra.sample.voices import SAMPLE_RATE_HZ
from dimitra.speech.phonemes import VOWELS

HOP_S = 0.01


@dataclass(frozen=True)
class Prosody:
    """Curves every ``HOP_S`` seconds.

    Attributes:
        loudness: 0 (silence) to about 1 (the clip's loud syllables), ``[N]``.
        pitch: semitones from the clip's median, 0 where unvoiced, smoothed, ``[N]``.
        accents: (time in seconds, strength 0 to 1) of prominent vowels.
    """

    loudness: NDArray[np.float64]
    pitch: NDArray[np.float64]
    accents: tuple[tuple[float, float], ...]


def _loudness(samples: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    hop = round(HOP_S * SAMPLE_RATE_HZ)
    power = np.square(np.pad(samples.astype(np.float64), (0, (count + 1) * hop)))
    energy = power[: count * hop].reshape(count, hop).mean(1)
    level_db = 10 * np.log10(gaussian_filter1d(energy, 2.0) + 1e-8)
    top = np.percentile(level_db, 95)
    return np.asarray(np.clip((level_db - top + 35.0) / 35.0, 0.0, 1.15))


def _pitch(samples: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """F0 in hertz by the normalised autocorrelation of 40 ms windows, 0 where unvoiced."""
    hop, window = round(HOP_S * SAMPLE_RATE_HZ), round(0.04 * SAMPLE_RATE_HZ)
    low, high = SAMPLE_RATE_HZ // 350, SAMPLE_RATE_HZ // 65
    padded = np.pad(samples.astype(np.float64), (window // 2, window + count * hop))
    frames = np.stack([padded[i * hop : i * hop + window] for i in range(count)])
    frames = (frames - frames.mean(1, keepdims=True)) * np.hanning(window)
    spectrum = np.fft.rfft(frames, 2 * window)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, :window]
    taper = np.correlate(np.hanning(window), np.hanning(window), "full")[window - 1 :]
    normal = correlation / (correlation[:, :1] + 1e-6) / (taper / taper[0] + 1e-3)
    best = low + np.argmax(normal[:, low:high], 1)
    voiced = (normal[np.arange(count), best] > 0.5) & (correlation[:, 0] > 1e-3)
    return np.asarray(median_filter(np.where(voiced, SAMPLE_RATE_HZ / best, 0.0), 5))


def measure(samples: NDArray[np.float32], phones: tuple[Span, ...]) -> Prosody:
    """Prosody of an utterance.

    Args:
        samples: mono, ``SAMPLE_RATE_HZ``.
        phones: with times; accents sit on vowels.
    """
    count = int(np.ceil(len(samples) / SAMPLE_RATE_HZ / HOP_S))
    loudness, hertz = _loudness(samples, count), _pitch(samples, count)
    voiced = hertz > 0
    median = float(np.median(hertz[voiced])) if voiced.any() else 100.0
    semitones = np.zeros(count)
    semitones[voiced] = np.clip(12 * np.log2(hertz[voiced] / median), -7, 7)
    weight = gaussian_filter1d(voiced.astype(float), 6.0)
    smooth = gaussian_filter1d(semitones, 6.0) / np.maximum(weight, 0.2)
    vowels = [span for span in phones if span.label in VOWELS]
    if not vowels:
        return Prosody(loudness, smooth, ())
    centres = np.array([(span.start_s + span.end_s) / 2 for span in vowels])
    index = np.minimum((centres / HOP_S).astype(int), count - 1)
    length = np.array([span.end_s - span.start_s for span in vowels])
    score = 4.0 * loudness[index] + 0.25 * smooth[index] + 6.0 * np.minimum(length, 0.25)
    score = (score - score.mean()) / (score.std() + 1e-6)
    accents: list[tuple[float, float]] = []
    for place in np.argsort(-score, kind="stable"):
        if score[place] > 0.1 and all(abs(centres[place] - t) > 0.38 for t, _ in accents):
            accents.append((float(centres[place]), float(np.clip(0.45 + 0.3 * score[place], 0, 1))))
    return Prosody(loudness, smooth, tuple(sorted(accents)))
