"""Five-point alignment against a known scaled orthographic camera."""

from __future__ import annotations

import torch

from dimitra.morphable import open_head
from dimitra.morphable.alignment import align, align_clip, five_points
from dimitra.morphable.camera import crop_to_aligned


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
