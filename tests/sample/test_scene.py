import dlib
import numpy as np
import pytest
import torch

from dimitra.assets import asset_path
from dimitra.morphable import open_head
from dimitra.morphable.camera import rotation
from dimitra.sample.appearance import make_look, wall_image
from dimitra.sample.scene import DISTANCE, PIVOT, ClipCamera, frames, turn_about_neck

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
