"""Alignment is checked against times that are known because the sound was made from them."""

from pathlib import Path

import numpy as np
import pytest

from dimitra.clips import ClipError, Reason
from dimitra.speech.acoustics import acoustic_features
from dimitra.speech.aligner import Aligner, _parse_words
from dimitra.speech.aligner_training import Utterance, train_aligner
from dimitra.speech.phonemes import frame_phonemes
from dimitra.speech.words import SpokenWord
from tests.speech.signals import RATE_HZ, TONE_LEXICON, tone_utterance


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    clips = [tone_utterance(seed) for seed in range(24)]
    utterances = [
        Utterance(
            f"clip-{k:02d}",
            acoustic_features(clip.samples),
            tuple(TONE_LEXICON.pronunciations(word) for word in clip.spoken),
        )
        for k, clip in enumerate(clips)
    ]
    return train_aligner(utterances, iterations=12, max_gaussians=140, seed=0)[0]


def test_unseen_clips_are_aligned_to_their_known_times(aligner: Aligner) -> None:
    errors, agreement = [], []
    for seed in range(100, 110):
        clip = tone_utterance(seed)
        found = aligner.align(clip.samples, clip.spoken, TONE_LEXICON)
        frames = len(clip.samples) // 640
        truth = frame_phonemes(clip.phones, frames)
        agreement.append((frame_phonemes(found.phones, frames) == truth).mean())
        assert [p.label for p in found.phones] == [p.label for p in clip.phones]
        errors += [
            abs(a.start_s - b.start_s) for a, b in zip(found.phones, clip.phones, strict=True)
        ]
    assert np.median(errors) < 0.011
    assert np.quantile(errors, 0.95) < 0.031
    assert np.mean(agreement) > 0.9


def test_phones_fill_the_clip_and_words_hold_whole_phones(aligner: Aligner) -> None:
    clip = tone_utterance(200)
    found = aligner.align(clip.samples, clip.spoken, TONE_LEXICON)
    assert found.phones[0].start_s == 0.0
    assert found.phones[-1].end_s == len(clip.samples) / RATE_HZ
    for before, after in zip(found.phones[:-1], found.phones[1:], strict=True):
        assert before.end_s == after.start_s
    assert [word.label for word in found.words] == [word.word for word in clip.spoken]
    starts = {phone.start_s for phone in found.phones}
    ends = {phone.end_s for phone in found.phones}
    for word in found.words:
        assert word.start_s in starts
        assert word.end_s in ends
        inside = [p for p in found.phones if word.start_s <= p.start_s < word.end_s]
        assert "SIL" not in {phone.label for phone in inside}


def test_too_many_words_cannot_be_aligned(aligner: Aligner) -> None:
    spoken = [SpokenWord("sea", k) for k in range(40)]
    with pytest.raises(ClipError, match="40 words need at least 2.40 s") as caught:
        aligner.align(np.zeros(RATE_HZ, dtype=np.float32), spoken, TONE_LEXICON)
    assert caught.value.reason is Reason.UNALIGNED


def test_an_unseen_phone_can_still_be_aligned(aligner: Aligner) -> None:
    spoken = [SpokenWord("привет", 0)]
    sound = tone_utterance(3).samples
    assert aligner.align(sound, spoken, TONE_LEXICON).words[0].label == "привет"


def test_saved_and_loaded_aligners_agree(aligner: Aligner, tmp_path: Path) -> None:
    aligner.save(tmp_path)
    loaded = Aligner.load(tmp_path)
    clip = tone_utterance(300)
    found = loaded.align(clip.samples, clip.spoken, TONE_LEXICON)
    assert found == aligner.align(clip.samples, clip.spoken, TONE_LEXICON)
    (tmp_path / "aligner.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match="run the stage align_train again"):
        Aligner.load(tmp_path)


def test_words_are_found_among_phones_with_backtracking() -> None:
    pronunciations = [[("AH", "N"), ("AH",)], [("N", "OW"), ("OW",)], [("N", "OW")]]
    labels = ["SIL", "AH", "N", "OW", "SIL", "N", "OW"]
    assert _parse_words(labels, pronunciations) == [(1, 3), (3, 4), (5, 7)]
    labels = ["AH", "SIL", "N", "OW", "N", "OW", "SIL"]
    assert _parse_words(labels, pronunciations) == [(0, 1), (2, 4), (4, 6)]
