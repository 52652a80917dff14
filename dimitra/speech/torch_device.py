"""Where a torch network of this package runs, and with which arithmetic."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dimitra.exact_arithmetic import exact_arithmetic
from dimitra.speech.errors import EncoderError


def torch_device(name: str) -> torch.device:
    """The device called ``cpu`` or ``cuda``.

    Raises:
        EncoderError: torch cannot use it here.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise EncoderError(
            f"device is 'cuda', but torch {torch.__version__} sees no CUDA device here; set "
            "speech.device: cpu, or install torch for CUDA on a machine with a GPU"
        )
    return torch.device(name)


def frozen(model: nn.Module, device: torch.device) -> nn.Module:
    """The model in evaluation, float32, without gradients, on the device."""
    return model.to(device=device, dtype=torch.float32).eval().requires_grad_(False)


def vectors(model: nn.Module, samples: NDArray[np.float32], device: torch.device) -> Tensor:
    """What a model gives for ``[1, N]`` samples, without the batch, on the CPU."""
    with exact_arithmetic():
        given = torch.from_numpy(np.ascontiguousarray(samples))[None].to(device)
        result: Tensor = model(given)[0].cpu()
    return result
