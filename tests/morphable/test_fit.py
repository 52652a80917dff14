"""The landmark fit against known coefficients."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from dimitra.morphable import fit as fit_module
from dimitra.morphable import open_head
from dimitra.morphable.camera import aligned_to_crop, project, rotation, to_camera
from dimitra.morphable.correspondence import mediapipe_478
from dimitra.morphable.fit import ClipFit, FitSettings, MeshLandmarks, fit_clip
from dimitra.morphable.model import FaceModel

_FRAMES = 60


@dataclass(frozen=True)
class _Talk:
    identity: Tensor
    expression: Tensor
    pose: Tensor
    landmarks: Tensor


def _talk(model: FaceModel, seed: int, noise_px: float) -> _Talk:
    """Projected landmarks of a talking, turning head with measurement noise."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(_FRAMES) / 25.0

    def wave(hz: float) -> Tensor:
        phase = 6.3 * torch.rand(1, generator=generator)
        return torch.sin(2 * math.pi * hz * time + phase)

    assert model.units_to_expression is not None
    units = torch.zeros(_FRAMES, 52)
    for name, size, hz in (
        ("jawOpen", 0.35, 2.5),
        ("mouthFunnel", 0.5, 1.9),
        ("mouthPucker", 0.5, 1.4),
        ("mouthSmileLeft", 0.4, 0.5),
        ("mouthSmileRight", 0.4, 0.5),
        ("mouthUpperUpLeft", 0.4, 2.1),
        ("mouthUpperUpRight", 0.4, 2.1),
        ("browInnerUp", 0.6, 0.6),
    ):
        units[:, model.unit_names.index(name)] = size * (0.5 + 0.5 * wave(hz))
    pose = torch.stack(
        [size * wave(0.4) for size in (0.12, 0.2, 0.08, 0.1, 0.1, 0.2)],
        dim=1,
    )
    identity = 0.8 * torch.randn(80, generator=generator)
    expression = units @ model.units_to_expression
    points = project(to_camera(model.landmarks(identity, expression), pose))
    points[:, :17] = _outline(model, identity, expression, pose, points[:, :17])
    crop = torch.tensor([0.9, 128.0, 128.0]).expand(_FRAMES, 3)
    landmarks = aligned_to_crop(points, crop)
    noise = noise_px * torch.randn(landmarks.shape, generator=generator)
    return _Talk(identity, expression, pose, landmarks + noise)


def _outline(
    model: FaceModel, identity: Tensor, expression: Tensor, pose: Tensor, near: Tensor
) -> Tensor:
    """Where an image shows the jaw line: the edge of the face's skin in each direction."""
    skin = model.subset(torch.nonzero(model.part("skin"))[:, 0])
    seen = project(to_camera(skin.vertices(identity, expression), pose))
    centre = project(pose[:, None, 3:])
    direction = torch.nn.functional.normalize(near - centre, dim=-1)
    along = torch.einsum("fvc,fjc->fjv", seen - centre, direction)
    length = torch.linalg.vector_norm(seen - centre, dim=-1)[:, None]
    reach = torch.where(along > math.cos(math.radians(4)) * length, along, 0.0).amax(dim=2)
    return centre + reach[..., None] * direction


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return open_head.load()


@pytest.fixture(scope="module")
def talk(model: FaceModel) -> _Talk:
    return _talk(model, seed=1, noise_px=0.7)


@pytest.fixture(scope="module")
def fitted(model: FaceModel, talk: _Talk) -> ClipFit:
    return fit_clip(model, talk.landmarks)


def test_head_rotation_within_one_and_a_half_degrees(model: FaceModel) -> None:
    errors = []
    for seed in (1, 2, 3):
        talk = _talk(model, seed, noise_px=0.7)
        found = rotation(fit_clip(model, talk.landmarks).pose[:, :3])
        relative = found.transpose(1, 2) @ rotation(talk.pose[:, :3])
        cosine = (relative.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
        errors.append(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).mean())
    assert torch.stack(errors).mean() < 1.5


def test_lips_follow(model: FaceModel, talk: _Talk, fitted: ClipFit) -> None:
    lips = model.part("lips")
    truth = model.vertices(talk.identity, talk.expression)[:, lips]
    found = model.vertices(fitted.identity, fitted.expression)[:, lips]
    eyes = model.mean[model.landmarks_68]
    between = torch.linalg.vector_norm(eyes[36] - eyes[45])
    assert torch.linalg.vector_norm(truth - found, dim=-1).mean() / between < 0.03


def test_mouth_coefficients_correlate(talk: _Talk, fitted: ClipFit) -> None:
    correlations = [
        float(torch.corrcoef(torch.stack((talk.expression[:, k], fitted.expression[:, k])))[0, 1])
        for k in range(13)
    ]
    assert correlations[0] > 0.9
    assert sorted(correlations)[6] > 0.7


def test_residual_is_the_noise(fitted: ClipFit) -> None:
    # The mean length of a two-dimensional normal vector is sqrt(pi / 2) standard deviations.
    assert 0.6 < float(fitted.residual_px.mean()) < 1.1 * 0.7 * math.sqrt(math.pi / 2)


def test_the_same_landmarks_give_the_same_bytes(
    model: FaceModel, talk: _Talk, fitted: ClipFit
) -> None:
    again = fit_clip(model, talk.landmarks)
    assert torch.equal(again.expression, fitted.expression)
    assert torch.equal(again.identity, fitted.identity)


