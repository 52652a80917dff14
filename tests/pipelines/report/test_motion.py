"""Curves of motion, against the face model's own arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from dimitra.morphable import open_head
from dimitra.morphable.opening import opening_direction
from pipelines.report.motion import MOST_VALUES, clip_curves, most_points
from tests.pipelines.report.run import FRAMES, motion_of


def test_the_opening_is_how_far_the_lips_part_in_millimetres() -> None:
    motion, model = motion_of(0, 0.2), open_head.load()
    curves = clip_curves({"fit": motion}, opening_direction(model), 1000)
    lips = model.subset(model.landmarks_68[[62, 66]])
    moved = np.einsum("tk,kvc->tvc", motion[:, :64], lips.expression_basis.numpy())
    expected = 100.0 * (moved[:, 0, 1] - moved[:, 1, 1])
    assert curves["opening"]["fit"] == pytest.approx(expected.tolist(), abs=0.006)
    assert curves["pitch"]["fit"] == [11.46] * FRAMES


def test_long_clips_are_thinned_and_the_page_stays_small() -> None:
    long = np.zeros((3100, 70), np.float32)
    long[:, 66] = np.linspace(0.0, 1.0, 3100)
    curves = clip_curves({"fit": long, "hp": long}, None, 1000)
    assert "opening" not in curves
    assert curves["step"] == 4
    roll = curves["roll"]["hp"]
    assert len(roll) == 775
    assert roll[100] == round(float(np.rad2deg(long[400, 66])), 2)
    assert most_points(1) * 12 == MOST_VALUES
    assert most_points(24) == 520
    assert most_points(1000) == 200
