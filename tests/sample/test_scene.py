from dataclasses import replace

import dlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from dimitra.assets import asset_path
from dimitra.morphable import open_head
from dimitra.morphable.camera import rotation
from dimitra.sample.appearance import make_look, wall_image
from dimitra.sample.scene import (
    DISTANCE,
    PIVOT,
    ClipCamera,
    Light,
    Scene,
    frames,
    turn_about_neck,
)

CAMERA = ClipCamera(focal_px=950.0, centre_px=(158.0, 152.0), size=320)


def test_the_neck_stays_where_it_is():
    pose = np.array([[0.2, -0.3, 0.1, 0.0, 0.0, 0.0]], np.float32)
    turned = turn_about_neck(pose)
    matrix = rotation(torch.from_numpy(turned[0, :3].astype(np.float64))).numpy()
    np.testing.assert_allclose(PIVOT @ matrix.T + turned[0, 3:], PIVOT, atol=1e-6)
    np.testing.assert_array_equal(pose[:, 3:], 0)


@pytest.mark.parametrize("seed", [3, 8])
def test_drawn_face_lies_where_the_truth_says(seed):
    """dlib, which knows nothing of the model, finds the landmarks where the camera puts them."""
    model = open_head.load()
    generator = np.random.default_rng(seed)
    look = make_look(model, "fm"[seed % 2], generator)
    wall = wall_image(look, 2 * CAMERA.size, generator)
    activations = torch.zeros(1, 52)
    activations[0, model.unit_names.index("jawOpen")] = 0.5
    assert model.units_to_expression is not None
    expression = (activations @ model.units_to_expression).numpy()
    pose = turn_about_neck(np.array([[0.05, 0.15, -0.05, 0.02, 0.0, 0.0]], np.float32))
    image = next(frames(model, look, "fm"[seed % 2], expression, pose, CAMERA, wall))
    assert image.shape == (320, 320, 3)
    boxes = dlib.get_frontal_face_detector()(image, 0)
    assert len(boxes) == 1
    shape = dlib.shape_predictor(str(asset_path("dlib_68")))(image, boxes[0])
    found = np.array([(point.x, point.y) for point in shape.parts()], float)
    points = model.landmarks(torch.from_numpy(look.identity), torch.from_numpy(expression[0]))
    matrix = rotation(torch.from_numpy(pose[0, :3])).numpy()
    posed = points.numpy() @ matrix.T + pose[0, 3:]
    depth = DISTANCE - posed[:, 2]
    expected = np.stack(
        [
            CAMERA.focal_px * posed[:, 0] / depth + CAMERA.centre_px[0],
            CAMERA.centre_px[1] - CAMERA.focal_px * posed[:, 1] / depth,
        ],
        1,
    )
    between_eyes = np.linalg.norm(expected[36] - expected[45])
    inner = np.linalg.norm(found[17:] - expected[17:], axis=1) / between_eyes
    assert inner.mean() < 0.06
    gap = (found[66, 1] - found[62, 1]) / between_eyes
    assert gap > 0.1


def test_one_scene_serves_any_camera_and_light():
    model = open_head.load()
    generator = np.random.default_rng(1)
    look = make_look(model, "f", generator)
    scene = Scene(model, look, "f")
    expression = generator.normal(0, 0.5, 64).astype(np.float32)
    pose = turn_about_neck(np.array([[0.0, 0.1, 0.0, 0.0, 0.0, 0.0]], np.float32))[0]
    small = ClipCamera(CAMERA.focal_px / 2.5, (63.2, 60.8), 128)
    wall = wall_image(look, 256, generator)
    image = scene.draw(expression, pose, small, wall)
    assert image.shape == (128, 128, 3)
    large = scene.draw(expression, pose, CAMERA, wall_image(look, 640, generator))
    assert large.shape == (320, 320, 3)
    np.testing.assert_array_equal(
        next(frames(model, look, "f", expression[None], pose[None], small, wall)), image
    )
    left = Light(np.array([-0.8, 0.0, 0.6], np.float32), 0.2, np.ones(3, np.float32))
    right = Light(np.array([0.8, 0.0, 0.6], np.float32), 0.2, np.ones(3, np.float32))
    a, b = (scene.draw(expression, pose, small, wall, None, one) for one in (left, right))
    face = np.s_[40:90, 30:95]
    brightness = np.stack([a[face], b[face]]).astype(float).mean((1, 3))
    assert brightness[0, :25].mean() > brightness[1, :25].mean()
    assert brightness[0, -25:].mean() < brightness[1, -25:].mean()
    vertices = model.vertices(torch.from_numpy(look.identity), torch.from_numpy(expression))
    np.testing.assert_allclose(scene.head(expression), vertices.numpy(), atol=1e-5)


def test_a_wall_of_the_wrong_size_is_refused():
    model = open_head.load()
    look = make_look(model, "m", np.random.default_rng(1))
    with pytest.raises(ValueError, match="wall"):
        Scene(model, look, "m").draw(
            np.zeros(64, np.float32), np.zeros(6, np.float32), CAMERA, np.zeros((9, 9, 3))
        )


@pytest.mark.parametrize("seed", [3, 8, 9])
def test_neither_neck_nor_collar_stands_in_a_wide_open_mouth(seed):
    """Painted green, they would show there."""
    model = open_head.load()
    generator = np.random.default_rng(seed)
    look = replace(make_look(model, "fm"[seed % 2], generator), cloth_colour=(0.0, 1.0, 0.0))
    scene = Scene(model, look, "fm"[seed % 2])
    body = len(scene.surfaces.albedo) - len(scene.surfaces.body)
    scene.surfaces.albedo[body:] = (0.0, 1.4, 0.0)
    activations = torch.zeros(52)
    activations[model.unit_names.index("jawOpen")] = 1.0
    assert model.units_to_expression is not None
    expression = (activations @ model.units_to_expression).numpy()
    wall = np.zeros((640, 640, 3), np.float32)
    for pitch, yaw in ((0.0, 0.0), (-0.24, 0.0), (-0.2, 0.24)):
        pose = turn_about_neck(np.array([[pitch, yaw, 0.0, 0.0, 0.0, 0.0]], np.float32))[0]
        image = scene.draw(expression, pose, CAMERA, wall).astype(int)
        lips = scene.project(expression, pose, CAMERA)[model.landmarks_68[60:68].numpy(), :2]
        canvas = Image.new("1", (320, 320))
        ImageDraw.Draw(canvas).polygon([tuple(point) for point in lips], fill=1)
        mouth = image[np.asarray(canvas)]
        assert len(mouth) > 300
        assert (mouth[:, 1] < mouth[:, 0] + 40).all()
