"""Onsets at known times, turning points of known motion, and the score's closed form."""

import numpy as np
import pytest

from dimitra.metrics.beats import SIGMA_S, beat_alignment, head_beats, onsets

RATE = 16000


def bursts(times_s: list[float], seconds: float = 3.0) -> np.ndarray:
    """Quiet noise with a burst of a decaying tone at each time."""
    samples = 0.001 * np.random.default_rng(0).normal(size=round(seconds * RATE))
    for time in times_s:
        place = np.arange(round(0.15 * RATE))
        tone = 0.5 * np.sin(2 * np.pi * 440 * place / RATE) * np.exp(-place / 600)
        start = round(time * RATE)
        samples[start : start + len(tone)] += tone[: len(samples) - start]
    return samples


def test_onsets_are_where_sounds_begin() -> None:
    times = [0.5, 0.9, 1.6, 2.2]
    found = onsets(bursts(times), RATE)
    near = np.abs(np.subtract.outer(times, found))
    assert np.all(near.min(axis=1) < 0.02)  # every sound has one
    loud = found[near.min(axis=0) > 0.05]  # and noise has few
    assert len(loud) <= len(found) / 2


def test_silence_and_a_moment_have_none() -> None:
    assert len(onsets(np.zeros(RATE), RATE)) == 0
    assert len(onsets(np.ones(10), RATE)) == 0
    with pytest.raises(ValueError, match=r"\[N\]"):
        onsets(np.zeros((5, 2)), RATE)


def test_a_nodding_head_rests_twice_a_swing() -> None:
    """Pitch ``cos(2 pi f t)`` turns back at multiples of half a swing."""
    fps, swing_s = 25.0, 1.6
    times = (np.arange(100) + 0.5) / fps
    angles = np.zeros((100, 3))
    angles[:, 0] = 0.1 * np.cos(2 * np.pi * times / swing_s)
    expected = np.arange(1, 5) * swing_s / 2
    np.testing.assert_allclose(head_beats(angles, fps), expected, atol=1 / fps)


def test_a_still_head_has_no_beat() -> None:
    assert len(head_beats(np.full((50, 3), 0.2), 25.0)) == 0
    assert len(head_beats(np.zeros((3, 3)), 25.0)) == 0


def test_the_score_is_the_closed_form() -> None:
    sound = np.array([0.5, 1.0, 2.0])
    assert beat_alignment(sound, sound) == 1.0
    assert beat_alignment(sound, sound + SIGMA_S) == pytest.approx(np.exp(-0.5))
    assert beat_alignment(sound, np.array([0.5])) == pytest.approx(1 / 3, abs=1e-6)
    assert beat_alignment(sound, np.zeros(0)) == 0.0
    assert beat_alignment(np.zeros(0), sound) is None
