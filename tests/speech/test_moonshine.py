from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from dimitra.assets import asset_path
from dimitra.cmdt.feature_windows import FeatureSpan
from dimitra.speech.errors import WeightsError
from dimitra.speech.grid import GridEncoder, blocks
from dimitra.speech.moonshine import MoonshineNetwork
from tests.speech.signals import boats


@pytest.fixture(scope="module")
def network() -> MoonshineNetwork:
    return MoonshineNetwork(asset_path("moonshine_encoder"))


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_short_sound_is_one_block(network: MoonshineNetwork) -> None:
    encoder = GridEncoder(network, block_s=10.0, overlap_s=3.0)
    samples = boats().samples
    features = encoder.encode(samples)
    assert encoder.dim == 416
    assert encoder.rate_hz == pytest.approx(41.667, abs=1e-3)
    assert features.shape == (-(-len(samples) // 384), 416)
    path = asset_path("moonshine_encoder")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    whole = np.pad(samples, (0, (len(features) - 1) * 384 + 895 - len(samples)))
    (direct,) = session.run(None, {"input_values": whole[None]})
    np.testing.assert_allclose(features, direct[0], atol=1e-4)
    frames = len(samples) // 640
    span = FeatureSpan.of(features, encoder.rate_hz, frames, 0)
    assert span.places.min() == 0  # every frame has its feature
    assert np.abs(span.rows[span.places[:, 0]]).max(axis=1).min() > 0


def test_a_repeat_gives_the_same_bytes_on_a_fixed_grid(network: MoonshineNetwork) -> None:
    encoder = GridEncoder(network, block_s=2.0, overlap_s=0.5)
    samples = boats().samples
    features = encoder.encode(samples)
    np.testing.assert_array_equal(encoder.encode(samples), features)
    # What follows the first block does not touch what it alone gives.
    first = encoder.encode(samples[: 83 * 384 + 511])
    np.testing.assert_allclose(first[:62], features[:62], atol=1e-5)


def test_seams_of_long_speech_do_not_show(network: MoonshineNetwork) -> None:
    """Against one unbroken pass over 37 s, with the sample profile's grid (4 seams)."""
    speech = np.tile(boats().samples, 12)
    unbroken = GridEncoder(network, 100.0, 0.0).encode(speech)
    encoder = GridEncoder(network, block_s=10.0, overlap_s=3.0)
    features = encoder.encode(speech)
    block, overlap = round(10.0 * encoder.rate_hz), round(3.0 * encoder.rate_hz)
    pieces = list(blocks(len(features), block, overlap))
    assert len(pieces) > 4
    shared = np.concatenate([np.arange(b.start, b.start + b.fade_in) for b in pieces[1:]])
    elsewhere = np.setdiff1d(np.arange(len(features)), shared)
    agreement = cosines(features, unbroken)
    assert agreement[shared].mean() > agreement[elsewhere].mean() - 0.05
    # From one feature to the next, the change in the middle of a seam is the unbroken pass's own.
    middles = np.array([b.start + b.fade_in // 2 for b in pieces[1:]])
    steps, own = cosines(features[:-1], features[1:]), cosines(unbroken[:-1], unbroken[1:])
    around = middles[:, None] + np.arange(-3, 3)
    assert (own - steps)[around].max() < 0.2
    # A hand-over at one feature is what this test would catch.
    cut = GridEncoder(network, block_s=10.0, overlap_s=0.0).encode(speech)
    seams = np.arange(block, len(cut), block)
    assert np.mean(own[seams - 1] - cosines(cut[:-1], cut[1:])[seams - 1]) > 0.3


def test_other_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.ort"):
        MoonshineNetwork(tmp_path / "none.ort")
    bad = tmp_path / "bad.ort"
    bad.write_bytes(b"no network")
    with pytest.raises(WeightsError, match="bad.ort is no network"):
        MoonshineNetwork(bad)
