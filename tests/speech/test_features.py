import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.assets import asset_path
from dimitra.speech.features import MoonshineEncoder, blocks, frame_windows
from tests.speech.signals import boats


@given(st.integers(1, 2000), st.integers(2, 300), st.data())
def test_blocks_give_every_feature_once_with_context(
    features: int, block: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, block // 2))
    taken = []
    for piece in blocks(features, block, overlap):
        assert piece.start % (block - overlap) == 0
        assert piece.stop - piece.start <= block
        assert piece.start <= piece.keep_start < piece.keep_stop <= piece.stop
        if piece.start:
            assert piece.keep_start - piece.start >= overlap // 2
        if piece.stop < features:
            assert piece.stop - piece.keep_stop >= overlap // 2
        taken += range(piece.keep_start, piece.keep_stop)
    assert taken == list(range(features))


def test_an_overlap_as_long_as_the_block_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        list(blocks(10, 5, 5))


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


def test_no_features_give_zeros() -> None:
    assert not frame_windows(np.zeros((0, 4), dtype=np.float32), 50.0, 3, 1).any()


def test_moonshine_short_sound_is_one_block() -> None:
    path = asset_path("moonshine_encoder")
    encoder = MoonshineEncoder(path, block_s=10.0, overlap_s=2.0)
    samples = boats().samples
    features = encoder.encode(samples)
    assert encoder.dim == 416
    assert encoder.rate_hz == pytest.approx(41.667, abs=1e-3)
    assert features.shape == (-(-len(samples) // 384), 416)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    whole = np.pad(samples, (0, (len(features) - 1) * 384 + 895 - len(samples)))
    (direct,) = session.run(None, {"input_values": whole[None]})
    np.testing.assert_allclose(features, direct[0], atol=1e-4)
    frames = len(samples) // 640
    centres = frame_windows(features, encoder.rate_hz, frames, 0)[:, 0]
    assert np.abs(centres).max(axis=1).min() > 0


def test_moonshine_blocks_lie_on_a_fixed_grid() -> None:
    encoder = MoonshineEncoder(asset_path("moonshine_encoder"), block_s=2.0, overlap_s=0.5)
    samples = boats().samples
    features = encoder.encode(samples)
    np.testing.assert_array_equal(encoder.encode(samples), features)
    # What follows the first block does not touch what is taken from it.
    first = encoder.encode(samples[: 83 * 384 + 511])
    np.testing.assert_allclose(first[:70], features[:70], atol=1e-5)
