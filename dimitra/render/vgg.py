"""VGG19's features (Simonyan and Zisserman 2015), for the perceptual loss of the renderer.

Torch alone: the weights are a file in the layout of torchvision's ``vgg19`` (safetensors, or a
state dict of ``torch.save``), of which the 13 convolutions up to relu5_1 are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor, nn

from dimitra.torch_file import TorchFileError, check_state, read_torch_file

BLOCKS = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 512, 512), (512,))
"""Channels of the convolutions; 2x2 maxima halve the picture between blocks."""
LAYERS = (1, 6, 11, 20, 29)
"""Places of relu1_1, relu2_1, relu3_1, relu4_1, relu5_1."""
LEAST_SIDE = 2 ** (len(BLOCKS) - 1)
"""Pixels: below, nothing is left for relu5_1."""
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours in 0..1, with which the weights were trained."""


class Vgg19Features(nn.Module):
    """The five features of pictures; its weights are constants."""

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for number, block in enumerate(BLOCKS):
            if number:
                layers.append(nn.MaxPool2d(2))
            for out in block:
                layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU()]
                channels = out
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("spread", torch.tensor(SPREAD)[:, None, None], persistent=False)
        self.requires_grad_(requires_grad=False)

    def forward(
        self, pictures: Float[Tensor, "batch 3 height width"]
    ) -> list[Float[Tensor, "batch channels rows columns"]]:
        """relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of pictures in -1..1."""
        x = ((pictures + 1.0) / 2.0 - self.mean) / self.spread
        found = []
        for place, layer in enumerate(self.features):
            x = layer(x)
            if place in LAYERS:
                found.append(x)
        return found


def read_vgg19(path: Path) -> Vgg19Features:
    """The features with the weights of a file in torchvision's layout.

    Args:
        path: ``features.0.weight`` ... ``features.28.bias``; the deeper layers and the classifier
            may be there or not. Nothing pickled is executed.

    Raises:
        FileNotFoundError: there is no such file.
        TorchFileError: unreadable, or a tensor is missing, of another shape or not finite.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; place VGG19's weights there")
    state = _read(path)
    with torch.device("meta"):
        wanted = Vgg19Features().state_dict()
    known = {name: state[name] for name in wanted if name in state}
    check_state(path, wanted, known)
    network = Vgg19Features()
    network.load_state_dict({name: value.float() for name, value in known.items()})
    return network.eval()


def _read(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".safetensors":
        try:
            return safetensors.torch.load_file(path)
        except safetensors.SafetensorError as error:
            raise TorchFileError(f"{path} is damaged, or no safetensors file: {error}") from None
    contents = read_torch_file(path, "state dict")
    if not isinstance(contents, Mapping):
        raise TorchFileError(f"{path} holds {type(contents).__name__}, expected a state dict")
    return contents
