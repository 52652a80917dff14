"""Feature networks whose answer is the mean colour."""

from pathlib import Path

import numpy as np
import pytest

from dimitra.metrics.features import FeatureNetwork
from tests.metrics.networks import mean_colour

RED = np.zeros((64, 48, 3), np.uint8)
RED[..., 0] = 255
GREY = np.full((64, 48, 3), 51, np.uint8)


def test_frames_come_scaled_and_in_their_order(tmp_path: Path) -> None:
    network = FeatureNetwork(mean_colour(tmp_path / "a.onnx", ["N", 3, 8, 12]), clips=False)
    found = network.features([RED, GREY])
    np.testing.assert_allclose(found, [[1, -1, -1], [-0.6, -0.6, -0.6]], atol=1e-6)
    assert len(network.features([])) == 0


def test_clips_are_sixteen_frames_and_a_rest_is_none(tmp_path: Path) -> None:
    mean_colour(tmp_path / "a.onnx", [1, 3, 16, 8, 8])
    network = FeatureNetwork(tmp_path, clips=True)
    found = network.features([RED] * 16 + [RED, GREY] * 8 + [RED] * 15)
    np.testing.assert_allclose(found, [[1, -1, -1], [0.2, -0.8, -0.8]], atol=1e-6)


def test_other_files_are_refused(tmp_path: Path) -> None:
    clips = mean_colour(tmp_path / "clips.onnx", [1, 3, 16, 8, 8])
    with pytest.raises(ValueError, match=r"clips\.onnx takes .*need \[N, 3, H, W\]"):
        FeatureNetwork(clips, clips=False)
    free = mean_colour(tmp_path / "free.onnx", ["N", 3, "H", "W"])
    with pytest.raises(ValueError, match=r"free\.onnx takes"):
        FeatureNetwork(free, clips=False)
    with pytest.raises(ValueError, match="a single one"):
        FeatureNetwork(tmp_path, clips=True)
