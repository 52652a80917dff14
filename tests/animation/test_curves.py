"""Curves of a motion, against the face model's own units and written-out geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dimitra.animation.curves import motion_curves
from dimitra.morphable import open_head

MODEL = open_head.load()


def unit(name: str) -> NDArray[np.float32]:
    """Expression [64] of an action unit at its full."""
    assert MODEL.units_to_expression is not None
    return MODEL.units_to_expression[MODEL.unit_names.index(name)].numpy()


def test_jaw_and_lids_move_their_curves() -> None:
    amounts = np.linspace(0.0, 1.0, 5, dtype=np.float32)
    motion = np.zeros((10, 70), np.float32)
    motion[:5, :64] = amounts[:, None] * unit("jawOpen")
    blink = unit("eyeBlinkLeft") + unit("eyeBlinkRight")
    motion[5:, :64] = amounts[:, None] * blink
    curves = motion_curves(motion, np.zeros(80, np.float32), MODEL)
    assert (np.diff(curves["mouth"][:5]) > 0).all()
    assert curves["mouth"][4] > curves["mouth"][0] + 15
    assert np.ptp(curves["mouth"][5:]) < 3
    assert (np.diff(curves["eyes"][5:9]) < 0).all()
    assert curves["eyes"][5] > 0.3
    assert curves["eyes"][9] == 0.0
    assert np.ptp(curves["eyes"][:5]) < 0.02


def test_the_geometry_written_out() -> None:
    generator = np.random.default_rng(5)
    motion = generator.normal(0.0, 0.3, (3, 70)).astype(np.float32)
    identity = generator.normal(0.0, 0.5, 80).astype(np.float32)
    curves = motion_curves(motion, identity, MODEL)
    for frame in range(3):
        vertices = MODEL.vertices(torch.from_numpy(identity), torch.from_numpy(motion[frame, :64]))
        points = vertices.numpy()[MODEL.landmarks_68.numpy()]

        def gap(one: int, other: int, points: NDArray[np.float32] = points) -> float:
            return float(np.sqrt(((points[one - 1] - points[other - 1]) ** 2).sum()))

        # Landmarks counted from 1, as iBUG draws them.
        y = {number: float(points[number - 1, 1]) for number in range(37, 49)}
        right = (y[38] - y[42] + y[39] - y[41]) / (2 * gap(37, 40))
        left = (y[44] - y[48] + y[45] - y[47]) / (2 * gap(43, 46))
        assert curves["mouth"][frame] == pytest.approx(100 * gap(63, 67) / gap(37, 46), abs=0.01)
        assert curves["eyes"][frame] == pytest.approx((max(left, 0) + max(right, 0)) / 2, abs=0.002)
        assert curves["yaw"][frame] == pytest.approx(motion[frame, 65] * 180 / np.pi, abs=0.001)
        assert curves["pitch"][frame] == pytest.approx(motion[frame, 64] * 180 / np.pi, abs=0.001)
        assert curves["roll"][frame] == pytest.approx(motion[frame, 66] * 180 / np.pi, abs=0.001)
