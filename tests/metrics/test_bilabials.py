"""Shares that can be counted by hand."""

import numpy as np
import pytest

from dimitra.metrics.bilabials import bilabial_intervals, closure_share
from dimitra.speech.phonemes import PHONE_IDS


def ids(text: str) -> np.ndarray:
    return np.array([PHONE_IDS[phone] for phone in text.split()], dtype=np.int16)


def test_runs_of_one_sound_are_one_interval() -> None:
    assert bilabial_intervals(ids("SIL P P AA M B AA B")) == [(1, 3), (4, 5), (5, 6), (7, 8)]
    assert bilabial_intervals(ids("")) == []
    with pytest.raises(ValueError, match=r"\[T\]"):
        bilabial_intervals(np.zeros((2, 2), np.int16))


def test_the_share_counts_sounds_not_frames() -> None:
    phonemes = ids("M M M AA P AA B B")
    opening = np.array([0.5, 0.1, 0.5, 0.0, 0.2, 0.0, 0.3, 0.11])
    assert closure_share(opening, phonemes, 0.1) == pytest.approx(1 / 3)
    assert closure_share(opening, phonemes, 0.2) == 1.0
    assert closure_share(opening, phonemes, 0.05) == 0.0  # AA, though closed, does not count
    assert closure_share(opening[:1], ids("AA"), 0.1) is None
    with pytest.raises(ValueError, match="must both be"):
        closure_share(opening[:2], phonemes, 0.1)
