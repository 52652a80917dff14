"""Sliding jaw landmarks."""

from __future__ import annotations

import torch

from dimitra.morphable import open_head
from dimitra.morphable.camera import project, to_camera
from dimitra.morphable.contour import CANDIDATES, JAW, contour_candidates, slide


def test_candidates_are_near_their_landmark() -> None:
    model = open_head.load()
    candidates = contour_candidates(model)
    assert candidates.shape == (JAW, CANDIDATES)
    own = model.mean[model.landmarks_68[:JAW], :2]
    assert torch.linalg.vector_norm(model.mean[candidates, :2] - own[:, None], dim=-1).max() < 0.45


def test_the_far_cheek_slides_forward_on_a_turned_head() -> None:
    model = open_head.load()
    candidates = contour_candidates(model)
    pose = torch.zeros(2, 6)
    pose[1, 1] = 0.5
    points = project(to_camera(model.mean[candidates.flatten()], pose))
    centre = torch.full((2, 2), 112.0)
    picked, outward = slide(points.reshape(2, JAW, CANDIDATES, 2), centre)
    depth = model.mean[candidates, 2].expand(2, -1, -1).gather(2, picked[..., None])[..., 0]
    # Yaw turns the subject's left (the image's right) away: its outline moves to the cheek.
    assert (depth[1, 11:16] >= depth[0, 11:16]).all()
    assert depth[1, 11:16].mean() > depth[0, 11:16].mean() + 0.05
    assert torch.allclose(torch.linalg.vector_norm(outward, dim=-1), torch.ones(2, JAW))
