"""wav2vec 2.0 (Baevski et al. 2020) and WavLM (Chen et al. 2022) from a Hugging Face folder.

The feature is the last hidden state: one vector every 320 samples (50 Hz), from 400. The folder
holds ``config.json``, ``preprocessor_config.json`` and ``model.safetensors`` or
``pytorch_model.bin``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dimitra.speech.errors import WeightsError
from dimitra.speech.features import SAMPLE_RATE_HZ
from dimitra.speech.tensors import (
    SAFETENSORS,
    check_finite,
    read_json,
    refuse,
    weights_file,
)
from dimitra.speech.torch_device import frozen, torch_device, vectors

ModelType = Literal["wav2vec2", "wavlm"]

_HEADS = ("lm_head.", "quantizer.", "project_q.", "project_hid.", "projector.", "classifier.")
"""Parts of a checkpoint that come after the last hidden state, or served pretraining alone."""
_TRAINING_ONLY = "masked_spec_embed"
"""Stands for masked vectors in training; never read in evaluation."""


def field_and_stride(kernels: list[int], strides: list[int]) -> tuple[int, int]:
    """Samples that one vector of a stack of convolutions sees, and from one to the next."""
    field, stride = 1, 1
    for kernel, step in zip(kernels, strides, strict=True):
        field += (kernel - 1) * stride
        stride *= step
    return field, stride


def _family(model_type: ModelType) -> Any:
    """The transformers class, imported without torchaudio.

    transformers imports a torchaudio that is installed, and one that does not fit torch would
    take it down (its wheel on the package index needs torch for CUDA).
    """
    import transformers.utils.import_utils as availability

    asked: Any = availability.is_torchaudio_available
    hidden = "torchaudio" not in sys.modules
    if hidden:
        sys.modules["torchaudio"] = cast("ModuleType", None)
        asked.cache_clear()
    try:
        from transformers import Wav2Vec2Model, WavLMModel
    finally:
        if hidden:
            del sys.modules["torchaudio"]
            asked.cache_clear()
    return Wav2Vec2Model if model_type == "wav2vec2" else WavLMModel


@contextmanager
def _quiet() -> Iterator[None]:
    """Transformers without its progress bars and load reports: what is wrong is raised here."""
    from transformers.utils import logging as transformers_logging

    settings: Any = transformers_logging
    level, bars = settings.get_verbosity(), settings.is_progress_bar_enabled()
    settings.set_verbosity(logging.CRITICAL)
    settings.disable_progress_bar()
    try:
        yield
    finally:
        settings.set_verbosity(level)
        if bars:
            settings.enable_progress_bar()


class _LastHiddenState(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, samples: Tensor) -> Tensor:
        state: Tensor = self.model(samples).last_hidden_state
        return state


@dataclass(frozen=True)
class Wav2Vec2Network:
    """A ``Network`` of ``transformers``.

    Attributes:
        Those of ``dimitra.speech.grid.Network``.
    """

    model: nn.Module
    device: torch.device
    stride: int
    field: int
    dim: int
    normalised: bool

    @classmethod
    def load(cls, folder: Path, model_type: ModelType, device: str = "cpu") -> Wav2Vec2Network:
        """Read a model folder; the network is on ``device``, in float32.

        Raises:
            FileNotFoundError: a file is missing.
            WeightsError: another architecture, sampling rate or shape, or weights that are not
                whole: none is left at a random value.
            EncoderError: no such device.
        """
        place = torch_device(device)
        config = read_json(folder / "config.json")
        _check_config(config, model_type, folder / "config.json")
        normalised = _normalised(folder / "preprocessor_config.json")
        field, stride = field_and_stride(config["conv_kernel"], config["conv_stride"])
        model = _load(folder, model_type)
        return cls(
            model=frozen(_LastHiddenState(model), place),
            device=place,
            stride=stride,
            field=field,
            dim=config["hidden_size"],
            normalised=normalised,
        )

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        features: NDArray[np.float32] = vectors(self.model, samples, self.device).numpy()
        return features


def _check_config(config: dict[str, Any], model_type: ModelType, path: Path) -> None:
    found = config.get("model_type")
    if found != model_type:
        raise WeightsError(f"{path} describes a {found!r}; this encoder needs {model_type!r}")
    for key in ("conv_kernel", "conv_stride", "hidden_size", "num_hidden_layers"):
        if key not in config:
            raise WeightsError(f"{path} lacks {key!r}")
    if config.get("add_adapter", False):
        raise WeightsError(
            f"{path} has add_adapter true: an adapter lowers the rate of the features; this "
            "encoder takes models without one"
        )


def _normalised(path: Path) -> bool:
    """Whether the network was trained on sound of mean 0 and variance 1."""
    settings = read_json(path)
    rate = settings.get("sampling_rate")
    normalised = settings.get("do_normalize")
    if rate != SAMPLE_RATE_HZ or not isinstance(normalised, bool):
        raise WeightsError(
            f"{path} has sampling_rate {rate!r} and do_normalize {normalised!r}; this encoder "
            f"needs {SAMPLE_RATE_HZ} and true or false"
        )
    return normalised


def _load(folder: Path, model_type: ModelType) -> nn.Module:
    """The transformers model, all of its weights from the file."""
    file = weights_file(folder)
    with _quiet():
        family = _family(model_type)
        try:
            model, info = family.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=file.name == SAFETENSORS,
                weights_only=True,
                dtype=torch.float32,
                attn_implementation="eager",
                ignore_mismatched_sizes=True,  # they are refused below, with both shapes
                output_loading_info=True,
            )
        except Exception as error:  # noqa: BLE001 - a damaged file fails in any way
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise WeightsError(
                f"{folder} cannot be loaded from {file.name} and config.json: {first}"
            ) from None
    refuse(
        file,
        missing=set(info["missing_keys"]) - {_TRAINING_ONLY},
        unknown=[name for name in info["unexpected_keys"] if not name.startswith(_HEADS)],
        wrong=[
            f"{name} {tuple(found)} (needs {tuple(needed)})"
            for name, found, needed in info["mismatched_keys"]
        ],
    )
    check_finite(model.named_parameters(), file)
    loaded: nn.Module = model
    return loaded
