"""PIRender's layers (Ren et al. 2021): two normalisations and the blocks made of them.

Attribute names are those of the published checkpoint's tensors.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

HIDDEN = 128
"""Width between a descriptor and the scales and shifts that it gives."""
SLOPE = 0.1
"""Of every leaky ReLU."""

Image = Float[Tensor, "batch channels height width"]
Descriptor = Float[Tensor, "batch descriptor"]


def leaky(x: Tensor) -> Tensor:
    """The network's non-linearity."""
    return functional.leaky_relu(x, SLOPE)


class AdaIN(nn.Module):
    """Instance normalisation, scale and shift from a descriptor (Huang and Belongie 2017).

    ``(x - mean) / sqrt(variance + 1e-5) * (1 + gamma) + beta``, mean and biased variance over the
    pixels of each channel of each image.
    """

    def __init__(self, channels: int, descriptor: int) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(nn.Linear(descriptor, HIDDEN), nn.ReLU())
        self.mlp_gamma = nn.Linear(HIDDEN, channels)
        self.mlp_beta = nn.Linear(HIDDEN, channels)

    def forward(self, x: Image, descriptor: Descriptor) -> Image:
        hidden = self.mlp_shared(descriptor)
        gamma = self.mlp_gamma(hidden)[:, :, None, None]
        beta = self.mlp_beta(hidden)[:, :, None, None]
        scaled: Tensor = functional.instance_norm(x) * (1.0 + gamma) + beta
        return scaled


class LayerNorm2d(nn.Module):
    """Normalisation over channels and pixels of each image; gain and bias of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Image) -> Image:
        # One group of all channels: the same sums without a gain and a bias for every pixel.
        return functional.group_norm(x, 1, self.weight.flatten(), self.bias.flatten())


class WarpEncoderBlock(nn.Module):
    """Halves the picture: two convolutions, each after an AdaIN and the non-linearity."""

    def __init__(self, channels: int, out: int, descriptor: int) -> None:
        super().__init__()
        self.conv_0 = nn.Conv2d(channels, out, 4, stride=2, padding=1)
        self.conv_1 = nn.Conv2d(out, out, 3, padding=1)
        self.norm_0 = AdaIN(channels, descriptor)
        self.norm_1 = AdaIN(out, descriptor)

    def forward(self, x: Image, descriptor: Descriptor) -> Image:
        x = self.conv_0(leaky(self.norm_0(x, descriptor)))
        out: Tensor = self.conv_1(leaky(self.norm_1(x, descriptor)))
        return out


class WarpDecoderBlock(nn.Module):
    """Doubles the picture: a residual block of transposed convolutions."""

    def __init__(self, channels: int, out: int, descriptor: int) -> None:
        super().__init__()
        self.conv_0 = nn.Conv2d(channels, out, 3, padding=1)
        self.conv_1 = _double(out, out)
        self.conv_s = _double(channels, out)
        self.norm_0 = AdaIN(channels, descriptor)
        self.norm_1 = AdaIN(out, descriptor)
        self.norm_s = AdaIN(channels, descriptor)

    def forward(self, x: Image, descriptor: Descriptor) -> Image:
        shortcut = self.conv_s(leaky(self.norm_s(x, descriptor)))
        x = self.conv_0(leaky(self.norm_0(x, descriptor)))
        out: Tensor = shortcut + self.conv_1(leaky(self.norm_1(x, descriptor)))
        return out


class EditBlock(nn.Module):
    """Convolution, ``LayerNorm2d`` and non-linearity of the editing net.

    Args:
        channels: of the input.
        out: of the output.
        kernel: side of the convolution.
        halve: average the result over 2x2 pixels.
    """

    def __init__(self, channels: int, out: int, kernel: int = 3, *, halve: bool = False) -> None:
        super().__init__()
        steps = [
            nn.Conv2d(channels, out, kernel, padding=kernel // 2),
            LayerNorm2d(out),
            nn.LeakyReLU(SLOPE),
        ]
        self.model = nn.Sequential(*steps, *([nn.AvgPool2d(2)] if halve else []))

    def forward(self, x: Image) -> Image:
        out: Tensor = self.model(x)
        return out


class EditResidual(nn.Module):
    """Residual block of the editing net: a convolution and an AdaIN beside the input.

    The published network was trained with a second convolution that reads the block's input
    instead of the first one's result. ``conv1`` and ``norm1`` are therefore in the checkpoint and
    have no part in the picture; they are kept for its names and are not computed.
    """

    def __init__(self, channels: int, descriptor: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = AdaIN(channels, descriptor)
        self.norm2 = AdaIN(channels, descriptor)

    def forward(self, x: Image, descriptor: Descriptor) -> Image:
        out: Tensor = x + self.norm2(self.conv2(x), descriptor)
        return out


def _double(channels: int, out: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1)
