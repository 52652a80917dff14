from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from dimitra.clips import ClipError, Reason
from dimitra.media.audio import decode_flac, encode_flac, read_audio


def _wav(samples: np.ndarray, rate: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


@given(st.integers(1, 5000), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_flac_round_trip_is_exact_to_half_a_step(count: int, seed: int) -> None:
    samples = np.random.default_rng(seed).uniform(-1, 1, count).astype(np.float32)
    again, rate = decode_flac(encode_flac(samples))
    assert rate == 16_000
    assert again.shape == samples.shape
    assert np.all(np.abs(again - np.clip(samples, -1, 32767 / 32768)) <= 0.5001 / 32768)


def test_flac_is_deterministic() -> None:
    samples = np.sin(np.arange(16_000) * 0.01).astype(np.float32)
    assert encode_flac(samples) == encode_flac(samples)


def test_resampling_agrees_with_scipy() -> None:
    time = np.arange(2 * 48_000) / 48_000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 3000 * time)
    ours = read_audio(_wav(tone, 48_000))
    theirs = resample_poly(tone, 1, 3)
    assert len(ours) == len(theirs) == 32_000
    assert np.abs(ours - theirs)[800:-800].max() < 2e-3


def test_stereo_becomes_the_mean_and_16_khz_is_untouched() -> None:
    rng = np.random.default_rng(0)
    both = rng.uniform(-0.5, 0.5, (16_000, 2)).astype(np.float32)
    mono = read_audio(_wav(both, 16_000))
    assert np.abs(mono - both.mean(axis=1)).max() < 1e-5


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_sample_format_has_the_same_scale(subtype: str) -> None:
    wave = 0.7 * np.sin(np.arange(16_000) * 0.02)
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([wave, 0.5 * wave], axis=1), 16_000, subtype, format="WAV")
    step = 1 / 64 if subtype == "PCM_U8" else 1e-4
    assert np.abs(read_audio(buffer.getvalue()) - 0.75 * wave).max() < step


@pytest.mark.parametrize("start_s", [0.0, 0.5, 2.25])
def test_a_piece_starts_where_it_says(start_s: float) -> None:
    ramp = np.linspace(0, 0.9, 4 * 16_000).astype(np.float32)
    piece = read_audio(_wav(ramp, 16_000), start_s, start_s + 1.0)
    begin = round(start_s * 16_000)
    assert np.allclose(piece, ramp[begin : begin + 16_000], atol=1e-5)


def test_the_end_is_not_padded() -> None:
    assert len(read_audio(_wav(np.zeros(16_000), 16_000), 0.5, 3.0)) == 8_000


def test_what_is_no_flac_is_named() -> None:
    with pytest.raises(ClipError) as caught:
        decode_flac(b"nothing of the kind")
    assert caught.value.reason is Reason.NOT_MEDIA
    with pytest.raises(ValueError, match="N > 0"):
        encode_flac(np.zeros(0, np.float32))
    with pytest.raises(ValueError, match="finite"):
        encode_flac(np.array([np.nan], np.float32))
