"""The encoders of sound and text by the names that ``params.yaml`` has for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dimitra.speech.errors import EncoderError, WeightsError
from dimitra.speech.features import SAMPLE_RATE_HZ, SpeechEncoder
from dimitra.speech.grid import GridEncoder, Network
from dimitra.speech.text import TextEncoder


@dataclass(frozen=True)
class SpeechModel:
    """What is known of a speech encoder before its weights are read.

    Attributes:
        dim: values a vector.
        stride: samples at 16 kHz from one vector to the next.
        weights: what its weights are: a folder, or one file.
        devices: where it can run.
        packages: distributions whose version its bytes depend on.
    """

    dim: int
    stride: int
    weights: str
    devices: tuple[str, ...]
    packages: tuple[str, ...]

    @property
    def rate_hz(self) -> float:
        """Vectors per second."""
        return SAMPLE_RATE_HZ / self.stride


_TORCH = ("cpu", "cuda")
_FOLDER = "a Hugging Face folder"
SPEECH_MODELS = {
    "moonshine_base": SpeechModel(416, 384, "an .ort file", ("cpu",), ("onnxruntime",)),
    "wav2vec2_xlsr53_english": SpeechModel(1024, 320, _FOLDER, _TORCH, ("torch", "transformers")),
    "wavlm_large": SpeechModel(1024, 320, _FOLDER, _TORCH, ("torch", "transformers")),
    "wav2vec2_base": SpeechModel(768, 320, "a .pth file", _TORCH, ("torch", "torchaudio")),
    "wav2vec_large": SpeechModel(512, 160, "a .pt file", _TORCH, ("torch",)),
}
"""By ``speech.encoder``."""

TEXT_DIMS = {"minilm_l6": 384, "clip_vit_b32": 512}
"""Values a token, by ``speech.text_encoder``."""
TEXT_PACKAGES = ("tokenizers", "torch")
"""Distributions whose version a text encoder's bytes depend on."""


def _known(name: str, names: Any, key: str) -> None:
    if name not in names:
        raise EncoderError(f"{key} is {name!r}; there are: {', '.join(names)}")


def load_speech_encoder(
    name: str, weights: Path | None, block_s: float, overlap_s: float, device: str = "cpu"
) -> SpeechEncoder:
    """A speech encoder on its grid.

    Args:
        name: a key of ``SPEECH_MODELS``.
        weights: its file or folder; None for ``wav2vec2_base`` lets torchaudio fetch its own.
        block_s: seconds that the network sees at once.
        overlap_s: seconds shared by two neighbouring blocks.
        device: ``cpu`` or ``cuda``.

    Raises:
        EncoderError: no such encoder, device or grid; ``wav2vec2_base`` without a torchaudio that
            loads; the weights are another model's, or not whole.
        FileNotFoundError: a file is missing.
    """
    _known(name, SPEECH_MODELS, "speech.encoder")
    model = SPEECH_MODELS[name]
    if device not in model.devices:
        raise EncoderError(
            f"speech.device is {device!r}, but {name} runs on {', '.join(model.devices)}"
        )
    network = _load(name, weights, device)
    if (network.dim, network.stride) != (model.dim, model.stride):
        raise WeightsError(
            f"{weights} gives {network.dim} values every {network.stride} samples; {name} gives "
            f"{model.dim} every {model.stride}: these are another model's weights"
        )
    return GridEncoder(network, block_s, overlap_s)


def _load(name: str, weights: Path | None, device: str) -> Network:
    if name == "wav2vec2_base":
        from dimitra.speech.wav2vec2_torchaudio import TorchaudioNetwork

        return TorchaudioNetwork.load(weights, device)
    if weights is None:
        raise EncoderError(f"{name} needs its weights: {SPEECH_MODELS[name].weights}")
    if name == "moonshine_base":
        from dimitra.speech.moonshine import MoonshineNetwork

        return MoonshineNetwork(weights)
    if name == "wav2vec_large":
        from dimitra.speech.wav2vec import Wav2VecNetwork

        return Wav2VecNetwork.load(weights, device)
    from dimitra.speech.wav2vec2 import Wav2Vec2Network

    return Wav2Vec2Network.load(weights, "wavlm" if name == "wavlm_large" else "wav2vec2", device)


def load_text_encoder(name: str, folder: Path, limit: int) -> TextEncoder:
    """A text encoder; it runs on the CPU, a text takes it milliseconds.

    Args:
        name: a key of ``TEXT_DIMS``.
        folder: its weights, configuration and tokenizer.
        limit: longest token sequence, start and end marks included.

    Raises:
        EncoderError: no such encoder; the weights are another model's, or not whole; the limit is
            too long.
        FileNotFoundError: a file is missing.
    """
    _known(name, TEXT_DIMS, "speech.text_encoder")
    encoder: TextEncoder
    if name == "minilm_l6":
        from dimitra.speech.minilm import MiniLmEncoder

        encoder = MiniLmEncoder(folder, limit)
    else:
        from dimitra.speech.clip_text import ClipTextEncoder

        encoder = ClipTextEncoder(folder, limit)
    if encoder.dim != TEXT_DIMS[name]:
        raise WeightsError(
            f"{folder} gives {encoder.dim} values a token; {name} gives {TEXT_DIMS[name]}: these "
            "are another model's weights"
        )
    return encoder