def test_lost_landmarks_pull_little(model: FaceModel, talk: _Talk, fitted: ClipFit) -> None:
    landmarks = talk.landmarks.clone()
    landmarks[30, 48:] += 60.0
    sure = torch.ones(_FRAMES, dtype=torch.bool)
    sure[30] = False
    spoiled = fit_clip(model, landmarks, sure)
    turned = (spoiled.pose[:, :3] - fitted.pose[:, :3]).abs().max()
    assert turned < math.radians(3)
    assert spoiled.residual_px[30] > 10
    assert spoiled.residual_px[:28].mean() < 1.5


def test_smoothness_calms_a_still_face(model: FaceModel) -> None:
    still = _talk(model, seed=2, noise_px=0.0).landmarks[:1].expand(_FRAMES, -1, -1)
    noisy = still + 0.7 * torch.randn(still.shape, generator=torch.Generator().manual_seed(0))

    def jitter(smoothness: float) -> float:
        pose = fit_clip(model, noisy, settings=FitSettings(smoothness=smoothness)).pose
        return float(pose.diff(dim=0).abs().mean())

    assert jitter(1.0) < 0.5 * jitter(0.0)


def test_bad_landmarks_are_refused(model: FaceModel) -> None:
    with pytest.raises(ValueError, match=r"\[0, 68, 2\]"):
        fit_clip(model, torch.zeros(0, 68, 2))
    with pytest.raises(ValueError, match="not finite"):
        fit_clip(model, torch.full((3, 68, 2), math.nan))


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips(model: FaceModel, talk: _Talk, frames: int) -> None:
    assert fit_clip(model, talk.landmarks[:frames]).pose.shape == (frames, 6)


def test_windows_cover_every_frame_once() -> None:
    frames = torch.arange(2345)
    kept = [frames[piece][keep] for piece, keep in fit_module._windows(2345, 1000, 25)]
    assert torch.equal(torch.cat(kept), frames)


def _mesh(model: FaceModel, talk: _Talk) -> MeshLandmarks:
    """What a perfect MediaPipe would answer."""
    seen = mediapipe_478(model)
    assert seen.scores is not None
    shape = seen.shape.vertices(talk.identity.double(), talk.expression.double())
    points = torch.zeros(_FRAMES, 478, 2)
    crop = torch.tensor([0.9, 128.0, 128.0]).double().expand(_FRAMES, 3)
    points[:, seen.indices] = aligned_to_crop(
        project(to_camera(shape, talk.pose.double())), crop
    ).float()
    scores = torch.zeros(_FRAMES, 52)
    read = talk.expression.double() @ seen.scores.matrix + seen.scores.bias
    scores[:, seen.scores.columns] = read.float()
    return MeshLandmarks(points, scores, torch.ones(_FRAMES, dtype=torch.bool))


@pytest.mark.parametrize("dense", [False, True])
def test_every_tensor_is_made_on_the_device_of_the_inputs(
    model: FaceModel, talk: _Talk, dense: bool
) -> None:
    # A tensor made without naming its device would be an empty one of the meta device here.
    mesh = _mesh(model, talk) if dense else None
    expected = fit_clip(model, talk.landmarks, mesh=mesh)
    own = replace(model)  # what is kept for the other model is not used for this one
    with torch.device("meta"):
        found = fit_clip(own, talk.landmarks, mesh=mesh)
    for name, value in vars(expected).items():
        assert torch.equal(getattr(found, name), value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dense", [False, True])
def test_gpu_agrees_with_cpu(model: FaceModel, talk: _Talk, dense: bool) -> None:
    moved = {name: value.cuda() for name, value in vars(model).items() if isinstance(value, Tensor)}
    mesh = _mesh(model, talk) if dense else None
    cpu = fit_clip(model, talk.landmarks, mesh=mesh)
    gpu = fit_clip(replace(model, **moved), talk.landmarks.cuda(), mesh=mesh)
    assert gpu.expression.is_cuda
    # The steps end at 2e-3 of an unknown; MediaPipe's Jacobians are in single precision.
    assert torch.allclose(cpu.expression, gpu.expression.cpu(), atol=2e-2)
    assert torch.allclose(cpu.pose, gpu.pose.cpu(), atol=1e-3)
    assert torch.allclose(cpu.residual_px, gpu.residual_px.cpu(), atol=1e-2)


def test_what_is_no_measurement_is_named(model: FaceModel) -> None:
    landmarks = project(model.mean[model.landmarks_68]).expand(3, -1, -1)
    with pytest.raises(ValueError, match=r"detected is \[2\] beside 3 frames"):
        fit_clip(model, landmarks, torch.ones(2, dtype=torch.bool))
    with pytest.raises(ValueError, match="span no face"):
        fit_clip(model, torch.full((3, 68, 2), 128.0))
    whole = {"points": torch.zeros(3, 478, 2), "scores": torch.zeros(3, 52)}
    for name, wrong, message in (
        ("points", torch.zeros(3, 468, 2), r"mesh points are \[3, 468, 2\], expected"),
        ("scores", torch.zeros(3, 40), r"mesh scores are \[3, 40\], expected"),
        ("points", torch.full((3, 478, 2), torch.nan), "mesh points are not finite"),
    ):
        mesh = MeshLandmarks(**(whole | {name: wrong}), found=torch.ones(3, dtype=torch.bool))
        with pytest.raises(ValueError, match=message):
            fit_clip(model, landmarks, None, None, mesh)
