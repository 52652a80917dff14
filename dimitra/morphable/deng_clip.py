"""Deng's encoder over a clip: motion frame by frame; identity, texture and light of the clip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from dimitra.morphable.deng_coefficients import FaceCoefficients
from dimitra.morphable.encoder import Encoding, FaceEncoder

CONSTANT = ("identity", "texture", "illumination")


@dataclass(frozen=True, eq=False)
class DengClip:
    """Coefficients of a clip.

    Attributes:
        identity: [80], texture: [80], illumination: [27], the medians over the measured frames.
        expression: [T, 64].
        pose: [T, 6].
        crop: [T, 3], every frame's own alignment ``s, tx, ty``, in which its pose is meant.
        height: rows of the frames.
    """

    identity: Float[Tensor, "80"]
    texture: Float[Tensor, "80"]
    illumination: Float[Tensor, "27"]
    expression: Float[Tensor, "frames 64"]
    pose: Float[Tensor, "frames 6"]
    crop: Float[Tensor, "frames 3"]
    height: int


def encode_clip(
    encoder: FaceEncoder,
    blocks: Iterable[UInt8[Tensor, "frames height width 3"]],
    landmarks: Float[Tensor, "frames 68 2"],
    detected: Bool[Tensor, " frames"],
) -> DengClip:
    """Encode every frame, each aligned by its own landmarks.

    A frame without a face is encoded where its interpolated landmarks place it, and does not count
    for what is constant over the clip. Of that the median is kept, value by value: a frame that
    the encoder misreads does not pull it.

    Args:
        encoder: for the Basel model.
        blocks: the clip's RGB frames in pieces that bound the memory.
        landmarks: pixels of the frames, y down, interpolated where no face was found.
        detected: False there.

    Raises:
        ValueError: no frames, another number of landmarks, or landmarks that give no alignment.
    """
    pieces: list[Encoding] = []
    count = height = 0
    for frames in blocks:
        own = landmarks[count : count + len(frames)]
        if len(own) < len(frames):
            break
        pieces.append(encoder(frames, own))
        count += len(frames)
        height = frames.shape[1]
    if count == 0 or count != len(landmarks) or len(detected) != count:
        raise ValueError(
            f"{len(landmarks)} frames of landmarks and {len(detected)} marks beside {count} "
            "whole frames of picture"
        )
    faces = [piece.coefficients for piece in pieces]

    def joined(name: str) -> Tensor:
        return torch.cat([_part(face, name) for face in faces])

    sure = detected if bool(detected.any()) else torch.ones_like(detected)
    constant = {name: middle(joined(name)[sure]) for name in CONSTANT}
    return DengClip(
        **constant,
        expression=joined("expression"),
        pose=joined("pose"),
        crop=torch.cat([piece.crop for piece in pieces]),
        height=height,
    )


def middle(values: Float[Tensor, "frames values"]) -> Float[Tensor, " values"]:
    """Median over the frames, value by value; the mean of the middle two of an even number."""
    return values.double().quantile(0.5, dim=0).to(values.dtype)


def _part(face: FaceCoefficients, name: str) -> Tensor:
    value = getattr(face, name)
    if not isinstance(value, Tensor):
        raise ValueError(f"the encoder gives no {name}")
    return value
