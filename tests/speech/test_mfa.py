import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from dimitra.assets import asset_path
from dimitra.clips import ClipError, Reason
from dimitra.speech.aligners import mfa_aligner
from dimitra.speech.alignment import Alignment, Utterance
from dimitra.speech.lexicon import english
from dimitra.speech.mfa import MfaAligner
from dimitra.speech.mfa_program import Mfa, MfaError, MfaMissingError, find_mfa
from dimitra.speech.phonemes import Interval, frame_phonemes
from dimitra.speech.transcript import Transcript, dataset_transcript
from tests.speech.fake_mfa import FakeMfa
from tests.speech.signals import boats

NAMES = ("english_us_arpa", "english_us_arpa")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMfa:
    fake = FakeMfa(tmp_path)
    monkeypatch.setenv("MFA_ROOT_DIR", str(fake.root))
    return fake


def found(fake: FakeMfa) -> Mfa:
    return find_mfa(str(fake.command), *NAMES)


def aligner(fake: FakeMfa, start_s: float = 60.0) -> MfaAligner:
    return MfaAligner(found(fake), english(asset_path("g2p_en")), start_s, pace=0.1)


def utterance(clip_id: str, text: str | None = None) -> Utterance:
    sentence = boats()
    return Utterance(clip_id, sentence.samples, dataset_transcript(text or sentence.text, "en"))


def lay(fake: FakeMfa, clip_id: str) -> tuple[list[Interval], list[Interval]]:
    """The sentence's true times in MFA's labels: stress on vowels, silence without a label."""
    sentence = boats()
    duration_s = len(sentence.samples) / 16_000
    phones = [
        Interval(p.start_s, p.end_s, p.label + "1" if p.label[0] in "AEIOU" else p.label)
        for p in sentence.phones
        if p.label != "SIL"
    ]
    names = sentence.text.lower().rstrip(".").split()
    borders = np.linspace(phones[0].start_s, phones[-1].end_s, len(names) + 1).round(3)
    words = [
        Interval(float(borders[k]), float(borders[k + 1]), name) for k, name in enumerate(names)
    ]
    fake.lay(clip_id, words, phones, duration_s)
    return words, phones


def error_of(result: Alignment | ClipError) -> ClipError:
    assert isinstance(result, ClipError)
    return result


def test_a_batch_is_one_run_with_a_folder_a_clip(fake: FakeMfa) -> None:
    lay(fake, "a-0")
    words, _ = lay(fake, "b_1")
    results = aligner(fake).align_all([utterance("b_1"), utterance("a-0")])
    assert len(fake.calls) == 1
    arguments = fake.calls[0]
    assert arguments[0] == "align"
    assert arguments[5:7] == ["--output_format", "long_textgrid"]
    assert arguments[arguments.index("--num_jobs") + 1] == "1"
    assert "--single_speaker" not in arguments  # a folder is a speaker
    root, place = arguments[-2:]
    assert root.startswith(place)
    assert not Path(place).exists()
    for result in results:
        assert isinstance(result, Alignment)
        assert list(result.words) == words
        np.testing.assert_array_equal(
            frame_phonemes(result.phones, 77), frame_phonemes(boats().phones, 77)
        )
        assert result.phones[0].start_s == 0
        assert result.phones[-1].end_s == len(boats().samples) / 16_000
        assert result.log_likelihood == -47.5


def test_words_that_the_dictionary_lacks_are_pronounced(fake: FakeMfa) -> None:
    lay(fake, "a")
    aligner(fake).align_all([utterance("a")])
    added = set(fake.dictionary_seen.splitlines()) - set(
        found(fake).dictionary.read_text().splitlines()
    )
    assert added == {"old\tOW1 L D"}


def test_a_dictionary_in_the_ipa_is_used_as_it_is(fake: FakeMfa) -> None:
    dictionary = fake.folder / "ipa.dict"
    dictionary.write_text("we\t1.0\t0.1\t1.0\t1.0\tw i\nold\tow ɫ d\n")
    words, phones = lay(fake, "a")
    ipa = {"IY1": "iː", "OW1": "ow", "AW1": "aw", "TH": "θ", "DH": "ð", "JH": "dʒ", "S": "s",
           "AO1": "ɒː", "IH1": "ɪ", "R": "ɹ", "T": "tʰ", "AH1": "ə", "F": "f", "N": "n", "D": "d",
           "B": "b", "L": "ɫ", "M": "m", "W": "w", "P": "p", "K": "k", "AE1": "æ"}  # fmt: skip
    spelt = [Interval(p.start_s, p.end_s, ipa[p.label]) for p in phones]
    fake.lay("a", words, spelt, len(boats().samples) / 16_000)
    mfa = find_mfa(str(fake.command), str(dictionary), "english_us_arpa")
    (result,) = MfaAligner(mfa, None, 60.0).align_all([utterance("a")])
    assert isinstance(result, Alignment)
    read = {"ɒː": "AA"}
    labels = [p.label for p in result.phones if p.label != "SIL"]
    assert labels == [
        read.get(p.label, q.label.rstrip("1")) for p, q in zip(spelt, phones, strict=True)
    ]


