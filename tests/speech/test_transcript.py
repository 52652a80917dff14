import json
from pathlib import Path

import numpy as np
import pytest

from dimitra.assets import asset_path
from dimitra.clips import ClipError, Reason
from dimitra.speech.transcript import (
    RecogniserError,
    Transcript,
    WhisperRecogniser,
    Word,
    dataset_transcript,
)
from tests.speech.signals import RATE_HZ, boats


@pytest.fixture(scope="module")
def whisper() -> WhisperRecogniser:
    return WhisperRecogniser(asset_path("whisper_tiny_en"), "en", 1)


def test_whisper_writes_down_the_sentence(whisper: WhisperRecogniser) -> None:
    sentence = boats()
    heard = whisper.transcribe(sentence.samples)
    assert heard.text == sentence.text
    assert heard.source == "asr"
    assert [word.word for word in heard.words] == sentence.text.split()
    times = [time for word in heard.words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= len(sentence.samples) / RATE_HZ
    assert whisper.transcribe(sentence.samples).to_bytes() == heard.to_bytes()


@pytest.mark.parametrize("level", [0.0, 0.01])
def test_no_speech_is_no_transcript(whisper: WhisperRecogniser, level: float) -> None:
    noise = np.random.default_rng(0).normal(size=3 * RATE_HZ) * level
    with pytest.raises(ClipError) as caught:
        whisper.transcribe(noise.astype(np.float32))
    assert caught.value.reason is Reason.NO_TRANSCRIPT


def test_an_incomplete_model_never_goes_to_the_network(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.bin"):
        WhisperRecogniser(tmp_path, "en", 1)
    for name in ("config.json", "model.bin", "tokenizer.json"):
        (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError, match=r"vocabulary\.json or vocabulary\.txt"):
        WhisperRecogniser(tmp_path, "en", 1)


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_model_is_named(tmp_path: Path, name: str, share: float) -> None:
    for file in asset_path("whisper_tiny_en").iterdir():
        if file.name != name:
            (tmp_path / file.name).symlink_to(file)
    data = (asset_path("whisper_tiny_en") / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * share)])
    with pytest.raises(RecogniserError, match=f"Whisper model {tmp_path} cannot be loaded"):
        WhisperRecogniser(tmp_path, "en", 1)


def test_a_vocabulary_in_json_is_read_too(tmp_path: Path) -> None:
    """Converters write one form or the other; both models give the same text."""
    for file in asset_path("whisper_tiny_en").iterdir():
        if file.name != "vocabulary.txt":
            (tmp_path / file.name).symlink_to(file)
    lines = (asset_path("whisper_tiny_en") / "vocabulary.txt").read_text().splitlines()
    (tmp_path / "vocabulary.json").write_text(json.dumps(lines))
    heard = WhisperRecogniser(tmp_path, "en", 1).transcribe(boats().samples)
    assert heard.text == boats().text


def test_an_english_model_recognises_english_alone() -> None:
    recogniser = WhisperRecogniser(asset_path("whisper_tiny_en"), "auto", 1)
    assert recogniser.language(boats().samples) == "en"
    assert recogniser.transcribe(boats().samples).language == "en"
    with pytest.raises(ValueError, match="does not know the language 'de'.*it knows: en"):
        WhisperRecogniser(asset_path("whisper_tiny_en"), "de", 1)


def test_a_text_in_another_script_than_its_language_is_refused() -> None:
    with pytest.raises(ClipError, match="Cyrillic .Приветкадл.*language 'en'") as caught:
        dataset_transcript("Привет, как дела?", "en")
    assert caught.value.reason is Reason.BAD_TRANSCRIPT
    assert dataset_transcript("Привет, как дела?", "ru").language == "ru"


def test_dataset_text_is_kept() -> None:
    transcript = dataset_transcript(" It cost\n $5. ", "en")
    assert transcript == Transcript("It cost $5.", "en", "dataset")


@pytest.mark.parametrize("text", ["", "  ", "... — !"])
def test_dataset_text_without_words_is_no_transcript(text: str) -> None:
    with pytest.raises(ClipError) as caught:
        dataset_transcript(text, "en")
    assert caught.value.reason is Reason.NO_TRANSCRIPT


def test_bytes_round_trip() -> None:
    transcript = Transcript("naïve “word”", "en", "asr", (Word("naïve", 0.1, 0.52),))
    assert Transcript.from_bytes(transcript.to_bytes()) == transcript
    with pytest.raises(ValueError, match="keys"):
        Transcript.from_bytes(b'{"text": "a"}')
