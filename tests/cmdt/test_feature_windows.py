import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dimitra.cmdt.feature_windows import FeatureSpan, FeatureWindows


def laid_out(
    features: NDArray[np.floating], rate_hz: float, frames: int, window: int, start: int = 0
) -> NDArray[np.float32]:
    """[frames, 2 window + 1, D] of one span."""
    span = FeatureSpan.of(features, rate_hz, frames, window, start)
    shape = (frames, 2 * window + 1, features.shape[1])
    return FeatureWindows.of([span]).laid_out().numpy().reshape(shape)


def plain(
    features: NDArray[np.floating], rate_hz: float, frames: int, window: int, start: int = 0
) -> NDArray[np.float32]:
    """The same by its definition, feature by feature."""
    found = np.zeros((frames, 2 * window + 1, features.shape[1]), dtype=np.float32)
    for frame in range(frames):
        centre = int(np.floor(round((start + frame) * rate_hz / 25, 6)))
        for offset in range(-window, window + 1):
            if 0 <= centre + offset < len(features):
                found[frame, offset + window] = features[centre + offset].astype(np.float32)
    return found


@pytest.mark.parametrize("rate_hz", [50.0, 125 / 3, 49.95, 100.0, 25.0])
def test_windows_around_frames(rate_hz: float) -> None:
    features = np.random.default_rng(0).normal(size=(90, 3)).astype(np.float32)
    windows = laid_out(features, rate_hz, 40, 4)
    assert windows.dtype == np.float32
    np.testing.assert_array_equal(windows, plain(features, rate_hz, 40, 4))


def test_frame_i_is_feature_2i_at_50_hz() -> None:
    features = np.arange(100, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(laid_out(features, 50.0, 50, 0)[:, 0, 0], 2 * np.arange(50))


@given(st.integers(1, 400), st.integers(0, 6), st.sampled_from([160, 320, 384]))
def test_every_frame_of_a_clip_has_its_window(frames: int, window: int, stride: int) -> None:
    """A clip of T frames has 640 T samples: every frame's centre lies inside its features."""
    count = -(-frames * 640 // stride)
    windows = laid_out(np.ones((count, 2), dtype=np.float32), 16_000 / stride, frames, window)
    assert windows[:, window].all()


def test_no_features_give_zeros() -> None:
    assert not laid_out(np.zeros((0, 4), dtype=np.float32), 50.0, 3, 1).any()
    assert not laid_out(np.ones((9, 4), dtype=np.float32), 50.0, 3, 1, start=90).any()


spans = st.lists(
    st.tuples(st.integers(0, 80), st.integers(0, 70), st.integers(1, 30)), min_size=1, max_size=5
)


@given(spans, st.integers(0, 5), st.sampled_from([12.5, 25.0, 125 / 3, 50.0, 100.0]))
def test_a_batch_has_the_bits_that_windows_laid_out_one_by_one_have(
    sizes: list[tuple[int, int, int]], window: int, rate_hz: float
) -> None:
    """Clips of any length, windows anywhere, also past the features; the shorter are padded."""
    rng = np.random.default_rng(len(sizes))
    clips = [rng.normal(size=(count, 3)).astype(np.float16) for count, _, _ in sizes]
    packed = FeatureWindows.of(
        [
            FeatureSpan.of(clip, rate_hz, frames, window, start)
            for clip, (_, start, frames) in zip(clips, sizes, strict=True)
        ]
    )
    assert packed.rows.dtype == torch.float16
    assert len(packed.rows) <= 1 + sum(len(clip) for clip in clips)  # every feature once
    longest = max(frames for _, _, frames in sizes)
    expected = np.zeros((len(sizes), longest, 2 * window + 1, 3), dtype=np.float32)
    for row, clip, (_, start, frames) in zip(expected, clips, sizes, strict=True):
        row[:frames] = plain(clip, rate_hz, frames, window, start)
    found = packed.to(torch.device("cpu")).laid_out()
    assert found.dtype == torch.float32
    assert found.numpy().tobytes() == expected.reshape(len(sizes), longest, -1).tobytes()


def test_features_of_unequal_widths_are_refused() -> None:
    odd = [FeatureSpan.of(np.zeros((9, width), np.float16), 25.0, 4, 1) for width in (3, 4)]
    with pytest.raises(ValueError, match=r"one width: \{3, 4\}"):
        FeatureWindows.of(odd)
