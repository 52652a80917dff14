"""torchaudio's wav2vec 2.0 base, where an optional torchaudio that loads is installed."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from dimitra.speech.errors import EncoderError, WeightsError
from dimitra.speech.grid import GridEncoder
from dimitra.speech.wav2vec2_torchaudio import TorchaudioNetwork
from tests.speech.signals import boats


def torchaudio() -> Any:
    try:
        import torchaudio
    except (ImportError, OSError) as error:
        pytest.skip(f"torchaudio, an optional extra, does not load: {error}")
    return torchaudio


def test_without_torchaudio_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(
        EncoderError, match=r"needs torchaudio.*pip install -c constraints\.txt -e '\.\[gpu\]'"
    ) as caught:
        TorchaudioNetwork.load(Path("weights.pth"))
    assert "ModuleNotFoundError" in str(caught.value)


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", ModuleType("torchaudio"))
    with pytest.raises(FileNotFoundError, match="none.pth"):
        TorchaudioNetwork.load(tmp_path / "none.pth")


def test_features_are_the_bundles_own(tmp_path: Path) -> None:
    model = torchaudio().models.wav2vec2_base().eval()
    path = tmp_path / "wav2vec2_fairseq_base_ls960.pth"
    torch.save(model.state_dict(), path)
    network = TorchaudioNetwork.load(path)
    samples = boats().samples
    features = GridEncoder(network, 20.0, 5.0).encode(samples)
    count = -(-len(samples) // 320)
    padded = np.pad(samples, (0, count * 320 + 80 - len(samples)))
    with torch.inference_mode():
        layers, _ = model.extract_features(torch.from_numpy(padded)[None])
    np.testing.assert_allclose(features, layers[-1][0].numpy(), atol=1e-5)
    assert features.shape == (count, 768)
    assert GridEncoder(network, 20.0, 5.0).rate_hz == 50.0
    assert network.normalised is torchaudio().pipelines.WAV2VEC2_BASE._normalize_waveform


def test_other_weights_are_refused(tmp_path: Path) -> None:
    torchaudio()
    path = tmp_path / "other.pth"
    torch.save({"encoder.weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="other.pth.*not part of it: encoder.weight"):
        TorchaudioNetwork.load(path)
