import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.speech.features import frame_windows


@pytest.mark.parametrize("rate_hz", [50.0, 125 / 3, 49.95, 100.0, 25.0])
def test_windows_around_frames(rate_hz: float) -> None:
    features = np.random.default_rng(0).normal(size=(90, 3)).astype(np.float32)
    windows = frame_windows(features, rate_hz, 40, 4)
    assert windows.shape == (40, 9, 3)
    assert windows.dtype == np.float32
    for frame in range(40):
        centre = int(np.floor(round(frame * rate_hz / 25, 6)))
        for offset in range(-4, 5):
            index = centre + offset
            expected = features[index] if 0 <= index < 90 else np.zeros(3)
            np.testing.assert_array_equal(windows[frame, offset + 4], expected)


def test_frame_i_is_feature_2i_at_50_hz() -> None:
    features = np.arange(100, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(frame_windows(features, 50.0, 50, 0)[:, 0, 0], 2 * np.arange(50))


@given(st.integers(1, 400), st.integers(0, 6), st.sampled_from([160, 320, 384]))
def test_every_frame_of_a_clip_has_its_window(frames: int, window: int, stride: int) -> None:
    """A clip of T frames has 640 T samples: every frame's centre lies inside its features."""
    count = -(-frames * 640 // stride)
    features = np.ones((count, 2), dtype=np.float32)
    windows = frame_windows(features, 16_000 / stride, frames, window)
    assert windows.shape == (frames, 2 * window + 1, 2)
    assert windows[:, window].all()


def test_no_features_give_zeros() -> None:
    assert not frame_windows(np.zeros((0, 4), dtype=np.float32), 50.0, 3, 1).any()


@given(st.data(), st.sampled_from([160, 320, 384]))
def test_some_frames_have_the_windows_that_the_whole_clip_has(
    data: st.DataObject, stride: int
) -> None:
    start, stop = sorted(data.draw(st.tuples(st.integers(0, 60), st.integers(0, 60))))
    features = np.random.default_rng(0).normal(size=(120, 2)).astype(np.float16)
    whole = frame_windows(features.astype(np.float32), 16_000 / stride, 60, 4)
    some = frame_windows(features, 16_000 / stride, stop - start, 4, start)
    assert some.dtype == np.float32
    np.testing.assert_array_equal(some, whole[start:stop])
