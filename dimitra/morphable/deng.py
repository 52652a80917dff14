"""Deng's encoder: a ResNet-50 that reads the 257 coefficients off an aligned face.

Architecture and names are those of ``Deep3DFaceRecon_pytorch`` (Deng et al. 2019), so that its
``epoch_20.pth`` loads: ResNet-50 (He et al. 2016) with the stride in the 3x3 convolutions, average
pooling and no classifier, then one 1x1 convolution a part. Weights are trained on the Basel model:
they say nothing about the coefficients of another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from dimitra.morphable.alignment import align
from dimitra.morphable.camera import CENTRE_PX, IMAGE_PX
from dimitra.morphable.deng_coefficients import FaceCoefficients, from_vector
from dimitra.morphable.encoder import Encoding
from dimitra.torch_file import TorchFileError, check_state, read_torch_file

STANDARD_POINTS = (
    (-0.31148657, 0.29036078, 0.13377953),
    (0.30979887, 0.28972036, 0.13179526),
    (0.0032535, -0.04617932, 0.55244243),
    (-0.25216928, -0.38133916, 0.22405732),
    (0.2484662, -0.38128236, 0.22235769),
)
"""Eye centres, nose tip and mouth corners of Deng's standard face, decimetres
(``similarity_Lm3D_all.mat``)."""
HEADS = (80, 64, 80, 3, 27, 2, 1)
"""Identity, expression, texture, angles, illumination, translation in the image and in depth."""
CHECKPOINT_KEY = "net_recon"
LARGEST_SIDE_PX = 8192
"""Largest side of a resized frame: a face that needs more is a wrong landmark."""
_EXPANSION = 4


@dataclass(frozen=True)
class ResNetSettings:
    """Size of the network; the defaults are ResNet-50.

    Attributes:
        blocks: residual blocks of each of the four stages.
        width: channels after the first convolution.
    """

    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64


class DengWeightsError(ValueError):
    """A checkpoint does not hold the encoder: the message names the file and the tensor."""


class AlignmentError(ValueError):
    """Landmarks that are no face's: no aligned image can be cut by them."""


class _Bottleneck(nn.Module):
    """1x1, 3x3 (strided) and 1x1 convolutions beside a shortcut."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * _EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.bn1(self.conv1(x)))
        inner = torch.relu(self.bn2(self.conv2(inner)))
        return torch.relu(self.bn3(self.conv3(inner)) + self.downsample(x))


class _Backbone(nn.Module):
    """ResNet with bottleneck blocks and average pooling, without a classifier."""

    def __init__(self, settings: ResNetSettings) -> None:
        super().__init__()
        width = settings.width
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = width
        for stage, count in enumerate(settings.blocks):
            inner = width << stage
            blocks = []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(_Bottleneck(channels, inner, stride))
                channels = inner * _EXPANSION
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.channels = channels
        self.stages = tuple(f"layer{stage + 1}" for stage in range(len(settings.blocks)))

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch k 1 1"]:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        return x.mean(dim=(2, 3), keepdim=True)


class ReconNet(nn.Module):
    """The encoder's network; state-dict names are those of ``epoch_20.pth``."""

    def __init__(self, settings: ResNetSettings | None = None) -> None:
        super().__init__()
        self.backbone = _Backbone(settings or ResNetSettings())
        self.final_layers = nn.ModuleList(
            nn.Conv2d(self.backbone.channels, size, 1) for size in HEADS
        )

    def forward(self, images: Float[Tensor, "batch 3 224 224"]) -> Float[Tensor, "batch 257"]:
        """Coefficients of aligned RGB images in [0, 1]."""
        features = self.backbone(images)
        return torch.cat([head(features) for head in self.final_layers], dim=1).flatten(1)


class DengEncoder:
    """A ``FaceEncoder`` for the Basel model.

    Args:
        network: moved to the device and set to evaluation.
        device: where to compute; results come back on the device of the frames.
        batch: images that pass the network together; bounds the memory.
    """

    def __init__(
        self, network: ReconNet, device: torch.device | str = "cpu", batch: int = 64
    ) -> None:
        self._device = torch.device(device)
        self._network = network.to(self._device).eval()
        self._batch = batch
        self._standard = torch.tensor(STANDARD_POINTS, dtype=torch.float64)

    def __call__(
        self, frames: UInt8[Tensor, "batch height width 3"], landmarks: Float[Tensor, "batch 68 2"]
    ) -> Encoding:
        """Align every frame by its own landmarks and encode it.

        Raises:
            ValueError: wrong shapes, or landmarks that give no alignment.
        """
        if landmarks.shape != (len(frames), 68, 2):
            raise ValueError(
                f"landmarks are {list(landmarks.shape)}, expected [{len(frames)}, 68, 2]"
            )
        crop = align(landmarks.double(), self._standard, height=frames.shape[1]).to(frames.device)
        return Encoding(self.encode(frames, crop), crop.float())

    def encode(
        self, frames: UInt8[Tensor, "batch height width 3"], crop: Float[Tensor, "batch 3"]
    ) -> FaceCoefficients:
        """Coefficients of frames whose alignment is known (for example one for a whole clip).

        Raises:
            ValueError: wrong shapes, or an alignment out of range.
        """
        _check_frames(frames, crop)
        pieces = [torch.zeros(0, sum(HEADS), device=frames.device)]
        with torch.inference_mode():
            for start in range(0, len(frames), self._batch):
                piece = slice(start, start + self._batch)
                images = aligned_frames(frames[piece].to(self._device), crop[piece])
                pieces.append(self._network(images).to(frames.device))
        return from_vector(torch.cat(pieces))


