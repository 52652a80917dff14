import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from dimitra.clips import ClipError, Reason
from dimitra.media.audio import encode_flac
from dimitra.shards import read_npz
from dimitra.speech.acoustics import FEATURE_DIM, FRAME_S, acoustic_features
from dimitra.speech.aligner import PDFS, STATES, Aligner, Mixtures
from dimitra.speech.errors import EncoderError
from dimitra.speech.phonemes import PHONE_IDS, PHONES, frame_phonemes
from dimitra.speech.textgrid import read_textgrid
from dimitra.speech.transcript import dataset_transcript
from pipelines.params import SpeechParams, load
from pipelines.speech import make_worker, packages_of
from pipelines.workers import Worker
from tests.pipelines.speech_clips import CLIP
from tests.speech.signals import boats

FRAMES = 77


def taught() -> Aligner:
    """An aligner whose states are estimated from the sentence's true times, one Gaussian each."""
    sentence = boats()
    features = acoustic_features(sentence.samples)
    means = np.zeros((PDFS, FEATURE_DIM), dtype=np.float32)
    variances = np.ones((PDFS, FEATURE_DIM), dtype=np.float32)
    owned: dict[int, list[np.ndarray]] = {}
    for phone in sentence.phones:
        frames = np.arange(round(phone.start_s / FRAME_S), round(phone.end_s / FRAME_S))
        for state, part in enumerate(np.array_split(frames, STATES)):
            owned.setdefault(PHONE_IDS[phone.label] * STATES + state, []).append(features[part])
    for pdf, pieces in owned.items():
        means[pdf] = np.concatenate(pieces).mean(axis=0)
        variances[pdf] = 0.3
    offsets = np.arange(PDFS + 1, dtype=np.int32)
    mixtures = Mixtures(offsets, np.ones(PDFS, dtype=np.float32), means, variances)
    return Aligner(mixtures, np.zeros(2 * PDFS + 1))


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    folder = tmp_path_factory.mktemp("aligner")
    taught().save(folder)
    return make_worker(
        {
            "encoder": "moonshine_base",
            "encoder_weights": "moonshine_encoder",
            "block_s": 10.0,
            "overlap_s": 3.0,
            "device": "cpu",
            "text_encoder": "minilm_l6",
            "text_encoder_weights": "minilm_l6",
            "text_tokens": 12,
            "text_cell_s": 2.0,
            "aligner": str(folder),
        }
    )


def parts_of(text: str) -> dict[str, bytes]:
    return {"flac": boats().flac, "transcript.json": dataset_transcript(text, "en").to_bytes()}


def test_parts_have_the_shapes_of_the_contract(worker: Worker) -> None:
    parts = worker(CLIP, parts_of(boats().text))
    assert set(parts) == {"speech.npz", "text.npz", "TextGrid"}
    speech, text = read_npz(parts["speech.npz"]), read_npz(parts["text.npz"])
    assert speech["features"].shape == (129, 416)
    assert speech["features"].dtype == np.float16
    assert speech["rate_hz"].shape == ()
    assert speech["rate_hz"].dtype == np.float32
    assert speech["rate_hz"] == pytest.approx(16_000 / 384)
    assert speech["phonemes"].shape == (FRAMES,)
    assert speech["phonemes"].dtype == np.int16
    # The sentence has 13 tokens with its marks, one more than the limit: cut on the grid.
    assert text["start_s"].tolist() == [0.0, 2.0]
    assert text["tokens"].shape[0] == 2
    assert text["tokens"].shape[2] == 384
    assert text["tokens"].dtype == np.float16
    assert text["mask"].dtype == np.bool_
    assert text["mask"].shape == text["tokens"].shape[:2]
    assert worker(CLIP, parts_of(boats().text)) == parts


def test_phonemes_follow_the_synthesisers_own_times(worker: Worker) -> None:
    parts = worker(CLIP, parts_of(boats().text))
    grid = read_textgrid(parts["TextGrid"])
    assert [word.label for word in grid["words"]] == boats().text.lower().rstrip(".").split()
    phonemes = read_npz(parts["speech.npz"])["phonemes"]
    np.testing.assert_array_equal(phonemes, frame_phonemes(grid["phones"], FRAMES))
    truth = frame_phonemes(boats().phones, FRAMES)
    agreement = np.mean(phonemes == truth)
    assert agreement > 0.85, [PHONES[k] for k in phonemes]


def test_a_text_that_does_not_fit_the_sound_is_quarantined(worker: Worker) -> None:
    with pytest.raises(ClipError) as caught:
        worker(CLIP, parts_of("far too many words for the sound " * 10))
    assert caught.value.reason is Reason.UNALIGNED


def test_a_symbol_that_is_not_spoken_keeps_the_words_times(worker: Worker) -> None:
    parts = worker(CLIP, parts_of("We found three — small boats near the old stone bridge …"))
    assert read_npz(parts["text.npz"])["mask"].any(axis=1).all()


def test_silence_with_a_text_is_still_finite(worker: Worker) -> None:
    flac = encode_flac(np.zeros(FRAMES * 640, dtype=np.float32))
    parts = worker(CLIP, {**parts_of("We found three boats."), "flac": flac})
    assert np.isfinite(read_npz(parts["speech.npz"])["features"].astype(np.float32)).all()


def test_no_aligner_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make_worker({"aligner": str(tmp_path)})


def test_the_encoders_packages_enter_the_key() -> None:
    assert packages_of("moonshine_base")[0] == "onnxruntime"
    assert "transformers" not in packages_of("moonshine_base")
    assert "transformers" in packages_of("wavlm_large")
    assert {"tokenizers", "torch"} <= set(packages_of("moonshine_base"))


def test_a_package_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(
        EncoderError, match="wav2vec2_base needs torchaudio, which is not installed"
    ):
        packages_of("wav2vec2_base")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "cuda"}, "'cuda', but moonshine_base runs in ONNX Runtime on the CPU"),
        ({"text_encoder": "clip_vit_b32", "text_tokens": 78}, "clip_vit_b32 takes at most 77"),
        ({"overlap_s": 5.5}, "at most half of block_s"),
    ],
)
def test_settings_that_the_encoders_cannot_follow(changes: dict[str, Any], message: str) -> None:
    section = load("conf/sample.yaml").speech.model_dump()
    SpeechParams.model_validate(section)
    with pytest.raises(ValidationError, match=message):
        SpeechParams.model_validate(section | changes)
