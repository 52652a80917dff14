import numpy as np
import pytest
import torch
from torch import nn

from dimitra.speech.errors import EncoderError
from dimitra.speech.torch_device import frozen, torch_device, vectors


class _Flags(nn.Module):
    """Gives what torch is allowed to do while it runs."""

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        assert torch.is_inference_mode_enabled()
        flags = [cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, matmul.allow_tf32]
        return torch.tensor([[float(flag) for flag in flags]]) + 0 * samples.sum()


def test_arithmetic_is_exact_and_left_as_it_was() -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, matmul.allow_tf32)
    found = vectors(_Flags(), np.zeros(4, dtype=np.float32), torch.device("cpu"))
    assert found.tolist() == [0.0, 0.0, 1.0, 0.0]
    assert (cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic, matmul.allow_tf32) == before


def test_a_frozen_model_is_in_float32_and_evaluation() -> None:
    model = nn.Sequential(nn.Linear(3, 3).half(), nn.Dropout())
    frozen(model, torch_device("cpu"))
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_here_is_said() -> None:
    with pytest.raises(EncoderError, match="sees no CUDA device here; set speech.device: cpu"):
        torch_device("cuda")
