"""The committed table of MediaPipe's points on the open head."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from dimitra.morphable import open_head
from dimitra.morphable.camera import aligned_to_crop, project, rotation, to_camera
from dimitra.morphable.correspondence import ibug_68, mediapipe_478
from dimitra.morphable.fit import FitSettings, MeshLandmarks, fit_clip
from dimitra.morphable.model import FaceModel


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return open_head.load()


def _place(model: FaceModel, landmark: int) -> torch.Tensor:
    seen = mediapipe_478(model)
    return seen.shape.mean[seen.indices.tolist().index(landmark)]


def test_points_lie_where_their_names_say(model: FaceModel) -> None:
    ibug = model.mean[model.landmarks_68].double()
    for mediapipe, landmark, within in (
        (61, 48, 0.08), (291, 54, 0.08), (0, 51, 0.06), (17, 57, 0.06), (33, 36, 0.06),
        (263, 45, 0.06), (133, 39, 0.06), (362, 42, 0.06), (1, 30, 0.12),
    ):  # fmt: skip
        assert float((_place(model, mediapipe) - ibug[landmark]).norm()) < within
    assert _place(model, 13)[1] > _place(model, 14)[1] - 0.02  # upper inner lip over lower


def test_left_and_right_points_mirror_each_other(model: FaceModel) -> None:
    flip = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    for right, left in ((61, 291), (33, 263), (159, 386), (145, 374), (105, 334), (468, 473)):
        assert float((_place(model, right) * flip - _place(model, left)).norm()) < 0.05


def test_modes_whiten_without_turning_noise_around(model: FaceModel) -> None:
    modes = mediapipe_478(model).modes
    largest = torch.linalg.eigvalsh(modes.T @ modes).max()
    assert 0.9 < float(largest) < 1.0


def test_another_face_model_is_refused(model: FaceModel) -> None:
    with pytest.raises(ValueError, match="not to bfm"):
        mediapipe_478(replace(model, name="bfm"))


def _talk(model: FaceModel, frames: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Identity, expression and pose of a head that talks, blinks and turns."""
    assert model.units_to_expression is not None
    time = torch.arange(frames) / 25.0
    units = torch.zeros(frames, 52)
    for name, size, hz in (
        ("jawOpen", 0.4, 2.5),
        ("mouthPucker", 0.5, 1.4),
        ("eyeBlink", 0.8, 0.9),
    ):
        for column, unit in enumerate(model.unit_names):
            if unit.removesuffix("Left").removesuffix("Right") == name:
                units[:, column] = size * (0.5 - 0.5 * torch.cos(2 * math.pi * hz * time))
    pose = torch.zeros(frames, 6)
    pose[:, 1] = 0.25 * torch.sin(3 * time)
    identity = 0.7 * torch.randn(80, generator=torch.Generator().manual_seed(3))
    return identity, units @ model.units_to_expression, pose


def test_a_fit_to_exact_mesh_points_finds_the_truth(model: FaceModel) -> None:
    identity, expression, pose = _talk(model)
    frames, seen = len(pose), mediapipe_478(model)
    assert seen.scores is not None
    crop = torch.tensor([0.9, 128.0, 128.0]).expand(frames, 3)
    ibug = project(to_camera(model.landmarks(identity, expression), pose))
    shape = seen.shape.vertices(identity.double(), expression.double())
    points = torch.zeros(frames, 478, 2)
    points[:, seen.indices] = aligned_to_crop(
        project(to_camera(shape, pose.double())), crop.double()
    ).float()
    scores = torch.zeros(frames, 52)
    read = expression.double() @ seen.scores.matrix + seen.scores.bias
    scores[:, seen.scores.columns] = read.float()
    mesh = MeshLandmarks(points, scores, torch.ones(frames, dtype=torch.bool))
    fitted = fit_clip(
        model, aligned_to_crop(ibug, crop), settings=FitSettings(iterations=8), mesh=mesh
    )
    turned = torch.einsum("tij,tij->t", rotation(fitted.pose[:, :3]), rotation(pose[:, :3]))
    assert float(torch.rad2deg(torch.arccos(((turned - 1) / 2).clamp(-1, 1))).mean()) < 1.0
    assert float(fitted.residual_px.mean()) < 0.5
    lips = model.part("lips")
    zero = torch.zeros(80)
    miss = (model.vertices(zero, fitted.expression) - model.vertices(zero, expression))[:, lips]
    assert float(miss.norm(dim=-1).mean()) < 0.02 * 0.83  # of the distance of the outer eye corners
    first = torch.corrcoef(torch.stack((fitted.expression[:, 0], expression[:, 0])))[0, 1]
    assert float(first) > 0.98


def test_frames_of_mesh_and_landmarks_must_agree(model: FaceModel) -> None:
    landmarks = project(model.mean[model.landmarks_68]).expand(4, -1, -1)
    mesh = MeshLandmarks(
        torch.zeros(3, 478, 2), torch.zeros(3, 52), torch.ones(3, dtype=torch.bool)
    )
    with pytest.raises(ValueError, match="3 frames of mesh landmarks beside 4"):
        fit_clip(model, landmarks, mesh=mesh)


def test_the_68_landmarks_keep_their_order(model: FaceModel) -> None:
    seen = ibug_68(model)
    assert seen.contour_points == 17
    assert torch.equal(seen.shape.mean.float(), model.mean[model.landmarks_68[17:]])
