import sys
from pathlib import Path

import pytest
import torch

from dimitra.assets import asset_path
from dimitra.speech.encoders import (
    SPEECH_MODELS,
    TEXT_DIMS,
    load_speech_encoder,
    load_text_encoder,
)
from dimitra.speech.errors import EncoderError, WeightsError
from pipelines.params import SpeechParams
from tests.speech import test_clip_text, test_wav2vec, test_wav2vec2
from tests.speech.signals import boats


def test_the_names_are_those_of_the_parameters() -> None:
    fields = SpeechParams.model_fields
    assert set(SPEECH_MODELS) == set(fields["encoder"].annotation.__args__)  # type: ignore[union-attr]
    assert set(TEXT_DIMS) == set(fields["text_encoder"].annotation.__args__)  # type: ignore[union-attr]


def test_moonshine_by_name() -> None:
    encoder = load_speech_encoder("moonshine_base", asset_path("moonshine_encoder"), 10.0, 3.0)
    model = SPEECH_MODELS["moonshine_base"]
    assert (encoder.rate_hz, encoder.dim) == (model.rate_hz, model.dim)
    samples = boats().samples
    assert encoder.encode(samples).shape == (-(-len(samples) // model.stride), model.dim)


def test_minilm_by_name() -> None:
    encoder = load_text_encoder("minilm_l6", asset_path("minilm_l6"), 77)
    assert encoder.dim == TEXT_DIMS["minilm_l6"]


def test_rates_are_the_published_ones() -> None:
    rates = {name: round(model.rate_hz, 2) for name, model in SPEECH_MODELS.items()}
    assert rates == {
        "moonshine_base": 41.67, "wav2vec2_xlsr53_english": 50.0, "wavlm_large": 50.0,
        "wav2vec2_base": 50.0, "wav2vec_large": 100.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "model_type"), [("wav2vec2_xlsr53_english", "wav2vec2"), ("wavlm_large", "wavlm")]
)
def test_a_smaller_model_of_the_same_kind_is_refused(
    tmp_path: Path, name: str, model_type: str
) -> None:
    test_wav2vec2.save(tmp_path, model_type)
    with pytest.raises(WeightsError, match="gives 16 values every 320 samples; .* 1024 every 320"):
        load_speech_encoder(name, tmp_path, 10.0, 3.0)


def test_other_wav2vec_or_clip_weights_are_refused(tmp_path: Path) -> None:
    path = test_wav2vec.save(tmp_path / "w.pt", test_wav2vec.weights())
    with pytest.raises(WeightsError, match="gives 5 values every 160 samples; .* 512 every 160"):
        load_speech_encoder("wav2vec_large", path, 10.0, 3.0)
    test_clip_text.save(tmp_path)
    with pytest.raises(WeightsError, match="gives 16 values a token; clip_vit_b32 gives 512"):
        load_text_encoder("clip_vit_b32", tmp_path, 77)


def test_what_cannot_run_is_said_with_what_can(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = asset_path("moonshine_encoder")
    with pytest.raises(EncoderError, match="speech.encoder is 'hubert'; there are: moonshine_base"):
        load_speech_encoder("hubert", weights, 10.0, 3.0)
    with pytest.raises(EncoderError, match="text_encoder is 'bert'; there are: minilm_l6"):
        load_text_encoder("bert", weights, 77)
    with pytest.raises(EncoderError, match="'cuda', but moonshine_base runs on cpu"):
        load_speech_encoder("moonshine_base", weights, 10.0, 3.0, "cuda")
    with pytest.raises(EncoderError, match="half of a block"):
        load_speech_encoder("moonshine_base", weights, 10.0, 6.0)
    with pytest.raises(EncoderError, match="wavlm_large needs its weights: a Hugging Face folder"):
        load_speech_encoder("wavlm_large", None, 10.0, 3.0)
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(EncoderError, match="needs torchaudio"):
        load_speech_encoder("wav2vec2_base", None, 10.0, 3.0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_no_gpu_is_said(tmp_path: Path) -> None:
    path = test_wav2vec.save(tmp_path / "w.pt", test_wav2vec.weights())
    with pytest.raises(EncoderError, match="no CUDA device here; set speech.device: cpu"):
        load_speech_encoder("wav2vec_large", path, 10.0, 3.0, "cuda")
