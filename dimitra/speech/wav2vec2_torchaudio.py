"""wav2vec 2.0 base (Baevski et al. 2020) through torchaudio: 768 values, 50 Hz.

torchaudio is an optional extra (`gpu`); it is imported here alone, so that
one that is missing or broken stops nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dimitra.speech.errors import EncoderError, WeightsError
from dimitra.speech.tensors import check_tensors, read_checkpoint
from dimitra.speech.torch_device import frozen, torch_device, vectors


def _torchaudio() -> Any:
    try:
        import torchaudio
    except Exception as error:  # a wheel for another torch fails with OSError, among others
        raise EncoderError(
            f"speech.encoder wav2vec2_base needs torchaudio, which does not load here "
            f"({type(error).__name__}: {error}). Install the build that fits torch "
            f"{torch.__version__}: pip install -c constraints.txt -e '.[gpu]' in the "
            "checkout; or choose another speech.encoder"
        ) from error
    return torchaudio


class _LastLayer(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, samples: Tensor) -> Tensor:
        features: Tensor = self.model(samples)[0]
        return features


@dataclass(frozen=True)
class TorchaudioNetwork:
    """A ``Network`` of torchaudio's bundle ``WAV2VEC2_BASE``."""

    model: nn.Module
    device: torch.device
    stride: int = 320
    field: int = 400
    dim: int = 768
    normalised: bool = False
    """The bundle's ``normalize_waveform``: base was trained on sound as it is."""

    @classmethod
    def load(cls, weights: Path | None, device: str = "cpu") -> TorchaudioNetwork:
        """The bundle's network.

        Args:
            weights: its file ``wav2vec2_fairseq_base_ls960.pth``; None for torchaudio's own
                download into torch's hub folder.
            device: ``cpu`` or ``cuda``.

        Raises:
            EncoderError: torchaudio is missing or broken.
            FileNotFoundError: no such file.
            WeightsError: the file holds another network.
            EncoderError: no such device.
        """
        place = torch_device(device)
        torchaudio = _torchaudio()
        if weights is None:
            model: nn.Module = torchaudio.pipelines.WAV2VEC2_BASE.get_model()
        else:
            if not weights.is_file():
                raise FileNotFoundError(
                    f"{weights}: no such file; it is wav2vec2_fairseq_base_ls960.pth"
                )
            model = torchaudio.models.wav2vec2_base()
            tensors = read_checkpoint(weights)
            if not isinstance(tensors, dict):
                raise WeightsError(f"{weights} holds a {type(tensors).__name__}, not tensors")
            shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
            check_tensors(tensors, shapes, weights)
            model.load_state_dict(tensors)
        return cls(frozen(_LastLayer(model), place), place)

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        features: NDArray[np.float32] = vectors(self.model, samples, self.device).numpy()
        return features
