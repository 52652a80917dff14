from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dimitra.assets import asset_path
from dimitra.speech.text import MiniLmEncoder, TokenFeatures, stretches


class CountingEncoder:
    """One token a word, and two marks."""

    dim = 1

    def length(self, text: str) -> int:
        return len(text.split()) + 2

    def encode(self, texts: Sequence[str]) -> TokenFeatures:
        raise NotImplementedError


@pytest.fixture(scope="module")
def minilm() -> MiniLmEncoder:
    return MiniLmEncoder(asset_path("minilm_l6"), 77)


def test_minilm_agrees_with_transformers(minilm: MiniLmEncoder) -> None:
    transformers = pytest.importorskip("transformers")
    folder = str(asset_path("minilm_l6"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.BertModel.from_pretrained(folder, local_files_only=True).eval()
    texts = ["We found three small boats.", "", "Naïve déjà-vu, isn't it?"]
    ours = minilm.encode(texts)
    assert ours.tokens.shape == (3, ours.mask.sum(axis=1).max(), 384)
    for index, text in enumerate(texts):
        with torch.inference_mode():
            theirs = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].numpy()
        count = int(ours.mask[index].sum())
        assert count == len(theirs) == minilm.length(text)
        np.testing.assert_allclose(ours.tokens[index, :count], theirs, atol=1e-5)
        assert not ours.tokens[index, count:].any()


def test_features_depend_on_the_text_alone(minilm: MiniLmEncoder) -> None:
    alone = minilm.encode(["a short text"])
    beside = minilm.encode(["a short text", "a text that is a good deal longer than the other one"])
    count = int(alone.mask.sum())
    np.testing.assert_array_equal(beside.tokens[0, :count], alone.tokens[0])


def test_what_exceeds_the_limit_is_cut_off(minilm: MiniLmEncoder) -> None:
    assert minilm.encode(["word " * 200]).mask.sum() == 77


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
