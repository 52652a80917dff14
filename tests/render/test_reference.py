import numpy as np
import pytest
import torch
from skimage.data import astronaut

from dimitra.morphable import camera
from dimitra.render.reference import resize_reference

PHOTO = np.ascontiguousarray(astronaut()[0:256, 96:352])
CROP = np.array([0.95, 128.0, 130.0], np.float32)


def test_resizing_keeps_the_head_over_its_photo() -> None:
    small, scaled = resize_reference(PHOTO, CROP, 128)
    assert small.shape == (128, 128, 3)
    points = torch.tensor([[60.0, 90.0], [112.0, 112.0]])
    full = camera.aligned_to_crop(points, torch.from_numpy(CROP), 256)
    half = camera.aligned_to_crop(points, torch.from_numpy(scaled), 128)
    np.testing.assert_allclose(half.numpy(), full.numpy() / 2, atol=1e-4)
    means = PHOTO.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    assert np.abs(small.astype(float) - means).mean() < 4.0


def test_the_size_it_has_changes_nothing_and_oblong_photos_are_refused() -> None:
    same, crop = resize_reference(PHOTO, CROP, 256)
    assert same is PHOTO
    assert crop is CROP
    with pytest.raises(ValueError, match="square"):
        resize_reference(PHOTO[:100], CROP, 128)
