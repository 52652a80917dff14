import numpy as np
import pytest
import torch

from dimitra.assets import asset_path
from dimitra.faces.landmarks import Dlib68
from dimitra.faces.track import smooth_boxes
from dimitra.morphable import open_head
from dimitra.morphable.camera import rotation
from dimitra.sample.heads import draw_heads

SIZE = 144


@pytest.fixture(scope="module")
def model():
    return open_head.load()


@pytest.fixture(scope="module")
def heads(model):
    return draw_heads(model, 7, 2, 16, SIZE)


def _places(model, heads):
    """The labels' landmarks in the picture, [N, 68, 2]."""
    points = model.landmarks(
        torch.from_numpy(heads.identity), torch.from_numpy(heads.expression)
    ) @ rotation(torch.from_numpy(heads.angles)).transpose(1, 2)
    near = (torch.from_numpy(heads.scale) * 10)[:, None] / (10 - points[..., 2])
    x = torch.from_numpy(heads.origin[:, :1]) + near * points[..., 0]
    y = torch.from_numpy(heads.origin[:, 1:]) - near * points[..., 1]
    return torch.stack((x, y), dim=-1).numpy()


def test_labels_say_where_a_landmark_detector_finds_the_face(model, heads):
    found = Dlib68(asset_path("dlib_68"))
    misses = []
    for image, points in zip(heads.images, _places(model, heads), strict=True):
        large = image.repeat(2, 0).repeat(2, 1)
        wanted = (points + 0.5) * 2 - 0.5
        box = smooth_boxes(wanted[None].astype(np.float32))[0]
        seen = found.measure(np.ascontiguousarray(large), box)
        side = np.linalg.norm(wanted[36] - wanted[45])
        misses.append(np.linalg.norm(seen[17:] - wanted[17:], axis=1).mean() / side)
    assert np.median(misses) < 0.08  # of the distance of the outer eye corners


def test_the_same_numbers_give_the_same_heads(model, heads):
    again = draw_heads(model, 7, 2, 16, SIZE)
    for name in ("images", "identity", "expression", "angles", "origin", "scale"):
        np.testing.assert_array_equal(getattr(again, name), getattr(heads, name))
    other = draw_heads(model, 7, 3, 16, SIZE)
    assert not np.array_equal(other.images, heads.images)


def test_skulls_and_faces_differ_within_a_look(heads):
    assert not np.array_equal(heads.identity[0], heads.identity[8])
    np.testing.assert_array_equal(heads.identity[0], heads.identity[7])
    assert (np.abs(np.diff(heads.expression, axis=0)).max(1) > 0.05).all()
