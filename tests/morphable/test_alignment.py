"""Five-point alignment against a known scaled orthographic camera."""

from __future__ import annotations

import torch

from dimitra.faces.crop import CropBox
from dimitra.morphable import open_head
from dimitra.morphable.alignment import align, align_clip, displacement_px, five_points, in_crop
from dimitra.morphable.camera import crop_to_aligned
from dimitra.morphable.deng_coefficients import rescale_crop


def _view(scale: float, x: float, y_up: float) -> tuple[torch.Tensor, torch.Tensor]:
    model = open_head.load()
    points = model.mean[model.landmarks_68].double()
    image = torch.stack((scale * points[:, 0] + x, 255 - (scale * points[:, 1] + y_up)), dim=-1)
    return image, five_points(points)


def test_recovers_scale_and_place() -> None:
    image, standard = _view(85.0, 120.0, 140.0)
    assert torch.allclose(
        align(image, standard), torch.tensor([102 / 85, 120.0, 140.0], dtype=torch.float64)
    )


def test_an_aligned_face_has_102_pixels_a_decimetre() -> None:
    image, standard = _view(60.0, 100.0, 130.0)
    aligned = five_points(crop_to_aligned(image, align(image, standard)))
    assert torch.allclose(aligned[1, 0] - aligned[0, 0], 102 * (standard[1, 0] - standard[0, 0]))


def test_one_lost_frame_does_not_move_the_clip() -> None:
    image, standard = _view(85.0, 120.0, 140.0)
    clip = image.expand(9, -1, -1).clone()
    clip[4] = torch.rand(68, 2, generator=torch.Generator().manual_seed(0)).double() * 256
    assert torch.allclose(align_clip(clip, standard), align(image, standard))


def test_a_picture_that_is_resized_as_a_whole() -> None:
    crop = torch.tensor([[0.98, 128.7, 125.8], [1.05, 130.0, 121.0]], dtype=torch.float64)
    whole = torch.from_numpy(CropBox(0, 0, 224).transform(256))
    found = in_crop(crop, (224, 224), (224, 224), whole)
    assert torch.allclose(found, rescale_crop(crop, 224, 256), atol=1e-4)


def test_the_aligned_frame_shows_the_same_in_a_square_cut_out() -> None:
    """Edge for edge: a point of the picture goes to the same place of the aligned frame."""
    crop = torch.tensor([[0.81, 300.4, 260.2]], dtype=torch.float64)
    width, height = 640, 480
    box = CropBox(180, 90, 320)
    found = in_crop(crop, (width, height), (width, height), torch.from_numpy(box.transform(256)))
    edges = torch.tensor([[[200.0, 100.0], [411.5, 333.25]]], dtype=torch.float64)
    inside = (edges - torch.tensor([box.x, box.y])) * (256 / box.side)
    assert torch.allclose(
        crop_to_aligned(inside, found), crop_to_aligned(edges, crop, height), atol=1e-3
    )
    # By hand: k = 0.8, s / k, k (tx - x), 256 - k (H - ty - y).
    by_hand = [0.81 / 0.8, 0.8 * (300.4 - 180), 256 - 0.8 * (480 - 260.2 - 90)]
    assert torch.allclose(found[0], torch.tensor(by_hand, dtype=torch.float64), atol=1e-4)


def test_coefficients_of_a_smaller_copy_of_the_video() -> None:
    box = torch.from_numpy(CropBox(180, 90, 320).transform(256))
    large = torch.tensor([0.81, 300.4, 260.2], dtype=torch.float64)
    small = torch.tensor([2 * 0.81, 150.2, 130.1], dtype=torch.float64)
    assert torch.allclose(
        in_crop(small, (320, 240), (640, 480), box), in_crop(large, (640, 480), (640, 480), box)
    )


def test_displacement_counts_place_and_scale() -> None:
    one = torch.tensor([1.0, 128.0, 128.0])
    assert float(displacement_px(one, one)) == 0.0
    moved = torch.tensor([1.0, 131.0, 124.0])
    assert torch.allclose(displacement_px(one, moved), torch.tensor(5.0))
    larger = torch.tensor([0.5, 128.0, 128.0])  # corners at 204 px instead of 102 from the middle
    assert torch.allclose(displacement_px(one, larger), torch.tensor(102.0 * 2**0.5))
