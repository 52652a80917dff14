import ctypes.util

import numpy as np
import pytest

from dimitra.sample.voices import SAMPLE_RATE_HZ, SynthesiserError, Voice, speak
from dimitra.speech.phonemes import PHONES

TEXT = "Please buy the blue cup before Monday."
WORDS = ["please", "buy", "the", "blue", "cup", "before", "monday"]
VOICES = {
    "flite": Voice("flite", "slt", "f", 1.0, 190, 1.05),
    "espeak": Voice("espeak", "en-us+m3", "m", 1.0, 50, 1.0),
}
LIBRARIES = {"flite": "flite", "espeak": "espeak-ng"}


@pytest.fixture(params=sorted(VOICES))
def voice(request):
    if ctypes.util.find_library(LIBRARIES[request.param]) is None:
        pytest.skip(f"{LIBRARIES[request.param]} is not installed; only making the corpus needs it")
    return VOICES[request.param]


def test_phones_cover_the_sound(voice):
    speech = speak(TEXT, voice)
    assert [word.label for word in speech.words] == WORDS
    assert {phone.label for phone in speech.phones} <= set(PHONES)
    assert speech.phones[0].start_s == 0.0
    assert speech.phones[-1].end_s == pytest.approx(speech.duration_s, abs=2e-3)
    for before, after in zip(speech.phones, speech.phones[1:], strict=False):
        assert before.end_s == pytest.approx(after.start_s, abs=2e-4)


def test_sound_and_phones_agree(voice):
    """Silence is quiet, vowels are loud: the times belong to this sound."""
    speech = speak(TEXT, voice)

    def level(labels):
        pieces = [
            speech.samples[round(s.start_s * SAMPLE_RATE_HZ) : round(s.end_s * SAMPLE_RATE_HZ)]
            for s in speech.phones
            if s.label in labels
        ]
        return float(np.sqrt(np.mean(np.square(np.concatenate(pieces)))))

    assert level({"IY", "AY", "UW", "AH"}) > 10 * level({"SIL"})


def test_an_unknown_voice_is_named():
    if ctypes.util.find_library("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    with pytest.raises(SynthesiserError, match="no-such-voice"):
        speak(TEXT, Voice("espeak", "no-such-voice", "f", 1.0, 50))
