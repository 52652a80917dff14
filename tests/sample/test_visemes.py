import numpy as np
import pytest

from dimitra.sample.phones import Span
from dimitra.sample.visemes import LIP_UNITS, closure, mouth_curves
from dimitra.speech.phonemes import CONSONANTS, VOWELS

TIMES = (np.arange(50) + 0.5) / 25


def _word(*labels: str, each: float = 0.15) -> list[Span]:
    spans = [Span("SIL", 0.0, 0.5)]
    for label in labels:
        spans.append(Span(label, spans[-1].end_s, spans[-1].end_s + each))
    return [*spans, Span("SIL", spans[-1].end_s, 2.0)]


def _during(span: Span) -> np.ndarray:
    return (span.start_s <= TIMES) & (span.end_s > TIMES)


def test_all_phones_have_a_shape():
    for phone in (*VOWELS, *CONSONANTS):
        curves = mouth_curves(_word(phone), TIMES, np.ones(50))
        assert set(curves) == set(LIP_UNITS)
        assert all(np.isfinite(curve).all() and (curve >= 0).all() for curve in curves.values())


def test_unknown_phone_is_refused():
    with pytest.raises(KeyError):
        mouth_curves(_word("QQ"), TIMES, np.ones(50))


@pytest.mark.parametrize("consonant", ["P", "B", "M"])
def test_lips_shut_between_open_vowels(consonant):
    phones = _word("AA", consonant, "AA")
    curves = mouth_curves(phones, TIMES, np.ones(50))
    gap = curves["jawOpen"] - curves["mouthClose"]
    assert gap[_during(phones[2])].min() <= 0.0
    assert gap[_during(phones[1])].max() > 0.3
    assert closure(phones, TIMES)[_during(phones[2])].max() == 1.0


def test_every_closure_touches_a_frame():
    for start in np.linspace(0.5, 0.6, 11):
        phones = [
            Span("SIL", 0, start),
            Span("B", start, start + 0.02),
            Span("AA", start + 0.02, 2),
        ]
        assert closure(phones, TIMES).max() == 1.0


def test_round_and_spread_vowels_differ():
    round_, spread = _word("UW", each=0.3), _word("IY", each=0.3)
    middle = _during(round_[1])
    a = mouth_curves(round_, TIMES, np.ones(50))
    b = mouth_curves(spread, TIMES, np.ones(50))
    assert a["mouthPucker"][middle].max() > 0.6 > b["mouthPucker"][middle].max()
    assert b["mouthStretch"][middle].max() > 0.3 > a["mouthStretch"][middle].max()


def test_lower_lip_rolls_under_the_teeth_for_f():
    phones = _word("AA", "F", "AA")
    curves = mouth_curves(phones, TIMES, np.ones(50))
    assert curves["mouthRollLower"][_during(phones[2])].max() > 0.5
    assert curves["mouthRollLower"][_during(phones[1])].min() < 0.15


def test_the_jaw_follows_loudness():
    phones = _word("AA", "AA", each=0.3)
    loud = mouth_curves(phones, TIMES, np.ones(50))["jawOpen"]
    soft = mouth_curves(phones, TIMES, np.full(50, 0.3))["jawOpen"]
    assert (loud >= soft).all()
    assert loud.max() > 1.5 * soft.max()
