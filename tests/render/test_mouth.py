"""Mouth and lids on drawn pictures and on a photo with an open smile."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.data import astronaut

from dimitra.morphable import open_head
from dimitra.morphable.fit import FitSettings, fit_clip
from dimitra.morphable.model import FaceModel
from dimitra.render.composite import INTERIOR
from dimitra.render.head import place, prepare_head
from dimitra.render.mesh import MeshRenderer
from dimitra.render.mouth import (
    NO_TOOTH,
    light_inside,
    open_mouth,
    tooth_numbers,
    without_teeth,
)
from dimitra.render.rasterizer import magnify, rasterize
from dimitra.sample.motion import frame_times
from dimitra.sample.phones import Span
from dimitra.sample.visemes import closure, mouth_curves
from tests.render.test_mesh import SIZE, Landmarks, units

Fitted = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return open_head.load()


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    return np.ascontiguousarray(astronaut()[0:SIZE, 96 : 96 + SIZE])


@pytest.fixture(scope="module")
def fitted(model: FaceModel, photo: NDArray[np.uint8]) -> Fitted:
    points = torch.tensor(Landmarks()(photo)[None], dtype=torch.float32)
    fit = fit_clip(model, points, None, FitSettings())
    reference = np.concatenate([fit.expression[0], fit.pose[0]]).astype(np.float32)
    return np.asarray(fit.identity, np.float32), np.asarray(fit.crop, np.float32), reference


def drawn(
    model: FaceModel, photo: NDArray[np.uint8], fitted: Fitted, motion: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """A frame and the model's landmarks in it."""
    identity, crop, reference = fitted
    (frame,) = MeshRenderer(model).render(photo, identity, crop, reference, motion[None])
    head = prepare_head(model)
    placed = place(head, identity, motion[None], crop, SIZE)
    return frame.astype(np.float64), placed.projected[0, head.landmarks, :2]


def neutral(fitted: Fitted) -> NDArray[np.float32]:
    motion = fitted[2].copy()
    motion[:64] = 0.0
    return motion


