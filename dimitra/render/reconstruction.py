"""How far drawn pictures are from the true ones: the losses under which a renderer is trained.

* ``PerceptualLoss``: that of PIRender (Ren et al. 2021), on VGG19's features.
* ``PixelLoss``: ours, where VGG19's weights are not at hand.
"""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dimitra.render.vgg import LEAST_SIDE, Vgg19Features

SCALES = 4
"""Sizes at which pictures are compared: 1, 1/2, 1/4, 1/8."""
STYLE_WEIGHT = 250.0
GRADIENT_WEIGHT = 1.0
FACE_WEIGHT = 1.0
LEAST_PIXELS = 8
"""Side of the smallest picture that ``PixelLoss`` compares."""

Pictures = Float[Tensor, "batch 3 height width"]
Regions = Float[Tensor, "batch 1 height width"]
Loss = Float[Tensor, ""]


class Reconstruction(Protocol):
    """Distance of pictures from the true ones.

    ``region`` weighs pixels (0 outside the face); ``style`` asks for the terms of the final
    picture, which the moved photo cannot meet.
    """

    def __call__(
        self, picture: Pictures, target: Pictures, region: Regions, *, style: bool
    ) -> Loss: ...


class PerceptualLoss(nn.Module):
    """PIRender's loss: mean absolute differences of VGG19's features at four sizes.

    With ``style`` 250 times those of the features' Gram matrices at full size (Gatys et al. 2016,
    here with absolute differences, as PIRender has them). Sizes under 16 px are left out.

    Args:
        features: with its weights.
    """

    def __init__(self, features: Vgg19Features) -> None:
        super().__init__()
        self.features = features

    def forward(
        self,
        picture: Pictures,
        target: Pictures,
        region: Regions,  # noqa: ARG002 - by Reconstruction
        *,
        style: bool,
    ) -> Loss:
        total = picture.new_zeros(())
        for number, (drawn, true) in enumerate(pyramid(picture, target, LEAST_SIDE)):
            with torch.no_grad():
                wanted = self.features(true)
            for ours, theirs in zip(self.features(drawn), wanted, strict=True):
                total = total + functional.l1_loss(ours, theirs)
                if style and number == 0:
                    distance = functional.l1_loss(gram(ours), gram(theirs))
                    total = total + STYLE_WEIGHT * distance
        return total


class PixelLoss(nn.Module):
    """Pixels and their gradients at up to four sizes, and the face once more at full size.

    For each size: mean absolute difference of the values, and of the differences between
    neighbours along x and along y (so that edges, not only means, are met). The face's part is the
    mean over the pixels, weighted by the region, of the absolute difference.
    """

    def forward(
        self,
        picture: Pictures,
        target: Pictures,
        region: Regions,
        *,
        style: bool,  # noqa: ARG002 - by Reconstruction
    ) -> Loss:
        total = FACE_WEIGHT * region_loss(picture, target, region)
        for drawn, true in pyramid(picture, target, LEAST_PIXELS):
            total = total + functional.l1_loss(drawn, true)
            total = total + GRADIENT_WEIGHT * gradient_loss(drawn, true)
        return total


def pyramid(picture: Tensor, target: Tensor, least: int) -> list[tuple[Tensor, Tensor]]:
    """Both at 1, 1/2, 1/4, 1/8 of their size, as far as the shorter side has ``least`` pixels."""
    levels = [(picture, target)]
    while len(levels) < SCALES and min(levels[-1][0].shape[2:]) >= 2 * least:
        levels.append(tuple(_halved(one) for one in levels[-1]))  # type: ignore[arg-type]
    return levels


def _halved(pictures: Tensor) -> Tensor:
    # At this factor linear interpolation between pixel centres is the mean of 2x2 pixels.
    return functional.avg_pool2d(pictures, 2)


def gram(
    features: Float[Tensor, "batch channels rows columns"],
) -> Float[Tensor, "batch channels channels"]:
    """Gram matrix of the channels, divided by channels times pixels."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / (flat.shape[1] * flat.shape[2])


def gradient_loss(picture: Pictures, target: Pictures) -> Loss:
    """Mean absolute difference of the horizontal, plus that of the vertical gradients."""
    error = picture - target
    return error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()


def region_loss(picture: Pictures, target: Pictures, region: Regions) -> Loss:
    """Weighted mean of the absolute differences; 0 where the region is empty."""
    error = (picture - target).abs().mean(dim=1, keepdim=True)
    return (error * region).sum() / region.sum().clamp(min=1e-6)
