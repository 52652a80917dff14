"""Deng's camera against closed forms."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from dimitra.morphable.camera import (
    aligned_to_crop,
    angles_of,
    crop_to_aligned,
    project,
    rotation,
    to_camera,
)

angle = st.floats(-1.4, 1.4)


def test_the_origin_lies_at_the_image_centre() -> None:
    assert torch.equal(project(torch.zeros(1, 3)), torch.tensor([[112.0, 112.0]]))


def test_a_decimetre_at_the_origin_is_101_and_a_half_pixels() -> None:
    right_and_up = project(torch.tensor([[1.0, 1.0, 0.0]]))
    assert torch.allclose(right_and_up, torch.tensor([[112 + 101.5, 112 - 101.5]]))


def test_nearer_points_are_larger() -> None:
    assert torch.allclose(project(torch.tensor([[1.0, 0.0, 5.0]])), torch.tensor([[315.0, 112.0]]))


def test_single_rotations_turn_by_the_right_hand_rule() -> None:
    quarter = math.pi / 2
    x, y, z = torch.eye(3)
    pose = torch.zeros(3, 6)
    pose[0, 0], pose[1, 1], pose[2, 2] = quarter, quarter, quarter
    turned = to_camera(torch.stack([y, z, x])[:, None], pose)[:, 0]
    assert torch.allclose(turned, torch.stack([z, x, y]), atol=1e-6)


@given(angle, angle, angle)
def test_rotation_is_rz_ry_rx(pitch: float, yaw: float, roll: float) -> None:
    def single(axis: int, value: float) -> torch.Tensor:
        angles = torch.zeros(3, dtype=torch.float64)
        angles[axis] = value
        return rotation(angles)

    angles = torch.tensor([pitch, yaw, roll], dtype=torch.float64)
    matrix = rotation(angles)
    assert torch.allclose(matrix, single(2, roll) @ single(1, yaw) @ single(0, pitch))
    assert torch.allclose(matrix @ matrix.T, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(angles_of(matrix), angles, atol=1e-9)


@given(st.floats(0.3, 3.0), st.floats(0, 256), st.floats(0, 256))
def test_crop_round_trip(scale: float, x: float, y: float) -> None:
    crop = torch.tensor([scale, x, y], dtype=torch.float64)
    points = torch.tensor([[0.0, 0.0], [255.0, 3.0]], dtype=torch.float64)
    assert torch.allclose(aligned_to_crop(crop_to_aligned(points, crop), crop), points)


def test_the_crop_centre_counts_upwards() -> None:
    crop = torch.tensor([2.0, 100.0, 56.0])
    aligned = crop_to_aligned(torch.tensor([[100.0, 200.0], [101.0, 201.0]]), crop)
    assert torch.equal(aligned, torch.tensor([[112.0, 112.0], [114.0, 114.0]]))