def load(path: Path, device: torch.device | str = "cpu", batch: int = 64) -> DengEncoder:
    """Encoder with the weights of a ``Deep3DFaceRecon_pytorch`` checkpoint (``epoch_20.pth``).

    Raises:
        FileNotFoundError: there is no such file.
        DengWeightsError: not a checkpoint of the encoder.
    """
    network = ReconNet()
    load_weights(network, path)
    return DengEncoder(network, device, batch)


def load_weights(network: ReconNet, path: Path) -> None:
    """Fill a network from a checkpoint, executing none of its pickled code.

    Raises:
        FileNotFoundError: there is no such file.
        DengWeightsError: unreadable, no ``net_recon``, or a tensor that is missing, unknown or of
            another shape.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; place epoch_20.pth of Deep3DFaceRecon_pytorch there"
        )
    try:
        contents = read_torch_file(path, repr(CHECKPOINT_KEY))
    except TorchFileError as error:
        raise DengWeightsError(str(error)) from None
    if not isinstance(contents, Mapping) or not isinstance(contents.get(CHECKPOINT_KEY), Mapping):
        keys = sorted(map(str, contents)) if isinstance(contents, Mapping) else type(contents)
        raise DengWeightsError(f"{path}: no {CHECKPOINT_KEY!r} in it, but {keys}")
    try:
        check_state(path, network.state_dict(), contents[CHECKPOINT_KEY])
    except TorchFileError as error:
        raise DengWeightsError(f"{error} (ResNet-50 without a last linear layer)") from None
    network.load_state_dict(contents[CHECKPOINT_KEY])


def aligned_frames(
    frames: UInt8[Tensor, "batch height width 3"], crop: Float[Tensor, "batch 3"]
) -> Float[Tensor, "batch 3 224 224"]:
    """Aligned 224x224 images as the encoder was trained on, RGB in [0, 1].

    The frame is resized to whole pixels by an antialiased bicubic filter, and the image cut out at
    whole pixels, truncated towards zero, so it lies within 1 px of ``camera.crop_to_aligned``;
    outside the frame it is black (Deng et al. 2019, ``util/preprocess.py``).

    Args:
        frames: RGB.
        crop: ``s, tx, ty`` of each frame.

    Raises:
        AlignmentError: an alignment out of range.
        ValueError: wrong shapes.
    """
    _check_frames(frames, crop)
    height, width = frames.shape[1:3]
    members: dict[tuple[int, int, int, int], list[int]] = {}
    for number, (scale, x, y) in enumerate(crop.double().tolist()):
        sides = (
            (int(width * scale), int(height * scale)) if np.isfinite([scale, x, y]).all() else ()
        )
        if not sides or min(sides) < 1 or max(sides) > LARGEST_SIDE_PX:
            raise AlignmentError(
                f"frame {number}: alignment (s {scale:g}, tx {x:g}, ty {y:g}) makes no image of "
                f"1 to {LARGEST_SIDE_PX} px from {width}x{height}; its landmarks are wrong"
            )
        left = int(sides[0] / 2 - CENTRE_PX + (x - width / 2) * scale)
        top = int(sides[1] / 2 - CENTRE_PX + (height / 2 - y) * scale)
        members.setdefault((*sides, left, top), []).append(number)
    images = torch.zeros(len(frames), 3, IMAGE_PX, IMAGE_PX, device=frames.device)
    for (wide, high, left, top), numbers in members.items():
        resized = _resize(frames[numbers].permute(0, 3, 1, 2).float(), high, wide)
        x0, x1 = max(left, 0), min(left + IMAGE_PX, wide)
        y0, y1 = max(top, 0), min(top + IMAGE_PX, high)
        if x0 < x1 and y0 < y1:
            images[numbers, :, y0 - top : y1 - top, x0 - left : x1 - left] = (
                resized[:, :, y0:y1, x0:x1] / 255.0
            )
    return images


def _resize(images: Tensor, high: int, wide: int) -> Tensor:
    """Bicubic with antialiasing in two passes, each rounded to whole levels as Pillow does."""
    for size in ((images.shape[2], wide), (high, wide)):
        if tuple(images.shape[2:]) != size:
            images = nn.functional.interpolate(images, size=size, mode="bicubic", antialias=True)
            images = (images.clamp(0.0, 255.0) + 0.5).floor()
    return images


def _check_frames(frames: Tensor, crop: Tensor) -> None:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != torch.uint8:
        raise ValueError(
            f"frames are {frames.dtype} {list(frames.shape)}, expected uint8 [B, H, W, 3]"
        )
    if crop.shape != (len(frames), 3):
        raise ValueError(f"crop is {list(crop.shape)}, expected [{len(frames)}, 3]")
