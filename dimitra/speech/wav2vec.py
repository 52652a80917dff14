"""wav2vec 1.0 large (Schneider et al. 2019): 512 values, 100 Hz, from fairseq's checkpoint.

A stack of strided convolutions gives ``z``, one vector every 160 samples from 465; a stack of
causal convolutions with skip connections turns it into the context ``c``, which is the feature
(section 2.1 there). Module and tensor names are fairseq's. The checkpoint holds an
``argparse.Namespace`` beside the tensors; nothing else is unpickled.
"""

from __future__ import annotations

import argparse
import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dimitra.speech.errors import WeightsError
from dimitra.speech.tensors import check_tensors, read_checkpoint
from dimitra.speech.torch_device import frozen, torch_device, vectors
from dimitra.speech.wav2vec2 import field_and_stride

Layers = tuple[tuple[int, int, int], ...]
"""(channels, kernel, stride) of each convolution."""

_TRAINING_ONLY = "wav2vec_predictions."
"""The head that predicts future vectors; training alone uses it."""


@dataclass(frozen=True)
class Wav2VecSettings:
    """Shape of the network; the defaults are those of ``wav2vec_large``.

    Attributes:
        extractor: convolutions from samples to ``z``.
        aggregator: causal convolutions from ``z`` to ``c``.
        log_compression: ``log(1 + |z|)``.
        extractor_skips: skip connections in the extractor, where widths allow.
        aggregator_skips: skip connections in the aggregator.
        residual_scale: their sum is multiplied by its root.
        zero_pad: the aggregator sees zeros before the sound, not its first vector.
        bias: of the aggregator's convolutions.
    """

    extractor: Layers = (
        (512, 10, 5), (512, 8, 4), (512, 4, 2), (512, 4, 2), (512, 4, 2), (512, 1, 1), (512, 1, 1),
    )  # fmt: skip
    aggregator: Layers = tuple((512, kernel, 1) for kernel in range(2, 14))
    log_compression: bool = True
    extractor_skips: bool = False
    aggregator_skips: bool = True
    residual_scale: float = 0.5
    zero_pad: bool = False
    bias: bool = True


class _Extractor(nn.Module):
    def __init__(self, settings: Wav2VecSettings) -> None:
        super().__init__()
        self.settings = settings
        self.conv_layers = nn.ModuleList()
        width = 1
        for channels, kernel, stride in settings.extractor:
            self.conv_layers.append(
                nn.Sequential(
                    nn.Conv1d(width, channels, kernel, stride=stride, bias=False),
                    nn.Identity(),  # dropout in training: the names count it
                    nn.GroupNorm(1, channels),
                    nn.ReLU(),
                )
            )
            width = channels

    def forward(self, samples: Tensor) -> Tensor:
        """``z`` ``[B, C, T]`` of samples ``[B, N]``."""
        x = samples[:, None]
        scale = math.sqrt(self.settings.residual_scale)
        for layer in self.conv_layers:
            before, x = x, layer(x)
            if self.settings.extractor_skips and x.shape[1] == before.shape[1]:
                step = before.shape[2] // x.shape[2]
                x = (x + before[..., ::step][..., : x.shape[2]]) * scale
        return (x.abs() + 1).log() if self.settings.log_compression else x


class _Aggregator(nn.Module):
    def __init__(self, settings: Wav2VecSettings) -> None:
        super().__init__()
        self.settings = settings
        self.conv_layers = nn.Sequential()
        self.residual_proj = nn.ModuleList()
        width = settings.extractor[-1][0]
        for channels, kernel, stride in settings.aggregator:
            pad = (kernel - 1, 0)
            narrow = settings.aggregator_skips and width != channels
            self.residual_proj.append(
                nn.Conv1d(width, channels, 1, bias=False) if narrow else nn.Identity()
            )
            self.conv_layers.append(
                nn.Sequential(
                    nn.ZeroPad1d(pad) if settings.zero_pad else nn.ReplicationPad1d(pad),
                    nn.Conv1d(width, channels, kernel, stride=stride, bias=settings.bias),
                    nn.Identity(),
                    nn.GroupNorm(1, channels),
                    nn.ReLU(),
                )
            )
            width = channels

    def forward(self, z: Tensor) -> Tensor:
        """``c`` ``[B, C, T]``."""
        scale = math.sqrt(self.settings.residual_scale)
        for project, layer in zip(self.residual_proj, self.conv_layers, strict=True):
            after = layer(z)
            z = (after + project(z)) * scale if self.settings.aggregator_skips else after
        return z


