import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dimitra.speech.errors import EncoderError
from dimitra.speech.grid import GridEncoder, blocks, normalise


@dataclasses.dataclass
class Local:
    """A network of local context: sums of the samples of a vector's own field."""

    stride: int = 320
    field: int = 400
    dim: int = 2
    normalised: bool = False
    lengths: list[int] = dataclasses.field(default_factory=list)

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        self.lengths.append(len(samples))
        count = 1 + (len(samples) - self.field) // self.stride
        starts = np.arange(count) * self.stride
        taken = samples[starts[:, None] + np.arange(self.field)]
        return np.stack([taken.mean(axis=1), np.abs(taken).max(axis=1)], axis=1)


class Positions(Local):
    """A network whose vectors say how far into their block they are."""

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        count = len(super().__call__(samples))
        return np.repeat(np.arange(count, dtype=np.float32)[:, None], 2, axis=1)


@given(st.integers(1, 2000), st.integers(1, 300), st.data())
def test_blocks_share_out_every_feature(features: int, block: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, block // 2))
    total = np.zeros(features)
    covered = np.zeros(features, dtype=int)
    pieces = list(blocks(features, block, overlap))
    for index, piece in enumerate(pieces):
        assert piece.start == index * (block - overlap)
        assert piece.stop - piece.start <= block
        weights = piece.weights()
        assert (weights > 0).all()
        total[piece.start : piece.stop] += weights
        covered[piece.start : piece.stop] += 1
    np.testing.assert_allclose(total, 1.0, atol=1e-6)
    assert pieces[-1].stop == features
    assert covered.max() <= 2


@pytest.mark.parametrize(("block", "overlap"), [(10, 6), (0, 0), (5, -1)])
def test_an_overlap_of_more_than_half_a_block_is_refused(block: int, overlap: int) -> None:
    with pytest.raises(EncoderError, match=f"overlap of {overlap} features"):
        list(blocks(100, block, overlap))


def test_half_a_block_is_allowed_whatever_the_rounding() -> None:
    for stride in (160, 320, 384):
        for block_s in np.arange(1.0, 12.0, 0.013):
            GridEncoder(Local(stride=stride), float(block_s), float(block_s) / 2)
    with pytest.raises(EncoderError, match="half of a block"):
        GridEncoder(Local(), 2.0, 1.5)


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 321, 16_000, 160_001])
def test_a_vector_for_every_started_stride(samples: int) -> None:
    encoder = GridEncoder(Local(), 1.0, 0.4)
    sound = np.ones(samples, dtype=np.float32)
    assert encoder.encode(sound).shape == (-(-samples // 320), 2)


def test_the_grid_is_exact_for_a_network_of_local_context() -> None:
    sound = np.random.default_rng(0).normal(size=200_123).astype(np.float32)
    whole = GridEncoder(Local(), 1000.0, 0.0).encode(sound)
    for block_s, overlap_s in ((1.0, 0.0), (1.0, 0.5), (2.0, 0.3)):
        found = GridEncoder(Local(), block_s, overlap_s).encode(sound)
        np.testing.assert_allclose(found, whole, atol=1e-6)


def test_neighbours_fade_into_each_other() -> None:
    found = GridEncoder(Positions(), 2.0, 0.8).encode(np.zeros(48_000, dtype=np.float32))[:, 0]
    # 100 features a block, 40 shared, 60 from one block's start to the next's; 150 in all.
    np.testing.assert_allclose(found[:60], np.arange(60))
    ramp = (np.arange(40) + 0.5) / 40
    expected = (1 - ramp) * np.arange(60, 100) + ramp * np.arange(40)
    np.testing.assert_allclose(found[60:100], expected, rtol=1e-6)
    np.testing.assert_allclose(found[100:120], np.arange(40, 60))
    assert np.abs(np.diff(found)).max() < 2.6


def test_a_block_bounds_what_the_network_is_given() -> None:
    network = Local()
    GridEncoder(network, 2.0, 1.0).encode(np.zeros(16_000 * 60, dtype=np.float32))
    assert len(network.lengths) == 59
    assert max(network.lengths) == 99 * 320 + 400


def test_what_follows_does_not_touch_what_came_before() -> None:
    """Blocks lie at fixed places from the start of the sound, whatever its length."""
    sound = np.random.default_rng(1).normal(size=16_000 * 9).astype(np.float32)
    encoder = GridEncoder(Positions(), 2.0, 0.8)
    long, short = encoder.encode(sound), encoder.encode(sound[: 16_000 * 5])
    np.testing.assert_array_equal(long[:180], short[:180])


def test_loudness_is_normalised_once_over_the_whole_sound() -> None:
    generator = np.random.default_rng(2)
    sound = (0.1 * generator.normal(size=16_000 * 6)).astype(np.float32)
    sound[16_000 * 3 :] *= 8
    encoder = GridEncoder(Local(normalised=True), 1.0, 0.4)
    plain = GridEncoder(Local(), 1.0, 0.4)
    np.testing.assert_array_equal(encoder.encode(sound), plain.encode(normalise(sound)))
    # A gain of each block's own would level the two halves.
    peaks = encoder.encode(sound)[:, 1]
    assert peaks[170:290].mean() > 6 * peaks[10:130].mean()


def test_normalise_is_transformers_arithmetic() -> None:
    generator = np.random.default_rng(3)
    sound = (0.02 * generator.normal(size=50_000) + 0.01).astype(np.float32)
    expected = (sound - sound.mean(dtype=float)) / np.sqrt(sound.var(dtype=float) + 1e-7)
    np.testing.assert_allclose(normalise(sound), expected, atol=1e-5)
    assert not normalise(np.zeros(100, dtype=np.float32)).any()
    assert not normalise(np.full(100, 0.25, dtype=np.float32)).any()
    assert normalise(np.zeros(0, dtype=np.float32)).shape == (0,)


def test_a_network_that_gives_another_count_is_named() -> None:
    with pytest.raises(ValueError, match="gave .50, 2., expected .50, 3."):
        GridEncoder(Local(dim=3), 1.0, 0.0).encode(np.zeros(16_000, dtype=np.float32))
