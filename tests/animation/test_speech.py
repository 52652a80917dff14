from pathlib import Path

import numpy as np
import pytest

from dimitra.animation.driving import drive_of
from dimitra.animation.errors import AnimationError
from dimitra.animation.settings import Settings, read_settings
from dimitra.animation.sound import Sound, read_sound
from dimitra.animation.speech import listen
from dimitra.animation.transcript import read_transcript
from dimitra.assets import asset_path
from dimitra.clips import ClipError, Reason
from dimitra.shards import read_npz
from dimitra.speech.aligners import pocketsphinx_aligner
from dimitra.speech.alignment import Alignment, PhonemeAligner, Utterance
from dimitra.speech.encoders import load_speech_encoder, load_text_encoder
from dimitra.speech.lexicon import english
from dimitra.speech.phonemes import NOISE_ID, SILENCE_ID
from dimitra.speech.transcript import WhisperRecogniser
from pipelines import speech
from tests.animation.toy import SAMPLE, sentence, wav
from tests.speech.signals import boats


@pytest.fixture(scope="module")
def settings() -> Settings:
    return read_settings(SAMPLE)


@pytest.fixture(scope="module")
def aligner() -> PhonemeAligner:
    return pocketsphinx_aligner(english(asset_path("g2p_en")))


def read(data: bytes, folder: Path, settings: Settings) -> Sound:
    return read_sound(data, folder, settings.limits, lambda *_: None)


def test_the_drive_is_what_the_stages_make(
    tmp_path: Path, settings: Settings, aligner: PhonemeAligner
) -> None:
    sound = read(sentence(), tmp_path, settings)
    told: list[str] = []
    drive, text = drive_of(sound, tmp_path, settings, tmp_path, None, lambda *_: None, told.append)
    assert [notice.split(":")[0] for notice in told] == [f"{tmp_path / 'aligner'} holds no aligner"]
    section = settings.speech
    heard = WhisperRecogniser(asset_path("whisper_tiny_en"), "en", 1).transcribe(
        np.array(sound.samples)
    )
    assert text == heard.text
    (found,) = aligner.align_all([Utterance("a", np.array(sound.samples), heard)])
    assert isinstance(found, Alignment)
    encoder = load_speech_encoder(
        section.encoder, asset_path(section.encoder_weights), section.block_s, section.overlap_s
    )
    texts = load_text_encoder(section.text_encoder, asset_path(section.text_encoder_weights), 77)
    spoken = read_npz(speech.speech_part(np.array(sound.samples), found, encoder))
    written = read_npz(speech.text_part(heard, found, sound.duration_s, texts, 10.0, 77))
    assert np.array_equal(drive.features, spoken["features"])
    assert drive.rate_hz == float(spoken["rate_hz"])
    assert np.array_equal(drive.phonemes, spoken["phonemes"])
    assert np.array_equal(drive.text_tokens, written["tokens"])
    assert np.array_equal(drive.text_mask, written["mask"])
    assert np.array_equal(drive.text_start_s, written["start_s"])


def test_long_speech_is_heard_in_passages(
    tmp_path: Path, settings: Settings, aligner: PhonemeAligner
) -> None:
    pause = np.zeros(16_000, np.float32)
    long = np.concatenate([np.concatenate([boats().samples, pause])] * 10)
    sound = read(wav(long), tmp_path, settings)
    seconds: list[int] = []
    told: list[str] = []
    spoken = listen(
        sound, settings, aligner, None, told.append, lambda done, _: seconds.append(done)
    )
    assert len(seconds) > 1
    assert seconds[-1] == round(sound.duration_s)
    assert spoken.text.lower().count("boats") >= 9
    assert list(spoken.starts_s) == sorted(spoken.starts_s)
    one, last = spoken.phonemes(sound.frames)[:77], spoken.phonemes(sound.frames)[-102:-25]
    assert np.mean(one == last) > 0.8
    assert told == []


def test_given_words_are_aligned(
    tmp_path: Path, settings: Settings, aligner: PhonemeAligner
) -> None:
    sound = read(sentence(), tmp_path, settings)
    spoken = listen(sound, settings, aligner, boats().text, pytest.fail, lambda *_: None)
    assert spoken.text == boats().text
    with pytest.raises(AnimationError, match=r"the transcript cannot be used: .* holds no word"):
        listen(sound, settings, aligner, " ... ", pytest.fail, lambda *_: None)
    with pytest.raises(AnimationError, match=r"the transcript cannot be used"):
        listen(sound, settings, aligner, "Что за день", pytest.fail, lambda *_: None)


def test_words_that_do_not_fit_leave_the_sound(
    tmp_path: Path, settings: Settings, aligner: PhonemeAligner
) -> None:
    sound = read(sentence(), tmp_path, settings)
    told: list[str] = []
    many = "far too many words for the sound " * 20
    spoken = listen(sound, settings, aligner, many, told.append, lambda *_: None)
    assert set(spoken.phonemes(sound.frames)) == {NOISE_ID}
    assert "0 to 3 s: words and sound cannot be aligned" in told[0]


def test_sound_without_words(
    tmp_path: Path, settings: Settings, aligner: PhonemeAligner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: object) -> None:
        raise ClipError(Reason.NO_TRANSCRIPT, "no word")

    monkeypatch.setattr(WhisperRecogniser, "transcribe", nothing)
    music = 0.1 * np.sin(np.arange(31 * 16_000) * 0.2)
    music[15 * 16_000 :] = 0.0
    sound = read(wav(music), tmp_path, settings)
    told: list[str] = []
    spoken = listen(sound, settings, aligner, None, told.append, lambda *_: None)
    assert set(spoken.phonemes(sound.frames)[:370]) == {NOISE_ID}
    assert set(spoken.phonemes(sound.frames)[380:]) == {SILENCE_ID}
    assert told[0].startswith("no word was recognised in 31 of the 31 s of <")


def test_a_long_recording_with_its_text(
    tmp_path: Path, settings: Settings, aligner: PhonemeAligner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dimitra.animation.speech.TRANSCRIPT_S", 2.0)
    sound = read(sentence(), tmp_path, settings)
    with pytest.raises(AnimationError, match=r"lasts 3 s; with a transcript it may last 2. Leave"):
        listen(sound, settings, aligner, "the boats", pytest.fail, lambda *_: None)


def test_a_transcript_is_a_file_or_words(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_bytes("\ufeffWhat a day.".encode())
    assert read_transcript(str(file)) == "What a day."
    assert read_transcript("Hello") == "Hello"
    assert read_transcript("What a day.") == "What a day."
    assert read_transcript("U.S.A") == "U.S.A"
    assert read_transcript("\u65e5" * 100) == "\u65e5" * 100
    spaced = tmp_path / "my own words.txt"
    spaced.write_text("What a night.")
    assert read_transcript(str(spaced)) == "What a night."
    with pytest.raises(AnimationError, match=r"none.txt: no such transcript file"):
        read_transcript(str(tmp_path / "none.txt"))
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AnimationError, match=r"is no text in UTF-8"):
        read_transcript(str(file))
