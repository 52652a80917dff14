from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.speech.text import TokenFeatures, shortened, stretches


class CountingEncoder:
    """One token a word, and two marks."""

    dim = 1

    def length(self, text: str) -> int:
        return len(text.split()) + 2

    def encode(self, texts: Sequence[str]) -> TokenFeatures:
        raise NotImplementedError


def test_a_text_that_fits_is_one_stretch() -> None:
    (only,) = stretches("a b  c", [0.0, 11.0, 25.0], 28.0, 10.0, CountingEncoder(), 5)
    assert (only.start_s, only.text) == (0.0, "a b c")


def test_a_long_text_is_cut_on_the_grid() -> None:
    words = [f"w{k}" for k in range(28)]
    found = stretches(" ".join(words), list(range(28)), 28.0, 10.0, CountingEncoder(), 12)
    assert [(s.start_s, len(s.text.split())) for s in found] == [(0.0, 10), (10.0, 10), (20.0, 8)]


@given(st.lists(st.floats(0, 30), min_size=1, max_size=120).map(sorted), st.integers(3, 40))
def test_no_word_is_lost_and_no_stretch_is_too_full(times: list[float], limit: int) -> None:
    words = [f"w{k}" for k in range(len(times))]
    encoder = CountingEncoder()
    found = stretches(" ".join(words), times, 30.0, 10.0, encoder, limit)
    assert " ".join(s.text for s in found).split() == words
    starts = [s.start_s for s in found]
    assert starts == sorted(set(starts))
    for stretch, stop in zip(found, [*starts[1:], 30.0], strict=True):
        smallest = stop - stretch.start_s < 0.5
        assert encoder.length(stretch.text) <= limit or smallest


def test_one_time_a_word() -> None:
    with pytest.raises(ValueError, match="one a word"):
        stretches("a b", [0.0], 1.0, 1.0, CountingEncoder(), 10)


def test_texts_are_padded_to_the_longest() -> None:
    rows = [np.ones((2, 3), dtype=np.float32), np.full((4, 3), 2, dtype=np.float32)]
    features = TokenFeatures.of(rows)
    assert features.tokens.shape == (2, 4, 3)
    assert features.mask.tolist() == [[True, True, False, False], [True] * 4]
    assert not features.tokens[0, 2:].any()


def test_a_shortened_text_keeps_its_end_mark() -> None:
    assert shortened([1, 5, 6, 7, 2], 4) == [1, 5, 6, 2]
    assert shortened([1, 5, 2], 4) == [1, 5, 2]
