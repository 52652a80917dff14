import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.clips import ClipError, Reason
from dimitra.speech.aligners import settled
from dimitra.speech.alignment import Alignment, Utterance, surface_times, unaligned, without_gaps
from dimitra.speech.phonemes import NOISE_ID, Interval, frame_phonemes
from dimitra.speech.transcript import Transcript, Word, dataset_transcript

SAMPLES = np.zeros(64_000, dtype=np.float32)
HEARD = Transcript(
    "It cost $5. —",
    "en",
    "asr",
    (Word("It", 0.1, 0.3), Word("cost", 0.3, 1.0), Word("$5.", 2.0, 3.0), Word("—", 3.0, 3.1)),
)


def test_a_marked_clip_is_noise_with_the_recognisers_own_times() -> None:
    result = unaligned(Utterance("a", SAMPLES, HEARD))
    assert (frame_phonemes(result.phones, 100) == NOISE_ID).all()
    assert [(w.label, w.start_s, w.end_s) for w in result.words] == [
        ("it", 0.1, 0.3), ("cost", 0.3, 1.0), ("five", 2.0, 2.5), ("dollars", 2.5, 3.0),
    ]  # fmt: skip
    assert [word.surface for word in result.spoken] == [0, 1, 2, 2]


def test_a_dataset_text_is_spread_evenly() -> None:
    transcript = dataset_transcript("one two three four", "en")
    times = surface_times(transcript, 4.0)
    assert [(t.start_s, t.end_s) for t in times] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert unaligned(Utterance("a", SAMPLES, transcript)).words[3].start_s == 3.0


@pytest.mark.parametrize("reason", [Reason.UNALIGNED, Reason.BAD_TRANSCRIPT])
@pytest.mark.parametrize("mark", [True, False])
def test_only_an_unaligned_clip_is_marked(reason: Reason, mark: bool) -> None:
    error = ClipError(reason, "why")
    result = settled(error, Utterance("a", SAMPLES, HEARD), mark=mark)
    assert isinstance(result, Alignment) == (mark and reason is Reason.UNALIGNED)
    assert isinstance(result, Alignment) or result is error


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), max_size=12),
    st.integers(1, 300),
)
def test_gaps_become_silence(pieces: list[tuple[int, int]], hundredths: int) -> None:
    time, phones = 0.0, []
    for gap, length in pieces:
        phones.append(Interval(time + gap / 100, time + (gap + length) / 100, "AA"))
        time = phones[-1].end_s
    duration_s = hundredths / 100
    filled = without_gaps(phones, duration_s)
    assert filled[0].start_s == 0
    assert filled[-1].end_s == duration_s
    assert all(a.end_s == b.start_s for a, b in itertools.pairwise(filled))
    for centre in np.arange(0.005, duration_s, 0.01):
        inside = any(phone.start_s <= centre < phone.end_s for phone in phones)
        (label,) = (item.label for item in filled if item.start_s <= centre < item.end_s)
        assert label == ("AA" if inside else "SIL")
