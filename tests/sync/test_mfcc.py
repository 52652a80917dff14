"""MFCC against python_speech_features, the package that SyncNet's own code calls."""

import numpy as np
import pytest
import python_speech_features

from dimitra.media.audio import decode_flac
from dimitra.sync.mfcc import mfcc


def as_16_bits(samples):
    return np.clip(np.rint(samples.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)


def sounds():
    random = np.random.default_rng(0)
    times = np.arange(24_000) / 16_000
    chirp = 0.7 * np.sin(2 * np.pi * (200 + 1500 * times) * times)
    yield "noise", random.normal(0, 0.2, 16_000)
    yield "chirp", chirp
    yield "clipped", 3.0 * chirp
    yield "quiet", 1e-4 * chirp
    yield "silence then noise", np.concatenate([np.zeros(8_000), random.normal(0, 0.1, 8_000)])
    for length in (1, 399, 400, 401, 560, 561, 16_001):
        yield f"{length} samples", random.normal(0, 0.1, length)


@pytest.mark.parametrize(("name", "samples"), list(sounds()))
def test_as_the_reference(name, samples):
    samples = samples.astype(np.float32)
    wanted = python_speech_features.mfcc(as_16_bits(samples), 16_000)
    found = mfcc(samples)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=1e-4, rtol=0)


def test_as_the_reference_on_speech(pytestconfig):
    data = (pytestconfig.rootpath / "tests/speech/boats.flac").read_bytes()
    samples, _ = decode_flac(data)
    wanted = python_speech_features.mfcc(as_16_bits(samples), 16_000)
    np.testing.assert_allclose(mfcc(samples), wanted, atol=1e-4, rtol=0)


def test_four_rows_a_frame():
    rows = mfcc(np.ones(640 * 25, np.float32))
    assert len(rows) == 99  # the last block begins 10 ms before the end


@pytest.mark.parametrize("shape", [(0,), (10, 2)])
def test_what_is_no_sound_is_refused(shape):
    with pytest.raises(ValueError, match="need \\[N\\]"):
        mfcc(np.zeros(shape, np.float32))
