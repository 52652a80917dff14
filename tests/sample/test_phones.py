import pytest

from dimitra.sample.phones import Span, espeak_phones, flite_phones
from dimitra.speech.phonemes import PHONES


def test_flite_words_and_phones():
    segments = [
        Span("pau", 0.0, 0.2),
        Span("dh|the|1", 0.2, 0.25),
        Span("ax|the|0", 0.25, 0.3),
        Span("d|dog|1", 0.3, 0.4),
        Span("ao|dog|0", 0.4, 0.5),
        Span("g|dog|0", 0.5, 0.6),
    ]
    phones, words = flite_phones(segments)
    assert [span.label for span in phones] == ["SIL", "DH", "AH", "D", "AO", "G"]
    assert words == [Span("the", 0.2, 0.3), Span("dog", 0.3, 0.6)]


def test_a_repeated_word_counts_twice():
    segments = [Span("y|you|1", 0, 0.1), Span("uw|you|0", 0.1, 0.2), Span("y|you|1", 0.2, 0.3)]
    assert [word.label for word in flite_phones(segments)[1]] == ["you", "you"]


def test_espeak_words_joined_by_the_synthesiser_are_parted():
    events = [
        Span("=0", 0.0, 0.0),
        Span("I", 0.01, 0.01),
        Span("n", 0.1, 0.1),
        Span("D", 0.15, 0.15),
        Span("@2", 0.2, 0.2),
        Span("=7", 0.25, 0.25),
        Span("k", 0.30, 0.30),
        Span("A@", 0.4, 0.4),
        Span("_:", 0.7, 0.7),
        Span("=-1", 0.8, 0.8),
    ]
    phones, words = espeak_phones(events, "in the car", 1.0)
    assert [span.label for span in phones] == ["IH", "N", "DH", "AH", "K", "AA", "R", "SIL"]
    assert phones[4].start_s == 0.25  # the closure belongs to the word's first stop
    assert [word.label for word in words] == ["in", "the", "car"]
    assert words[0].end_s == pytest.approx(0.1)
    assert words[-1].end_s == pytest.approx(0.7)
    assert {span.label for span in phones} <= set(PHONES)


def test_unknown_espeak_phone_is_named():
    with pytest.raises(ValueError, match="'xx'"):
        espeak_phones([Span("xx", 0.0, 0.0)], "a", 1.0)
