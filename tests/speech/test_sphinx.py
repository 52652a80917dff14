import numpy as np
import pytest

from dimitra.assets import asset_path
from dimitra.clips import ClipError, Reason
from dimitra.speech.aligners import pocketsphinx_aligner
from dimitra.speech.alignment import Alignment, PhonemeAligner, Utterance
from dimitra.speech.lexicon import english
from dimitra.speech.phonemes import PHONES, Interval, frame_phonemes
from dimitra.speech.sphinx import pieces, quietest
from dimitra.speech.transcript import Transcript, Word, dataset_transcript
from tests.speech.signals import RATE_HZ, boats


@pytest.fixture(scope="module")
def aligner() -> PhonemeAligner:
    return pocketsphinx_aligner(english(asset_path("g2p_en")))


def utterance(text: str | None = None) -> Utterance:
    return Utterance("a", boats().samples, dataset_transcript(text or boats().text, "en"))


def aligned(result: Alignment | ClipError) -> Alignment:
    assert isinstance(result, Alignment), result
    return result


def test_phones_follow_the_synthesisers_own_times(aligner: PhonemeAligner) -> None:
    result = aligned(aligner.align_all([utterance()])[0])
    truth = frame_phonemes(boats().phones, 77)
    assert np.mean(frame_phonemes(result.phones, 77) == truth) > 0.85
    assert [word.label for word in result.words] == boats().text.lower().rstrip(".").split()
    assert {phone.label for phone in result.phones} <= set(PHONES)
    borders = [phone.start_s for phone in result.phones] + [len(boats().samples) / RATE_HZ]
    assert borders[0] == 0
    assert [phone.end_s for phone in result.phones] == borders[1:]


def test_a_clip_does_not_depend_on_those_before_it(aligner: PhonemeAligner) -> None:
    first = aligned(aligner.align_all([utterance()])[0])
    noise = np.random.default_rng(0).normal(size=RATE_HZ).astype(np.float32) * 0.1
    results = aligner.align_all(
        [
            Utterance("b", boats().samples[:20_000] * 0.1, dataset_transcript("We found", "en")),
            utterance("far too many words for the sound " * 20),
            Utterance("n", noise, dataset_transcript("Zorblax", "en")),
            utterance(),
        ]
    )
    assert isinstance(results[1], ClipError)
    assert aligned(results[3]).phones == first.phones


def test_words_that_do_not_fit_are_unaligned(aligner: PhonemeAligner) -> None:
    (result,) = aligner.align_all([utterance("far too many words for the sound " * 20)])
    assert isinstance(result, ClipError)
    assert result.reason is Reason.UNALIGNED
    assert "of 140 words in 3.08 s" in result.message


@pytest.mark.parametrize(
    "steps",
    [
        np.zeros(48_000),
        np.full(48_000, 10.0),  # an offset is no sound
        np.where(np.arange(48_000) % 7 == 0, 2.0, 0.0),
        boats().samples * 0.3,
    ],
)
def test_digital_silence_is_unaligned(aligner: PhonemeAligner, steps: np.ndarray) -> None:
    samples = (steps / 32767).astype(np.float32)
    transcript = dataset_transcript(boats().text, "en")
    (result,) = aligner.align_all([Utterance("a", samples, transcript)])
    assert isinstance(result, ClipError)
    assert result.reason is Reason.UNALIGNED
    assert "digital silence" in result.message


def test_quiet_speech_is_aligned(aligner: PhonemeAligner) -> None:
    quiet = Utterance("a", boats().samples * 1e-3, dataset_transcript(boats().text, "en"))
    result = aligned(aligner.align_all([quiet])[0])
    truth = frame_phonemes(boats().phones, 77)
    assert np.mean(frame_phonemes(result.phones, 77) == truth) > 0.6


def test_samples_that_are_not_finite_are_refused(aligner: PhonemeAligner) -> None:
    samples = boats().samples.copy()
    samples[100] = np.nan
    (result,) = aligner.align_all([Utterance("a", samples, dataset_transcript(boats().text, "en"))])
    assert isinstance(result, ClipError)
    assert result.reason is Reason.BAD_SOUND
    assert result.message == "sample 100 is nan; need finite samples"


def test_a_word_that_cannot_be_pronounced_is_noise(aligner: PhonemeAligner) -> None:
    result = aligned(
        aligner.align_all([utterance("We found three small лод near the old stone")])[0]
    )
    assert "NSN" in {phone.label for phone in result.phones}


@pytest.mark.parametrize(
    ("transcript", "said"),
    [(Transcript("Это по-русски", "en", "asr"), "Cyrillic"),
     (Transcript("Das ist gut", "de", "asr"), "language is 'de'")],
)  # fmt: skip
def test_other_languages_are_refused(
    aligner: PhonemeAligner, transcript: Transcript, said: str
) -> None:
    results = aligner.align_all([utterance(), Utterance("a", boats().samples, transcript)])
    assert isinstance(results[0], Alignment)
    assert isinstance(results[1], ClipError)
    assert results[1].reason is Reason.BAD_TRANSCRIPT
    assert said in results[1].message


@pytest.mark.parametrize("hints", [False, True])
def test_a_long_file_is_cut_at_pauses(aligner: PhonemeAligner, hints: bool) -> None:
    times, length = 12, len(boats().samples) / RATE_HZ
    samples = np.tile(boats().samples, times)
    words = boats().text.split()
    text = " ".join(words * times)
    transcript = dataset_transcript(text, "en")
    if hints:
        heard = [
            Word(word, k * length + 0.2 + 0.27 * n, k * length + 0.45 + 0.27 * n)
            for k in range(times)
            for n, word in enumerate(words)
        ]
        transcript = Transcript(text, "en", "asr", tuple(heard))
    result = aligned(aligner.align_all([Utterance("long", samples, transcript)])[0])
    assert len(result.words) == times * len(words)
    truth = [
        Interval(phone.start_s + k * length, phone.end_s + k * length, phone.label)
        for k in range(times)
        for phone in boats().phones
    ]
    own, other = (frame_phonemes(phones, 77 * times) for phones in (result.phones, truth))
    assert np.mean(own == other) > 0.8
    starts = [word.start_s for word in result.words]
    assert starts == sorted(starts)


def test_pieces_end_at_the_longest_pause_within_reach() -> None:
    starts = [0.5, 4.0, 8.0, 12.0, 17.0, 21.0, 26.0, 33.0]
    words = [Interval(start, start + 2.0, "w") for start in starts]  # pauses: 1.5 to 5 s
    samples = np.full(40 * RATE_HZ, 0.1, dtype=np.float32)
    samples[round(15.2 * RATE_HZ) : round(15.3 * RATE_HZ)] = 0.0
    cut = pieces(words, samples, longest_s=20.0)
    assert [piece.words for piece in cut] == [(0, 4), (4, 7), (7, 8)]
    assert cut[0].start_s == 0
    assert 15.2 <= cut[0].end_s <= 15.3
    assert [piece.end_s for piece in cut[:-1]] == [piece.start_s for piece in cut[1:]]
    assert cut[-1].end_s == 40.0


def test_a_file_without_a_pause_is_one_piece() -> None:
    samples = np.zeros(60 * RATE_HZ, dtype=np.float32)
    assert len(pieces([Interval(0.0, 60.0, "w")], samples)) == 1


def test_the_quietest_point() -> None:
    samples = np.ones(RATE_HZ, dtype=np.float32)
    samples[8000:8160] = 0.0
    assert quietest(samples, 0.1, 0.9) == pytest.approx(0.505)
    assert quietest(samples, 2.0, 3.0) == 1.0
