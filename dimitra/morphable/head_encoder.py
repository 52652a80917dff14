"""The head encoder: a compact network from a picture of a face to the open head's coefficients.

No landmarks are needed. The network sees a square window of the picture and says where in it the
head's origin lies and how large the head is, so it finds its own window: first in the whole
picture on a few frames, then close up on every frame. It is a residual network (He et al., 2016)
with the position kept until the last layers, trained on rendered heads (``head_encoder_training``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from dimitra.morphable.alignment import align_clip, five_points
from dimitra.morphable.camera import (
    CENTRE_PX,
    DISTANCE,
    FOCAL_PX,
    angles_of,
    crop_to_aligned,
    rotation,
    turn_ahead,
)
from dimitra.morphable.model import FaceModel

INPUT_PX = 112
WINDOW_DM = 2.0
"""Side of a window, decimetres at the head's distance."""
LOOK_EVERY = 5
"""Frames between two whose place is sought in the whole picture."""
BATCH = 64

_SIZES = {"identity": 80, "expression": 64, "angles": 3, "origin": 2, "scale": 1}
_UNITS = {"identity": 1.0, "expression": 1.0, "angles": 0.3, "origin": 0.1, "scale": 0.2}
"""What one unit of the last layer stands for, so that all its outputs vary alike."""


@dataclass(frozen=True, eq=False)
class HeadEstimate:
    """What the network says of windows.

    Attributes:
        identity: [B, 80].
        expression: [B, 64].
        angles: pitch, yaw, roll as seen along the ray to the head's origin, radians, [B, 3].
        origin: place of the head's origin from the window's middle, shares of its side, y down,
            [B, 2].
        scale: natural logarithm of the side of the right window by this window's, [B].
    """

    identity: Float[Tensor, "batch 80"]
    expression: Float[Tensor, "batch 64"]
    angles: Float[Tensor, "batch 3"]
    origin: Float[Tensor, "batch 2"]
    scale: Float[Tensor, " batch"]


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        inner = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.shortcut(x) + self.norm2(self.conv2(inner)))


class HeadEncoder(nn.Module):
    """Windows to ``HeadEstimate``.

    Args:
        width: channels of the first layer; the last has six times as many.
        hidden: units of the fully connected layer.
    """

    def __init__(self, width: int = 16, hidden: int = 256) -> None:
        super().__init__()
        self.width, self.hidden = width, hidden
        cells = (INPUT_PX // 16) ** 2
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 5, 2, 2, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            _Residual(width, 2 * width, 2),
            _Residual(2 * width, 4 * width, 2),
            _Residual(4 * width, 4 * width, 1),
            _Residual(4 * width, 6 * width, 2),
            _Residual(6 * width, 6 * width, 1),
            nn.Conv2d(6 * width, 2 * width, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * cells, hidden),
            nn.ReLU(),
        )
        self.out = nn.Linear(hidden, sum(_SIZES.values()))
        self.register_buffer(
            "units", torch.cat([torch.full((size,), _UNITS[n]) for n, size in _SIZES.items()])
        )

    def forward(self, windows: Float[Tensor, "batch 3 112 112"]) -> HeadEstimate:
        """Estimate from RGB in [0, 1]."""
        values = self.out(self.body(windows.mul(4).sub(2))).float() * self.units
        parts = dict(zip(_SIZES, values.split(list(_SIZES.values()), dim=1), strict=True))
        return HeadEstimate(
            parts["identity"],
            parts["expression"],
            parts["angles"],
            parts["origin"],
            parts["scale"][:, 0],
        )


def cut_windows(
    images: Float[Tensor, "batch 3 height width"], windows: Float[Tensor, "batch 3"]
) -> Float[Tensor, "batch 3 112 112"]:
    """Square windows of pictures, resampled bilinearly; edges are repeated outside.

    Args:
        images: any value range.
        windows: x and y of the middle and the side, pixels with centres at integers.
    """
    height, width = images.shape[2:]
    size = windows.new_tensor((width, height))
    steps = (torch.arange(INPUT_PX, device=windows.device, dtype=windows.dtype) + 0.5) / INPUT_PX
    places = windows[:, None, :2] + (steps[None, :, None] - 0.5) * windows[:, 2, None, None]
    normal = (2 * places + 1) / size - 1
    x = normal[:, None, :, 0].expand(-1, INPUT_PX, -1)
    y = normal[:, :, None, 1].expand(-1, -1, INPUT_PX)
    grid = torch.stack((x, y), dim=-1)
    # Bilinear samples farther apart than a pixel alias: shrink first.
    shrink = float(windows[:, 2].median()) / INPUT_PX
    if shrink > 1.25:
        images = nn.functional.interpolate(
            images,
            size=(round(height / shrink), round(width / shrink)),
            mode="bilinear",
            antialias=True,
        )
    cut: Tensor = nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return cut


@dataclass(frozen=True, eq=False)
class EncodedClip:
    """Coefficients of a clip, as the landmark fit gives them.

    Attributes:
        identity: mean over the frames, [80].
        expression: [T, 64].
        pose: angles and translation in the aligned frame's camera, [T, 6].
        crop: alignment ``s, tx, ty``, [3].
    """

    identity: Float[Tensor, "80"]
    expression: Float[Tensor, "frames 64"]
    pose: Float[Tensor, "frames 6"]
    crop: Float[Tensor, "3"]


