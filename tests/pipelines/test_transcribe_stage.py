import json
from dataclasses import replace

import pytest

from dimitra.clips import ClipError, Reason
from pipelines.transcribe import make_worker
from tests.pipelines.speech_clips import CLIP
from tests.speech.signals import boats

PARAMS = {"model": "whisper_tiny_en", "language": "en", "beam_size": 1}


def test_a_clip_without_text_is_listened_to() -> None:
    parts = make_worker({**PARAMS, "listens": True})(CLIP, {"flac": boats().flac})
    transcript = json.loads(parts["transcript.json"])
    assert set(parts) == {"transcript.json"}
    assert transcript["text"] == boats().text
    assert transcript["source"] == "asr"
    assert set(transcript["words"][0]) == {"word", "start_s", "end_s"}


def test_the_datasets_own_text_is_taken_without_listening() -> None:
    clip = replace(CLIP, transcript="Quite another text.")
    parts = make_worker({**PARAMS, "listens": False})(clip, {"flac": b"not read"})
    assert json.loads(parts["transcript.json"]) == {
        "text": "Quite another text.", "language": "en", "source": "dataset", "words": [],
    }  # fmt: skip


def test_the_language_of_a_text_is_heard_where_it_is_not_told() -> None:
    clip = replace(CLIP, transcript="Quite another text.")
    worker = make_worker({**PARAMS, "language": "auto", "listens": True})
    transcript = json.loads(worker(clip, {"flac": boats().flac})["transcript.json"])
    assert transcript["text"] == "Quite another text."
    assert transcript["language"] == "en"
    assert transcript["source"] == "dataset"


def test_an_empty_text_is_no_transcript() -> None:
    with pytest.raises(ClipError) as caught:
        make_worker({**PARAMS, "listens": False})(replace(CLIP, transcript=" "), {})
    assert caught.value.reason is Reason.NO_TRANSCRIPT
