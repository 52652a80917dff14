import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from dimitra.clips import Clip, ClipError, Reason
from dimitra.media.audio import encode_flac
from dimitra.shards import read_npz
from dimitra.speech.acoustics import FEATURE_DIM, FRAME_S, acoustic_features
from dimitra.speech.aligner import PDFS, STATES, Aligner, Mixtures
from dimitra.speech.errors import EncoderError
from dimitra.speech.mfa_program import MfaMissingError
from dimitra.speech.phonemes import PHONE_IDS, PHONES, Interval, frame_phonemes
from dimitra.speech.textgrid import read_textgrid
from dimitra.speech.transcript import dataset_transcript
from pipelines.params import Params, SpeechParams, load, parse
from pipelines.runtime.workers import BatchWorker
from pipelines.speech import make_worker, packages_of
from pipelines.training.aligning import aligner_inputs, aligner_params, lexicon_assets
from tests.pipelines.speech_clips import CLIP
from tests.speech.fake_mfa import FakeMfa
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


ENCODERS = {
    "encoder": "moonshine_base",
    "encoder_weights": "moonshine_encoder",
    "block_s": 10.0,
    "overlap_s": 3.0,
    "device": "cpu",
    "text_encoder": "minilm_l6",
    "text_encoder_weights": "minilm_l6",
    "text_tokens": 12,
    "text_cell_s": 2.0,
}
ALIGNER = {"aligner": "gmm", "unaligned": "quarantine", "dictionary": None, "language": "en"}
Worker = Callable[[Clip, dict[str, bytes]], dict[str, bytes]]


def one_by_one(worker: BatchWorker) -> Worker:
    def run(clip: Clip, parts: dict[str, bytes]) -> dict[str, bytes]:
        (result,) = worker.many([clip], [worker.load(clip, parts)])
        if isinstance(result, ClipError):
            raise result
        return result

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aligner")
    taught().save(folder)
    return folder


@pytest.fixture(scope="module")
def worker(folder: Path) -> Worker:
    return one_by_one(make_worker({**ENCODERS, **ALIGNER, "aligner_folder": str(folder)}))


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
        make_worker({**ENCODERS, **ALIGNER, "aligner_folder": str(tmp_path)})


def test_a_clip_that_does_not_fit_is_marked_where_that_is_asked_for(folder: Path) -> None:
    params = {**ENCODERS, **ALIGNER, "aligner_folder": str(folder), "unaligned": "mark"}
    parts = one_by_one(make_worker(params))(CLIP, parts_of("far too many words here " * 20))
    assert (read_npz(parts["speech.npz"])["phonemes"] == PHONE_IDS["NSN"]).all()
    starts = read_npz(parts["text.npz"])["start_s"]
    assert len(starts) > 2
    assert (np.diff(starts) > 0).all()


def test_a_batch_keeps_the_order_and_one_bad_clip_costs_itself(folder: Path) -> None:
    worker = make_worker({**ENCODERS, **ALIGNER, "aligner_folder": str(folder)})
    assert isinstance(worker, BatchWorker)
    texts = [boats().text, "far too many words here " * 20, "We found three boats."]
    loaded = [worker.load(CLIP, parts_of(text)) for text in texts]
    good, bad, other = worker.many([CLIP] * 3, loaded)
    assert isinstance(bad, ClipError)
    assert good == one_by_one(worker)(CLIP, parts_of(texts[0]))
    assert other == one_by_one(worker)(CLIP, parts_of(texts[2]))


def test_pocketsphinx_needs_no_training() -> None:
    params = {**ENCODERS, **ALIGNER, "aligner": "pocketsphinx"}
    parts = one_by_one(make_worker(params))(CLIP, parts_of(boats().text))
    phonemes = read_npz(parts["speech.npz"])["phonemes"]
    assert np.mean(phonemes == frame_phonemes(boats().phones, FRAMES)) > 0.85


def section(**speech: object) -> Params:
    values = yaml.safe_load((Path(__file__).parents[2] / "conf" / "sample.yaml").read_text())
    values["speech"] |= speech
    return parse(values)


def test_mfa_aligns_the_whole_batch_in_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeMfa(tmp_path)
    monkeypatch.setenv("MFA_ROOT_DIR", str(fake.root))
    words = [Interval(0.2, 1.0, "we"), Interval(1.0, 2.0, "found")]
    fake.lay(CLIP.clip_id, words, [Interval(0.2, 1.0, "IY1"), Interval(1.0, 2.0, "spn")], 3.08)
    chosen = aligner_params(section(aligner="mfa", mfa={"command": str(fake.command)}))
    assert chosen["mfa"]["identity"]["version"] == "3.3.8"
    worker = make_worker({**ENCODERS, **chosen})
    other = replace(CLIP, clip_id="other")
    loaded = [worker.load(clip, parts_of("We found")) for clip in (CLIP, other)]
    good, bad = worker.many([CLIP, other], loaded)
    assert len(fake.calls) == 1
    assert isinstance(bad, ClipError)
    assert bad.reason is Reason.UNALIGNED
    assert isinstance(good, dict)
    phonemes = read_npz(good["speech.npz"])["phonemes"]
    expected = [PHONES[k] for k in phonemes]
    assert expected == ["SIL"] * 5 + ["IY"] * 20 + ["NSN"] * 25 + ["SIL"] * 27


def test_what_the_aligner_depends_on_follows_the_choice(tmp_path: Path) -> None:
    assert aligner_inputs(section()) == (Path("models/aligner"),)
    assert aligner_inputs(section(aligner="pocketsphinx")) == ()
    assert lexicon_assets(section()) == ("g2p_en",)
    with pytest.raises(MfaMissingError, match="conda create"):
        aligner_params(section(aligner="mfa", mfa={"command": str(tmp_path / "mfa")}))


def test_the_encoders_packages_enter_the_key() -> None:
    assert packages_of("moonshine_base")[0] == "onnxruntime"
    assert "transformers" not in packages_of("moonshine_base")
    assert "transformers" in packages_of("wavlm_large")
    assert {"tokenizers", "torch"} <= set(packages_of("moonshine_base"))


def test_a_package_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(
        EncoderError, match="wav2vec2_base needs torchaudio, which is not installed"
    ) as caught:
        packages_of("wav2vec2_base")
    assert "pip install -c constraints.txt -e '.[gpu]'" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "cuda"}, "'cuda', but moonshine_base runs in ONNX Runtime on the CPU"),
        ({"text_encoder": "clip_vit_b32", "text_tokens": 78}, "clip_vit_b32 takes at most 77"),
        ({"overlap_s": 5.5}, "at most half of block_s"),
    ],
)
def test_settings_that_the_encoders_cannot_follow(changes: dict[str, Any], message: str) -> None:
    values = load("conf/sample.yaml").speech.model_dump()
    SpeechParams.model_validate(values)
    with pytest.raises(ValidationError, match=message):
        SpeechParams.model_validate(values | changes)