def tooth_coloured(pixels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Bright, and no redder than enamel."""
    return (pixels.mean(axis=-1) > 170) & (pixels[..., 0] - pixels[..., 1] < 25)


def between_lips(frame: NDArray[np.float64], points: NDArray[np.float32]) -> NDArray[np.float64]:
    x0, x1 = np.rint(points[[61, 63], 0]).astype(int)
    y0, y1 = np.rint([points[62, 1] - 1, points[66, 1] + 2]).astype(int)
    return frame[y0:y1, x0 : x1 + 1]


def test_closed_lips_show_no_teeth_of_a_photo_that_smiles(model, photo, fitted) -> None:
    smile, points = drawn(model, photo, fitted, fitted[2])
    assert tooth_coloured(between_lips(smile, points)).mean() > 0.3
    for opening in (0.0, 0.03):
        motion = neutral(fitted)
        motion[:64] += units(model, jawOpen=opening)
        frame, points = drawn(model, photo, fitted, motion)
        assert not tooth_coloured(between_lips(frame, points)).any()


def test_an_open_mouth_has_upper_teeth_above_a_dark_red_inside(model, photo, fitted) -> None:
    motion = neutral(fitted)
    motion[:64] += units(model, jawOpen=0.5)
    frame, points = drawn(model, photo, fitted, motion)
    x = np.rint(points[[62, 66], 0].mean()).astype(int)
    top, bottom = points[62, 1], points[66, 1]
    column = frame[:, x - 2 : x + 3].mean(axis=1)
    rows = [int(top + share * (bottom - top)) for share in (0.0, 0.3, 0.45, 0.75)]
    teeth, tongue = column[rows[0] : rows[1]], column[rows[2] : rows[3]]
    assert teeth.mean(axis=1).max() > tongue.mean(axis=1).max() + 30
    assert (tongue[:, 0] > 1.3 * tongue[:, 1]).all()


def test_closed_lids_cover_the_iris_and_end_in_lashes(model, photo, fitted) -> None:
    motion = fitted[2].copy()
    motion[:64] += units(model, eyeBlinkLeft=0.9, eyeBlinkRight=0.9)
    (opened, _), (shut, points) = (drawn(model, photo, fitted, m) for m in (fitted[2], motion))
    for upper in ((37, 38), (43, 44)):
        x, y = np.rint(points[list(upper)].mean(axis=0)).astype(int)
        lid, line = shut[y - 5 : y - 2, x - 3 : x + 4], shut[y - 2 : y + 4, x - 3 : x + 4]
        assert lid.mean(axis=2).min() > 90
        assert (lid[..., 0] > lid[..., 2]).all()
        assert line.mean(axis=(1, 2)).min() < 0.8 * lid.mean()
        assert np.abs(shut - opened)[y - 5 : y + 3, x - 3 : x + 4].max() > 60


def test_light_fades_towards_both_lips_and_in_narrow_gaps() -> None:
    def lit(height: int) -> NDArray[np.float32]:
        box = [[2.0, 10.0, 1.0], [30.0, 10.0, 1.0], [30.0, 10.0 + height, 1.0]]
        corners = np.array([*box, [2.0, 10.0 + height, 1.0]])
        quad = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
        raster = rasterize(corners, quad, 64, 64)
        light = np.zeros((64, 64), np.float32)
        number = np.full(4, NO_TOOTH, np.float32)
        light_inside(raster, quad, np.ones(2, bool), number, corners[:, :2], 200.0, light)
        assert (light[~raster.covered] == 1.0).all()
        return light[raster.covered[:, 16], 16]

    wide, narrow = lit(40), lit(3)
    middle = len(wide) // 2
    assert wide[0] < 0.7
    assert wide[middle] > 0.9
    assert wide[-1] < 0.9 * wide[middle]
    assert (np.diff(wide[:middle]) > 0).all()
    assert narrow.max() < 0.25
    through = 1 - np.exp(-3 / (0.03 * 200))  # by hand, the middle of three samples
    by_hand = through * (1 - 0.5 * np.exp(-0.0075 / 0.016)) * (1 - 0.35 * np.exp(-0.0075 / 0.015))
    assert narrow[1] == pytest.approx(by_hand, rel=1e-5)


def test_teeth_are_counted_along_a_row_of_known_length() -> None:
    turn = np.linspace(-np.pi / 2, np.pi / 2, 721)
    row = 0.3 * np.stack([np.sin(turn), 0 * turn, np.cos(turn)], axis=1)
    number = tooth_numbers(row, (10.0, 10.0, 10.0, 10.0, 10.0))
    expected = np.abs(turn) * 0.3 / 0.1
    np.testing.assert_allclose(number, np.minimum(expected, 5), atol=0.25)
    np.testing.assert_allclose(number, number[::-1], atol=1e-12)


def test_lips_go_on_where_the_picture_shows_teeth() -> None:
    picture = np.full((64, 64, 3), (220.0, 180.0, 160.0), np.float32)
    picture[24:40, 16:48] = (180.0, 90.0, 90.0)
    picture[29:35, 16:48] = (230.0, 225.0, 215.0)
    lips, opening = np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32)
    opening[30:34, 16:48] = 1.0  # the fit is a pixel off: two rows of teeth lie on lips
    lips[24:40, 16:48] = 1.0 - opening[24:40, 16:48]
    clean = without_teeth(picture, picture, opening, lips)
    np.testing.assert_allclose(clean[29:35, 20:44], np.full((6, 24, 3), (180, 90, 90)), atol=2.0)
    np.testing.assert_array_equal(clean[:20], picture[:20])
    shut = without_teeth(picture, picture, np.zeros_like(opening), lips)
    np.testing.assert_array_equal(shut, picture)


def shown(
    model: FaceModel, fitted: Fitted, motion: NDArray[np.float32], scale: int = 4
) -> NDArray[np.float64]:
    """Height of the mouth's inside that is seen in each column of the picture, pixels.

    Triangles of teeth, tongue and cavity are counted in a raster of their own.
    """
    head = prepare_head(model)
    identity, crop, _ = fitted
    placed = place(head, identity, motion[None], crop, SIZE)
    corners = magnify(placed.projected[0], scale)
    raster = rasterize(corners, head.triangles, scale * SIZE, scale * SIZE, cull=-1)
    inside = raster.covered & (head.layer == INTERIOR)[np.maximum(raster.face, 0)]
    return inside.sum(axis=0) / scale


def spoken(
    model: FaceModel, fitted: Fitted, curves: dict[str, NDArray[np.float64]], frame: int
) -> NDArray[np.float32]:
    """Motion of a mouth alone; a curve without side holds for both sides."""
    sides = {name: name.removesuffix("Left").removesuffix("Right") for name in model.unit_names}
    shape = {name: curves[base][frame] for name, base in sides.items() if base in curves}
    motion = fitted[2].copy()
    motion[:64] = units(model, **shape)
    return motion


def test_lips_meet_at_every_p_b_m_of_known_motion(model, photo, fitted) -> None:
    """Coefficients as the sample corpus makes them, on the photo of another person.

    Met lips let less than a pixel of the inside be seen, five square pixels in all, at the mouth's
    corners, and show nothing pale: no gap and no white line.
    """
    labels = ["SIL", "M", "AA", "P", "IY", "B", "AH", "SIL"]
    times = np.linspace(0.0, 1.6, len(labels) + 1)
    phones = [Span(*one) for one in zip(labels, times[:-1], times[1:], strict=True)]
    seconds = frame_times(times[-1])
    curves = mouth_curves(phones, seconds, np.full(len(seconds), 0.8))
    shut, at = closure(phones, seconds), {}
    for phone, start, end in zip(labels, times[:-1], times[1:], strict=True):
        held = np.flatnonzero((seconds >= start) & (seconds < end))
        at[phone] = int(held[np.argmax(shut[held])] if phone in "PMB" else held[len(held) // 2])
    for phone, frame in at.items():
        motion = spoken(model, fitted, curves, frame)
        seen = shown(model, fitted, motion)
        if phone not in "PBM":
            assert phone == "SIL" or seen.max() > 3.0
            continue
        assert seen.max() < 1.0
        assert seen.mean() * SIZE < 5.0
        frame_pixels, points = drawn(model, photo, fitted, motion)
        assert not tooth_coloured(between_lips(frame_pixels, points)).any()


def test_a_wide_mouth_shows_teeth_the_dark_the_tongue_and_teeth(model, photo, fitted) -> None:
    motion = neutral(fitted)
    motion[:64] += units(model, jawOpen=0.9)
    frame, points = drawn(model, photo, fitted, motion)
    x = np.rint(points[[62, 66], 0].mean()).astype(int)
    top, bottom = np.rint(points[[62, 66], 1]).astype(int)
    column = frame[top - 1 : bottom + 2, x - 2 : x + 3].mean(axis=1)
    grey = column.mean(axis=1)
    middle = len(grey) // 2
    dark = int(grey[:middle].argmin())
    assert tooth_coloured(column[:dark]).sum() >= 3
    assert grey[dark] < 45
    back, tip = grey[dark:middle].mean(), grey[middle:-5].max()
    assert tip > 1.5 * back
    assert (column[dark:middle, 0] > 1.5 * column[dark:middle, 1]).all()


def test_teeth_and_tongue_move_with_the_opening_and_not_without() -> None:
    rest = torch.zeros(3, 6, 3)
    rest[:, :, 1] = torch.tensor([-0.4, -0.4, -0.3, -0.4, -0.2, 0.1])
    rest[:, :, 2] = torch.tensor([0.2, 0.2, -0.3, 0.1, -0.1, 0.0])
    rest[2, 3, 2] = 0.3  # the tip comes out in the last head
    upper, lower, tongue = (np.isin(np.arange(6), own) * 1.0 for own in (0, 1, (2, 3, 4)))
    moved = rest.clone()
    open_mouth(moved, torch.tensor([0.03, 0.3, 0.3]), upper, lower, tongue)
    torch.testing.assert_close(moved[0], rest[0])
    change = (moved - rest)[..., 1]
    assert (moved - rest)[..., [0, 2]].abs().max() == 0
    torch.testing.assert_close(change[1, :2], torch.tensor([-0.03, 0.03]))
    lowered = -0.62 * torch.tensor([0.1, 0.0, 0.2])  # by hand: heights above the tip
    torch.testing.assert_close(change[1, 2:], torch.cat([lowered, torch.zeros(1)]))
    torch.testing.assert_close(change[2, 2:], torch.zeros(4))