class Wav2Vec(nn.Module):
    """Samples ``[B, N]`` to ``c`` ``[B, T, C]``."""

    def __init__(self, settings: Wav2VecSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or Wav2VecSettings()
        self.feature_extractor = _Extractor(self.settings)
        self.feature_aggregator = _Aggregator(self.settings)

    def forward(self, samples: Tensor) -> Tensor:
        c: Tensor = self.feature_aggregator(self.feature_extractor(samples))
        return c.transpose(1, 2)


@dataclass(frozen=True)
class Wav2VecNetwork:
    """A ``Network`` of wav2vec 1.0."""

    model: nn.Module
    device: torch.device
    stride: int
    field: int
    dim: int
    normalised: bool = False
    """fairseq's ``normalize`` is false for wav2vec 1.0."""

    @classmethod
    def of(cls, model: Wav2Vec, device: torch.device) -> Wav2VecNetwork:
        """Around a network that is loaded."""
        settings = model.settings
        field, stride = field_and_stride(
            [kernel for _, kernel, _ in settings.extractor],
            [step for _, _, step in settings.extractor],
        )
        return cls(frozen(model, device), device, stride, field, settings.aggregator[-1][0])

    @classmethod
    def load(cls, checkpoint: Path, device: str = "cpu") -> Wav2VecNetwork:
        """Read fairseq's checkpoint.

        Raises:
            FileNotFoundError: no such file.
            WeightsError: it is damaged, holds other Python objects, another architecture, or not
                all weights.
            EncoderError: no such device.
        """
        place = torch_device(device)
        settings, tensors = read_wav2vec(checkpoint)
        model = Wav2Vec(settings)
        shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        check_tensors(tensors, shapes, checkpoint)
        model.load_state_dict(tensors)
        return cls.of(model, place)

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        features: NDArray[np.float32] = vectors(self.model, samples, self.device).numpy()
        return features


def read_wav2vec(path: Path) -> tuple[Wav2VecSettings, dict[str, Tensor]]:
    """Settings and weights of a checkpoint, the prediction head left out.

    Two layouts: fairseq's own (``args``, ``model``), and the plain one that s3prl publishes
    (``model_cfg``, ``model_weight``).

    Raises:
        FileNotFoundError: no such file.
        WeightsError: it holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; it is fairseq's wav2vec_large.pt")
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = read_checkpoint(path)
    for settings_key, weights_key in (("args", "model"), ("model_cfg", "model_weight")):
        if isinstance(content, dict) and {settings_key, weights_key} <= set(content):
            given, tensors = content[settings_key], content[weights_key]
            break
    else:
        held = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise WeightsError(f"{path} holds {held}; fairseq's checkpoint has 'args' and 'model'")
    settings = _settings(vars(given) if isinstance(given, argparse.Namespace) else given, path)
    kept = {name: t for name, t in tensors.items() if not name.startswith(_TRAINING_ONLY)}
    return settings, kept


def _settings(given: Mapping[str, Any], path: Path) -> Wav2VecSettings:
    """Fairseq's options as settings; what a checkpoint does not say has fairseq's default."""
    needed = {
        "aggregator": ("cnn",), "activation": ("relu",), "vq_type": ("none", None),
        "non_affine_group_norm": (False,), "project_features": ("none",),
    }  # fmt: skip
    for key, allowed in needed.items():
        if given.get(key, allowed[0]) not in allowed:
            raise WeightsError(
                f"{path} has {key} {given[key]!r}; wav2vec 1.0 large has {allowed[0]!r}"
            )
    default = Wav2VecSettings()
    return Wav2VecSettings(
        extractor=_layers(given, "conv_feature_layers", path),
        aggregator=_layers(given, "conv_aggregator_layers", path),
        log_compression=bool(given.get("log_compression", default.log_compression)),
        extractor_skips=bool(given.get("skip_connections_feat", default.extractor_skips)),
        aggregator_skips=bool(given.get("skip_connections_agg", default.aggregator_skips)),
        residual_scale=float(given.get("residual_scale", default.residual_scale)),
        zero_pad=bool(given.get("agg_zero_pad", default.zero_pad)),
        bias=not given.get("no_conv_bias", False),
    )


def _layers(given: Mapping[str, Any], key: str, path: Path) -> Layers:
    """A list of (channels, kernel, stride), which fairseq writes as Python text."""
    text: Any = given.get(key)
    try:
        layers: Any = ast.literal_eval(text) if isinstance(text, str) else text
        found = tuple((int(a), int(b), int(c)) for a, b, c in layers)
    except (SyntaxError, TypeError, ValueError):
        raise WeightsError(
            f"{path} has {key} {text!r}, expected a list of (channels, kernel, stride)"
        ) from None
    if not found or any(min(layer) < 1 for layer in found):
        raise WeightsError(f"{path} has {key} {text!r}: every number must be at least 1")
    return found
