import numpy as np

from dimitra.morphable import open_head
from dimitra.sample.teeth import tooth_coordinates


def test_teeth_are_counted_from_the_middle_on_both_sides():
    model = open_head.load()
    triangles = model.triangles.numpy().astype(np.int64)
    faces, corners = tooth_coordinates(model, triangles)
    teeth = model.part("upper_teeth", "lower_teeth").numpy()
    assert teeth[triangles[faces]].all()
    assert len(faces) == teeth[triangles].all(1).sum()
    x = model.mean.numpy()[triangles[faces], 0]
    count = corners[..., 0]
    assert (count[x > 0.01] > 0).all()
    assert (count[x < -0.01] < 0).all()
    assert 6 < count.max() <= 7  # from the middle to the second molar
    front = (np.abs(x) < 0.1).all(1) & (corners[..., 1] >= 0).all(1)
    assert front.any()
    assert np.abs(count[front]).max() < 2.1  # incisors


def test_height_runs_from_the_edge_to_the_root():
    model = open_head.load()
    triangles = model.triangles.numpy().astype(np.int64)
    faces, corners = tooth_coordinates(model, triangles)
    mean = model.mean.numpy()
    for name, direction in (("upper_teeth", 1), ("lower_teeth", -1)):
        row = model.part(name).numpy()[triangles[faces]].all(1)
        outer = row & (corners[..., 1] >= 0).all(1)
        front = outer & (np.abs(mean[triangles[faces], 0]) < 0.1).all(1)
        height, y = corners[front, :, 1].ravel(), mean[triangles[faces[front]], 1].ravel()
        assert np.corrcoef(height, direction * y)[0, 1] > 0.98
        assert (corners[row & ~outer, :, 1] == -1).all()
