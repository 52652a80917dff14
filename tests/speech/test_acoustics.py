import numpy as np
import pytest

from dimitra.speech.acoustics import FEATURE_DIM, acoustic_features
from tests.speech.signals import boats


def test_one_frame_every_ten_milliseconds_normalised() -> None:
    samples = boats().samples
    features = acoustic_features(samples)
    assert features.shape == (len(samples) // 160, FEATURE_DIM)
    assert np.abs(features.mean(axis=0)).max() < 1e-5
    assert np.abs(features.std(axis=0) - 1).max() < 1e-4


def test_differences_are_regressions_over_five_frames() -> None:
    features = acoustic_features(boats().samples).astype(np.float64)
    padded = np.pad(features[:, :13], ((2, 2), (0, 0)), mode="edge")
    count = len(features)
    slope = sum(k * padded[2 + k : 2 + k + count] for k in (-2, -1, 1, 2))
    for column in range(13):
        ours = features[:, 13 + column]
        assert np.corrcoef(ours, slope[:, column])[0, 1] == pytest.approx(1.0, abs=1e-5)


def test_loudness_does_not_matter() -> None:
    samples = boats().samples
    quiet, loud = acoustic_features(samples * 0.3), acoustic_features(samples)
    assert np.corrcoef(quiet.ravel(), loud.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("count", [0, 10, 80, 640])
def test_short_and_silent_sound_is_finite(count: int) -> None:
    features = acoustic_features(np.zeros(count, dtype=np.float32))
    assert features.shape == ((count + 80) // 160, FEATURE_DIM)
    assert np.isfinite(features).all()
