from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.faces.crop import CropBox, crop_box, cut_off, head_extent, rescale, to_crop, to_source
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import SCALING, iterate_frames, scaler, to_rgb


def _face(x: float, y: float, scale: float = 1.0) -> np.ndarray:
    """Rough face with its chin at (x, y): jaw 140 wide, brows 135 above the chin (millimetres)."""
    points = np.zeros((68, 2), np.float32)
    angle = np.linspace(0, np.pi, 17)
    points[:17] = np.stack([-70 * np.cos(angle), -100 + 100 * np.sin(angle)], axis=1)
    points[17:27] = np.stack([np.linspace(-50, 50, 10), np.full(10, -135.0)], axis=1)
    points[27:] = [0, -60]
    return (points * scale + [x, y]).astype(np.float32)


def test_the_head_reaches_as_far_above_the_brows_as_anatomy_says() -> None:
    x0, y0, x1, y1 = head_extent(_face(300, 400))
    assert (x0, x1, y1) == pytest.approx((230, 370, 400), abs=0.5)
    assert 400 - y0 == pytest.approx(230, abs=1)


@given(
    st.integers(2, 60),
    st.integers(0, 200),
    st.integers(0, 200),
    st.floats(0.2, 3.0),
    st.floats(0.0, 0.5),
)
def test_the_square_is_even_inside_the_picture_and_holds_the_head_if_it_can(
    frames: int, x: int, y: int, scale: float, margin: float
) -> None:
    width, height = 641, 479
    path = np.linspace(0, 1, frames)[:, None]
    faces = np.stack([_face(200 + x * p[0], 200 + y * p[0], scale) for p in path])
    box = crop_box(faces, width, height, margin)
    assert box.x % 2 == box.y % 2 == box.side % 2 == 0
    assert 0 <= box.x <= width - box.side
    assert 0 <= box.y <= height - box.side
    extent = head_extent(faces)
    low, high = extent[:, :2].min(axis=0), extent[:, 2:].max(axis=0)
    if (low >= 0).all() and (high <= (width, height)).all() and (high - low).max() < box.side:
        assert box.x <= low[0] + 2
        assert box.y <= low[1] + 2
        assert box.x + box.side >= high[0] - 2
        assert box.y + box.side >= high[1] - 2


@given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 300), st.integers(64, 512))
def test_the_transform_maps_edges_to_edges_and_back(x: int, y: int, half: int, size: int) -> None:
    box = CropBox(2 * x, 2 * y, 2 * half)
    transform = box.transform(size)
    edges = np.array(
        [[box.x - 0.5, box.y - 0.5], [box.x + box.side - 0.5, box.y + box.side - 0.5]], np.float32
    )
    mapped = to_crop(edges, transform)
    assert mapped == pytest.approx(np.array([[-0.5, -0.5], [size - 0.5, size - 0.5]]), abs=2e-3)
    assert to_source(mapped, transform) == pytest.approx(edges, abs=2e-3)


def test_the_transform_agrees_with_the_pixels_that_the_scaler_makes() -> None:
    y, x = np.mgrid[:300, :400].astype(np.float64)
    spots = np.array([[150.0, 120.0], [211.0, 97.0], [180.0, 200.0]])
    picture = sum(np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / 50) for sx, sy in spots)
    image = np.repeat((picture * 220).astype(np.uint8)[..., None], 3, axis=2)
    frame = next(iterate_frames(encode_mp4([image], crf=1)))
    box = CropBox(104, 62, 180)
    for size in (256, 90):
        filters = f"crop=180:180:104:62,scale={size}:{size}:flags={SCALING}"
        crop = to_rgb(scaler(frame, filters)(frame))[..., 1].astype(np.float64)
        v, u = np.mgrid[:size, :size].astype(np.float64)
        for spot in to_crop(spots.astype(np.float32), box.transform(size)):
            near = ((u - spot[0]) ** 2 + (v - spot[1]) ** 2 < (12 * size / 180) ** 2) * crop
            near = np.where(near > 20, near, 0)
            centre = np.array([(near * u).sum(), (near * v).sum()]) / near.sum()
            assert centre == pytest.approx(spot, abs=0.06)


def test_rescaling_keeps_the_picture_edges() -> None:
    corners = np.array([[-0.5, -0.5], [319.5, 179.5]], np.float32)
    assert rescale(corners, (320, 180), (1920, 1080)) == pytest.approx(
        np.array([[-0.5, -0.5], [1919.5, 1079.5]])
    )


def test_a_face_is_cut_where_more_than_ears_and_cheeks_lie_outside() -> None:
    angles = np.linspace(np.pi, 2 * np.pi, 17)
    face = np.zeros((68, 2), np.float32)
    face[:17] = np.stack([100 + 50 * np.cos(angles), 100 - 60 * np.sin(angles)], 1)
    face[17:] = np.random.default_rng(0).uniform((75, 70), (125, 140), (51, 2))
    inner = face[[8, *range(17, 68)]]
    lowest, highest = inner.min(axis=0), inner.max(axis=0)
    slack = 0.05 * 100  # the jaw is 100 pixels wide
    whole = np.stack([face, face + np.array([200, 200])]).astype(np.float32)
    assert cut_off(whole, 360, 370).tolist() == [False, False]
    assert cut_off(whole, 320, 370).tolist() == [False, True]
    cheeks = (face - [60, 0])[None].astype(np.float32)
    assert cheeks[..., 0].min() < -5
    assert not cut_off(cheeks, 300, 300).any()
    for shift, cut in ((slack - 0.1, False), (slack + 0.1, True)):
        left, up = (-lowest[0] - shift, 0), (0, -lowest[1] - shift)
        right, down = (299 - highest[0] + shift, 0), (0, 299 - highest[1] + shift)
        for move in (left, up, right, down):
            assert cut_off((face + move)[None].astype(np.float32), 300, 300).tolist() == [cut]