@torch.inference_mode()
def encode_clip(
    encoder: HeadEncoder,
    model: FaceModel,
    blocks: Iterable[UInt8[Tensor, "frames height width 3"]],
) -> EncodedClip:
    """Coefficients of a clip whose picture is a face crop.

    Args:
        encoder: in evaluation mode, on any device.
        model: the open head, on the CPU.
        blocks: the clip's RGB frames, about one head wide, in pieces that bound the memory.

    Raises:
        ValueError: no frames, or not RGB bytes.
    """
    estimates, places = [], []
    height = 0
    for frames in blocks:
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != torch.uint8:
            raise ValueError(
                f"frames are {frames.dtype} {list(frames.shape)}, expected uint8 [T, H, W, 3]"
            )
        height = frames.shape[1]
        windows = _find_windows(encoder, frames)
        seen = _estimate(encoder, frames, windows)
        side = windows[:, 2] * seen.scale.exp()
        origin = windows[:, :2] + seen.origin * windows[:, 2:]
        estimates.append(seen)
        places.append(torch.cat((origin, side[:, None] / WINDOW_DM), dim=1))
    if not estimates:
        raise ValueError("no frames")
    placed = torch.cat(places)
    return _in_aligned_frame(model, _joined(estimates), placed[:, :2], placed[:, 2], height)


def _joined(estimates: Sequence[HeadEstimate]) -> HeadEstimate:
    return HeadEstimate(
        *(
            torch.cat([getattr(one, field.name) for one in estimates])
            for field in fields(HeadEstimate)
        )
    )


def _find_windows(
    encoder: HeadEncoder, frames: UInt8[Tensor, "frames height width 3"]
) -> Float[Tensor, "frames 3"]:
    """Windows from the whole picture of every fifth frame, and straight lines between them."""
    count, height, width = frames.shape[:3]
    places = torch.unique(
        torch.cat((torch.arange(0, count, LOOK_EVERY), torch.tensor([count - 1])))
    )
    whole = torch.tensor([(width - 1) / 2, (height - 1) / 2, float(min(width, height))])
    whole = whole.to(frames.device).expand(len(places), 3)
    seen = _estimate(encoder, frames[places], whole)
    found = torch.cat(
        (whole[:, :2] + seen.origin * whole[:, 2:], (whole[:, 2] * seen.scale.exp())[:, None]), 1
    )
    after = torch.searchsorted(places, torch.arange(count)).clamp(min=1, max=len(places) - 1)
    if len(places) == 1:
        return found.expand(count, 3)
    low, high = places[after - 1], places[after]
    share = ((torch.arange(count) - low) / (high - low)).to(found)[:, None]
    windows: Tensor = found[after - 1] * (1 - share) + found[after] * share
    return windows


def _estimate(
    encoder: HeadEncoder,
    frames: UInt8[Tensor, "frames height width 3"],
    windows: Float[Tensor, "frames 3"],
) -> HeadEstimate:
    """Estimates on the CPU, whatever device the encoder is on."""
    device = next(encoder.parameters()).device
    pieces = []
    for start in range(0, len(frames), BATCH):
        images = frames[start : start + BATCH].to(device).permute(0, 3, 1, 2).float() / 255
        inputs = cut_windows(images, windows[start : start + BATCH].to(device))
        seen = encoder(inputs.contiguous(memory_format=torch.channels_last))
        pieces.append(HeadEstimate(*(getattr(seen, part.name).cpu() for part in fields(seen))))
    return _joined(pieces)


def _in_aligned_frame(
    model: FaceModel,
    seen: HeadEstimate,
    origin: Float[Tensor, "frames 2"],
    scale: Float[Tensor, " frames"],
    height: int,
) -> EncodedClip:
    """Deng's alignment from the estimated heads' own landmarks, and the pose in its camera."""
    identity = seen.identity.mean(0)
    points = model.landmarks(identity, seen.expression) @ rotation(seen.angles).transpose(1, 2)
    near = (scale * DISTANCE)[:, None] / (DISTANCE - points[..., 2])
    landmarks = torch.stack(
        (origin[:, :1] + near * points[..., 0], origin[:, 1:] - near * points[..., 1]), dim=-1
    )
    crop = align_clip(landmarks, five_points(model.mean[model.landmarks_68]), height)
    place = crop_to_aligned(origin[:, None], crop.expand(len(origin), 3), height)[:, 0]
    depth = FOCAL_PX / (scale * crop[0])
    across, up = place[:, 0] - CENTRE_PX, CENTRE_PX - place[:, 1]
    translation = torch.stack(
        (across * depth / FOCAL_PX, up * depth / FOCAL_PX, DISTANCE - depth), dim=-1
    )
    ray = torch.stack((across / FOCAL_PX, up / FOCAL_PX, -torch.ones_like(depth)), dim=-1)
    angles = angles_of(turn_ahead(ray).transpose(1, 2) @ rotation(seen.angles))
    return EncodedClip(identity, seen.expression, torch.cat((angles, translation), dim=1), crop)
