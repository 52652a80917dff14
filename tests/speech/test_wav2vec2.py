"""wav2vec 2.0 and WavLM: small networks built from configurations, as Hugging Face saves them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dimitra.speech.errors import EncoderError, WeightsError
from dimitra.speech.grid import GridEncoder
from dimitra.speech.wav2vec2 import Wav2Vec2Network, _family, field_and_stride
from tests.speech.signals import boats

transformers = pytest.importorskip("transformers")
_family("wav2vec2")  # so that these tests run beside a torchaudio that does not load, too

SMALL: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "conv_dim": [8] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True, "vocab_size": 12,
}  # fmt: skip
"""The large models' architecture at a small size."""
TYPES = ("wav2vec2", "wavlm")


def save(folder: Path, model_type: str, *, normalise: bool = True, **changes: Any) -> Any:
    """Save a seeded model with a CTC head, as the XLSR-53 checkpoint has one; returns its trunk."""
    torch.manual_seed(3)
    settings = SMALL | changes
    if model_type == "wav2vec2":
        model = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**settings)).eval()
        trunk = model.wav2vec2
    else:
        trunk = model = transformers.WavLMModel(transformers.WavLMConfig(**settings)).eval()
    model.save_pretrained(folder)
    write_preprocessor(folder, {"do_normalize": normalise, "sampling_rate": 16_000})
    return trunk


def write_preprocessor(folder: Path, settings: dict[str, Any]) -> None:
    text = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1, **settings}
    (folder / "preprocessor_config.json").write_text(json.dumps(text))


def change_tensors(folder: Path, change: Any) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("model_type", TYPES)
@pytest.mark.parametrize("normalise", [True, False])
def test_features_are_transformers_own(tmp_path: Path, model_type: Any, normalise: bool) -> None:
    trunk = save(tmp_path, model_type, normalise=normalise)
    network = Wav2Vec2Network.load(tmp_path, model_type)
    assert (network.field, network.stride, network.dim) == (400, 320, 16)
    samples = boats().samples
    features = GridEncoder(network, 20.0, 5.0).encode(samples)
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tmp_path)
    values = extractor(samples, sampling_rate=16_000, return_tensors="pt").input_values
    padded = torch.nn.functional.pad(values, (0, len(features) * 320 + 80 - len(samples)))
    with torch.inference_mode():
        expected = trunk(padded).last_hidden_state[0].numpy()
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert features.shape == (-(-len(samples) // 320), 16)


def test_old_names_and_the_old_format_load(tmp_path: Path) -> None:
    """The published checkpoints are older than torch's names for weight normalisation."""
    trunk = save(tmp_path, "wav2vec2")
    tensors = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in load_file(tmp_path / "model.safetensors").items()
    }
    (tmp_path / "model.safetensors").unlink()
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    network = Wav2Vec2Network.load(tmp_path, "wav2vec2")
    samples = np.random.default_rng(0).normal(size=8000).astype(np.float32)
    with torch.inference_mode():
        expected = trunk(torch.from_numpy(samples)[None]).last_hidden_state[0].numpy()
    np.testing.assert_allclose(network(samples), expected, atol=1e-6)


def test_the_grid_is_exact_away_from_the_ends_of_blocks(tmp_path: Path) -> None:
    """Without attention the context is local (+-4 vectors of the positional convolution)."""
    save(tmp_path, "wav2vec2", num_hidden_layers=0)
    network = Wav2Vec2Network.load(tmp_path, "wav2vec2")
    samples = np.tile(boats().samples, 3)
    whole = GridEncoder(network, 100.0, 0.0).encode(samples)
    blocks = GridEncoder(network, 2.0, 0.4).encode(samples)  # 100 features, 20 shared
    exact = np.ones(len(whole), dtype=bool)
    for start in range(80, len(whole), 80):
        exact[start : start + 4] = False
        exact[start + 16 : start + 20] = False
    assert exact.mean() > 0.85
    np.testing.assert_allclose(blocks[exact], whole[exact], atol=1e-5)
    # Where a block's end cuts the context, its share is small.
    assert np.abs(blocks - whole).max() < 0.25 * np.abs(whole).max()


def test_a_repeat_gives_the_same_bytes(tmp_path: Path) -> None:
    save(tmp_path, "wavlm")
    samples = boats().samples
    first = GridEncoder(Wav2Vec2Network.load(tmp_path, "wavlm"), 2.0, 1.0).encode(samples)
    again = GridEncoder(Wav2Vec2Network.load(tmp_path, "wavlm"), 2.0, 1.0).encode(samples)
    assert first.tobytes() == again.tobytes()


NAME = "wav2vec2.encoder.layers.1.attention.k_proj.weight"


def without(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in tensors.items() if name != NAME}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without, r"missing: encoder.layers.1.attention.k_proj.weight"),
        (lambda t: t | {NAME: torch.zeros(4, 4)}, r"\(4, 4\) \(needs \(16, 16\)\)"),
        (lambda t: t | {NAME.replace("1", "9"): torch.zeros(4, 4)}, "not part of it: .*layers.9"),
        (lambda t: t | {NAME: torch.full((16, 16), torch.nan)}, "not finite"),
    ],
)
def test_no_weight_is_left_random(tmp_path: Path, change: Any, message: str) -> None:
    save(tmp_path, "wav2vec2")
    change_tensors(tmp_path, change)
    with pytest.raises(WeightsError, match=message) as caught:
        Wav2Vec2Network.load(tmp_path, "wav2vec2")
    assert "model.safetensors" in str(caught.value)


