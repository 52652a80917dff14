"""Round trips of the 257 coefficients, the 70 motion values, descriptors and windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dimitra.morphable import deng_coefficients as dc
from dimitra.morphable.camera import crop_to_aligned
from dimitra.morphable.coefficients import slices

_batches = st.lists(st.integers(1, 4), min_size=0, max_size=2)
_seeds = st.integers(0, 2**31 - 1)


def _random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_layout_covers_the_257_values_once_in_dengs_order() -> None:
    columns = np.concatenate([np.arange(257)[part.columns] for part in dc.LAYOUT.values()])
    assert np.array_equal(columns, np.arange(257))
    bounds = {name: (part.columns.start, part.columns.stop) for name, part in dc.LAYOUT.items()}
    assert bounds == {
        "identity": (0, 80),
        "expression": (80, 144),
        "texture": (144, 224),
        "angles": (224, 227),
        "illumination": (227, 254),
        "translation": (254, 257),
    }
    assert {name: part.columns for name, part in dc.LAYOUT.items()} == slices()
    assert all(part.unit for part in dc.LAYOUT.values())


@settings(deadline=None)
@given(batch=_batches, seed=_seeds)
def test_vector_round_trip(batch: list[int], seed: int) -> None:
    vector = _random(*batch, 257, seed=seed)
    face = dc.from_vector(vector)
    assert torch.equal(dc.to_vector(face), vector)
    assert face.batch == torch.Size(batch)
    assert torch.equal(face.pose, vector[..., [224, 225, 226, 254, 255, 256]])


@settings(deadline=None)
@given(batch=_batches, seed=_seeds)
def test_motion_round_trip(batch: list[int], seed: int) -> None:
    face = dc.from_vector(_random(*batch, 257, seed=seed))
    motion = _random(*batch, 70, seed=seed + 1)
    moved = dc.with_motion(face, motion)
    assert torch.equal(dc.to_motion(moved), motion)
    back = dc.with_motion(moved, dc.to_motion(face))
    assert torch.equal(dc.to_vector(back), dc.to_vector(face))


@settings(deadline=None)
@given(frames=st.integers(1, 60), radius=st.integers(0, 15), seed=_seeds)
def test_windows_round_trip_and_repeat_the_ends(frames: int, radius: int, seed: int) -> None:
    values = _random(frames, 73, seed=seed)
    stacked = dc.windows(values, radius)
    padded = np.pad(values.numpy(), ((radius, radius), (0, 0)), mode="edge")
    expected = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=0)
    assert np.array_equal(stacked.numpy(), expected)
    assert torch.equal(dc.window_centres(stacked), values)


@settings(deadline=None)
@given(frames=st.integers(1, 40), seed=_seeds)
def test_descriptor_round_trip(frames: int, seed: int) -> None:
    motion, crop = _random(frames, 70, seed=seed), _random(3, seed=seed)
    values = dc.descriptors(motion, crop)
    assert values.shape == (frames, 73)
    assert dc.windows(values).shape == (frames, 73, 27)
    found_motion, found_crop = dc.split_descriptors(values)
    assert torch.equal(found_motion, motion)
    assert torch.equal(found_crop, crop.expand(frames, 3))


@settings(deadline=None)
@given(
    size=st.integers(64, 1024),
    place=st.tuples(st.floats(0.5, 2), st.floats(50, 200), st.floats(50, 200)),
)
def test_a_resized_picture_has_the_same_aligned_frame(
    size: int, place: tuple[float, float, float]
) -> None:
    crop = torch.tensor(place, dtype=torch.float64)
    points = 256 * torch.rand(5, 2, generator=torch.Generator().manual_seed(0)).double()
    resized = dc.rescale_crop(crop, 256, size)
    assert torch.allclose(
        crop_to_aligned(points, crop, 256),
        crop_to_aligned(points * size / 256, resized, size),
    )
    assert torch.allclose(dc.rescale_crop(resized, size, 256), crop)


def test_one_identity_serves_a_clip() -> None:
    face = dc.FaceCoefficients(
        identity=torch.ones(80),
        expression=torch.zeros(5, 64),
        angles=torch.zeros(5, 3),
        translation=torch.zeros(5, 3),
        texture=torch.full((80,), 2.0),
        illumination=torch.zeros(27),
    )
    vector = dc.to_vector(face)
    assert vector.shape == (5, 257)
    assert torch.equal(vector[:, :80], torch.ones(5, 80))
    assert torch.equal(vector[:, 144:224], torch.full((5, 80), 2.0))
    assert face.to(torch.float64).expression.dtype == torch.float64


def test_mouth_values() -> None:
    face = dc.from_vector(torch.arange(257.0))
    bfm = [0, 1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 13, 14]
    assert face.mouth("bfm").tolist() == [80 + index for index in bfm]
    assert face.mouth("open_head").tolist() == [80 + index for index in range(13)]
    with pytest.raises(ValueError, match="'flame'"):
        face.mouth("flame")


def test_parts_that_were_not_estimated_are_no_zeros() -> None:
    face = dc.FaceCoefficients(torch.zeros(80), torch.zeros(64), torch.zeros(3), torch.zeros(3))
    assert dc.to_motion(face).shape == (70,)
    with pytest.raises(ValueError, match=r"'texture', 'illumination'"):
        dc.to_vector(face)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"vector is \[2, 256\], expected \[..., 257\]"):
        dc.from_vector(torch.zeros(2, 256))
    with pytest.raises(ValueError, match=r"angles is \[4\]"):
        dc.FaceCoefficients(torch.zeros(80), torch.zeros(64), torch.zeros(4), torch.zeros(3))
    with pytest.raises(ValueError, match="do not broadcast"):
        dc.FaceCoefficients(torch.zeros(2, 80), torch.zeros(3, 64), torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match=r"\[0, 73\]"):
        dc.windows(torch.zeros(0, 73))
    with pytest.raises(ValueError, match="odd length"):
        dc.window_centres(torch.zeros(4, 73, 26))
    with pytest.raises(ValueError, match="positive"):
        dc.rescale_crop(torch.zeros(3), 256, 0)
