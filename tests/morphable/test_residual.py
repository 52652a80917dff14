"""Landmarks of coefficients, against Deng's own arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from dimitra.morphable import bfm
from dimitra.morphable.alignment import ENCODER_SHIFT_PX
from dimitra.morphable.residual import distance_px, inner_landmarks
from tests.morphable.bfm_file import bfm_contents


def test_landmarks_lie_where_the_encoder_was_trained_to_put_them(tmp_path: Path) -> None:
    """Deng's training: y counts up from the last row; the image is cut as from the edge."""
    contents = bfm_contents(300)
    savemat(tmp_path / "bfm.mat", contents)
    model = bfm.read(tmp_path / "bfm.mat")
    rng = np.random.default_rng(0)
    frames, height = 3, 240
    identity, expression = rng.normal(size=80), rng.normal(size=(frames, 64))
    pose = np.concatenate([rng.normal(0, 0.2, (frames, 3)), rng.normal(0, 0.3, (frames, 3))], 1)
    crop = np.stack([[0.9, 120.0, 118.0], [1.0, 130.0, 121.0], [1.2, 99.0, 140.0]])

    mean = contents["meanshape"].reshape(-1, 3).astype(np.float64)
    mean = mean - mean.mean(0)
    points = contents["keypoints"].astype(int).ravel()[17:] - 1
    expected = np.empty((frames, 51, 2))
    for frame in range(frames):
        flat = contents["idBase"] @ identity + contents["exBase"] @ expression[frame]
        shape = (mean + flat.reshape(-1, 3))[points]
        # Column vectors: Rz Ry Rx, axis by axis.
        turn = np.eye(3)
        for axis, angle in zip("xyz", pose[frame, :3], strict=True):
            turn = Rotation.from_euler(axis, angle).as_matrix() @ turn
        seen = shape @ turn.T + pose[frame, 3:]
        right, up = (1015 * seen[:, i] / (10 - seen[:, 2]) + 112 for i in range(2))
        scale, x, y = crop[frame]
        # util/preprocess.py: lm = (lm - t + size / 2) * s - (size * s / 2 - 112), y upwards.
        across = (right - 112) / scale + x
        upwards = (up - 112) / scale + y
        expected[frame] = np.stack([across, height - 1 - upwards], axis=1)

    found = inner_landmarks(
        model,
        torch.from_numpy(identity).float(),
        torch.from_numpy(expression).float(),
        torch.from_numpy(pose).float(),
        torch.from_numpy(crop).float(),
        height - ENCODER_SHIFT_PX,
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-3)

    landmarks = torch.zeros(frames, 68, 2)
    landmarks[:, 17:] = found + torch.tensor([3.0, 4.0])
    assert torch.allclose(distance_px(found, landmarks), torch.full((frames,), 5.0), atol=1e-4)
    with pytest.raises(ValueError, match=r"landmarks are \[2, 68, 2\] beside 3 frames"):
        distance_px(found, landmarks[:2])