def test_a_vector_that_training_alone_uses_may_be_absent(tmp_path: Path) -> None:
    save(tmp_path, "wav2vec2")
    change_tensors(tmp_path, lambda t: {n: v for n, v in t.items() if "masked_spec" not in n})
    Wav2Vec2Network.load(tmp_path, "wav2vec2")


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    save(tmp_path, "wav2vec2")
    with pytest.raises(WeightsError, match="describes a 'wav2vec2'.*needs 'wavlm'"):
        Wav2Vec2Network.load(tmp_path, "wavlm")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"add_adapter": True}))
    with pytest.raises(WeightsError, match="add_adapter"):
        Wav2Vec2Network.load(tmp_path, "wav2vec2")


@pytest.mark.parametrize(
    "settings", [{"do_normalize": True, "sampling_rate": 8000}, {"sampling_rate": 16_000}]
)
def test_another_sound_is_refused(tmp_path: Path, settings: dict[str, Any]) -> None:
    save(tmp_path, "wav2vec2")
    write_preprocessor(tmp_path, settings)
    with pytest.raises(WeightsError, match="preprocessor_config.json has sampling_rate"):
        Wav2Vec2Network.load(tmp_path, "wav2vec2")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    save(tmp_path, "wav2vec2")
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        Wav2Vec2Network.load(tmp_path, "wav2vec2")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_damaged_weights_are_named(tmp_path: Path, name: str) -> None:
    save(tmp_path, "wav2vec2")
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / name).write_bytes(data[:100])
    with pytest.raises(WeightsError, match=name):
        Wav2Vec2Network.load(tmp_path, "wav2vec2")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_no_gpu_is_said(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="no CUDA device"):
        Wav2Vec2Network.load(tmp_path, "wav2vec2", "cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("model_type", TYPES)
def test_the_gpu_agrees_with_the_cpu(tmp_path: Path, model_type: Any) -> None:
    save(tmp_path, model_type)
    samples = boats().samples
    found = GridEncoder(Wav2Vec2Network.load(tmp_path, model_type, "cuda"), 2.0, 1.0)
    expected = GridEncoder(Wav2Vec2Network.load(tmp_path, model_type, "cpu"), 2.0, 1.0)
    np.testing.assert_allclose(found.encode(samples), expected.encode(samples), atol=1e-3)
    assert found.encode(samples).tobytes() == found.encode(samples).tobytes()


def test_a_broken_torchaudio_does_not_reach_transformers(tmp_path: Path) -> None:
    """A torchaudio for another torch raises OSError when imported; only its backend may care."""
    model = tmp_path / "model"
    save(model, "wav2vec2")
    package = tmp_path / "path" / "torchaudio"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise OSError('Could not load this library')\n")
    about = tmp_path / "path" / "torchaudio-2.11.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torchaudio\nVersion: 2.11.0\n")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from dimitra.speech.errors import EncoderError\n"
        "from dimitra.speech.wav2vec2 import Wav2Vec2Network\n"
        "from dimitra.speech.wav2vec2_torchaudio import TorchaudioNetwork\n"
        "network = Wav2Vec2Network.load(Path(sys.argv[2]), 'wav2vec2')\n"
        "assert network(np.zeros(4000, dtype=np.float32)).shape == (12, 16)\n"
        "try:\n"
        "    TorchaudioNetwork.load(Path('none.pth'))\n"
        "except EncoderError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(package.parent), str(model)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "OSError: Could not load this library" in result.stdout
    assert "-e '.[gpu]'" in result.stdout


def test_fields_and_strides_of_the_published_stacks() -> None:
    kernels, strides = [10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2]
    assert field_and_stride(kernels, strides) == (400, 320)
    assert field_and_stride([10, 8, 4, 4, 4, 1, 1], [5, 4, 2, 2, 2, 1, 1]) == (465, 160)
    assert field_and_stride([127, 7, 3], [64, 3, 2]) == (895, 384)