def test_a_clip_that_is_left_out_is_unaligned(fake: FakeMfa) -> None:
    lay(fake, "a")
    lay(fake, "b")
    fake.behave(leave_out=["b"])
    good, bad = aligner(fake).align_all([utterance("a"), utterance("b")])
    assert isinstance(good, Alignment)
    assert error_of(bad).reason is Reason.UNALIGNED
    assert "left it out" in error_of(bad).message


def test_a_failure_carries_what_mfa_said(fake: FakeMfa) -> None:
    fake.behave(crash=["a"])
    with pytest.raises(MfaError, match=r"(?s)ended with 1.*KaldiProcessingError.*errors at a"):
        aligner(fake).align_all([utterance("a"), utterance("b")])


def test_a_run_that_hangs_is_ended(fake: FakeMfa) -> None:
    lay(fake, "b")
    fake.behave(hang=["a"])
    quick = aligner(fake, start_s=1.0)
    with pytest.raises(MfaError, match="not done after"):
        quick.align_all([utterance("a"), utterance("b")])
    (alone,) = quick.align_all([utterance("a")])
    assert error_of(alone).reason is Reason.DEADLINE


def test_overlapping_intervals_name_file_tier_and_times(fake: FakeMfa) -> None:
    _, phones = lay(fake, "a")
    grid = (fake.folder / "grids" / "a.TextGrid").read_text()
    first = phones[1]
    fake.lay_bytes("a", grid.replace(f"xmin = {first.start_s:g}\n", "xmin = 0.01\n").encode())
    (result,) = aligner(fake).align_all([utterance("a")])
    error = error_of(result)
    assert error.reason is Reason.UNALIGNED
    for part in ("a.TextGrid", "tier", "overlaps", "0.01-"):
        assert part in error.message


@pytest.mark.parametrize(
    ("words", "phones", "duration_s", "said"),
    [
        ([Interval(0, 1, "we")], [Interval(0.5, 1.0, "Ω")], 3.08, "tier 'phones', 0.5-1.0 s"),
        ([Interval(0, 1, "we")], [Interval(0.5, 1.0, "AA1")], 9.0, "lasts 9.000 s"),
        ([Interval(0, 1, "us")], [Interval(0.5, 1.0, "AA1")], 3.08, "'us' in place of 'we'"),
        ([], [Interval(0.5, 1.0, "AA1")], 3.08, "nothing in its tier words"),
    ],
)  # fmt: skip
def test_a_bad_textgrid_is_named(
    fake: FakeMfa, words: list[Interval], phones: list[Interval], duration_s: float, said: str
) -> None:
    fake.lay("a", words, phones, duration_s)
    (result,) = aligner(fake).align_all([utterance("a", "we")])
    assert error_of(result).reason is Reason.UNALIGNED
    assert said in error_of(result).message


def test_words_that_mfa_cuts_or_does_not_know_keep_their_times(fake: FakeMfa) -> None:
    words = [Interval(0.1, 0.3, "we"), Interval(0.3, 0.4, "'ve"), Interval(0.5, 1.0, "<unk>")]
    fake.lay("a", words, [Interval(0.1, 0.4, "W"), Interval(0.5, 1.0, "spn")], 3.08)
    (result,) = aligner(fake).align_all([utterance("a", "We've Zorblax!")])
    assert isinstance(result, Alignment)
    assert result.words == (Interval(0.1, 0.4, "we've"), Interval(0.5, 1.0, "zorblax"))
    assert [p.label for p in result.phones] == ["SIL", "W", "SIL", "NSN", "SIL"]


def test_another_script_is_refused_before_the_run(fake: FakeMfa) -> None:
    russian = Utterance("a", boats().samples, Transcript("Привет, как дела?", "ru", "asr"))
    (result,) = aligner(fake).align_all([russian])
    assert error_of(result).reason is Reason.BAD_TRANSCRIPT
    assert "Cyrillic (Приветкадл)" in error_of(result).message
    assert fake.calls == []


def test_what_is_missing_is_said_with_the_way_to_get_it(fake: FakeMfa, tmp_path: Path) -> None:
    with pytest.raises(MfaMissingError, match="conda create"):
        find_mfa(str(tmp_path / "none"), *NAMES)
    with pytest.raises(MfaMissingError, match="mfa model download acoustic german_mfa"):
        find_mfa(str(fake.command), "english_us_arpa", "german_mfa")
    fake.version("2.2.17")
    with pytest.raises(MfaError, match=r"version 2\.2\.17; version 3 is needed"):
        found(fake)


def test_a_worker_with_another_mfa_stops(fake: FakeMfa) -> None:
    identity = found(fake).identity()
    assert identity["version"] == "3.3.8"
    fake.version("3.1.0")
    with pytest.raises(MfaError, match=r"version 3\.1\.0 for 3\.3\.8"):
        mfa_aligner(str(fake.command), *NAMES, identity, None)


@pytest.mark.skipif(shutil.which("mfa") is None, reason="Montreal Forced Aligner is not installed")
def test_the_real_mfa() -> None:
    try:
        mfa = find_mfa("mfa", *NAMES)
    except MfaMissingError as error:
        pytest.skip(str(error))
    sentence = boats()
    (result,) = MfaAligner(mfa, english(asset_path("g2p_en"))).align_all([utterance("a")])
    assert isinstance(result, Alignment)
    assert not math.isnan(result.log_likelihood)
    truth = frame_phonemes(sentence.phones, 77)
    assert np.mean(frame_phonemes(result.phones, 77) == truth) > 0.7
