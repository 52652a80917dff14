"""Clips of the sample corpus: what the crop stage measured, and what was really there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimitra.faces.crop import to_crop, to_source
from dimitra.media.video import read_video
from dimitra.morphable.camera import to_camera, turn_ahead
from dimitra.morphable.model import FaceModel
from dimitra.shards import list_shards, read_npz, read_shard

CROP_PX = 256
OUTLINE_DEG = 4.0
"""Half the angle in which the outline of the face is sought about a jaw landmark."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Sample:
    """One clip.

    Attributes:
        track: `track.npz` of the crop stage.
        truth: coefficients, pose and camera that the clip was drawn with.
        frames: reads its pictures, uint8 [T, 256, 256, 3].
    """

    track: Arrays
    truth: Arrays
    frames: Callable[[], NDArray[np.uint8]]


def read_samples(crops: Path, truth: Path, clips: int) -> dict[str, Sample]:
    """Clips spread over the corpus, by name.

    Raises:
        SystemExit: there are none.
    """
    parts = {
        clip: members for shard in list_shards(crops) for clip, members in read_shard(shard).items()
    }
    if not parts or not any(truth.rglob("*.npz")):
        raise SystemExit(f"{crops} or {truth} is empty: run `make repro` first")
    return {
        clip: Sample(
            read_npz(parts[clip]["track.npz"]),
            read_npz((truth / clip.split("-")[0] / f"{clip}.npz").read_bytes()),
            partial(read_video, parts[clip]["mp4"]),
        )
        for clip in sorted(parts)[:: max(1, len(parts) // clips)]
    }


def tensor(array: NDArray[Any]) -> Tensor:
    """float32 tensor of a copy."""
    return torch.from_numpy(np.array(array, np.float32))


def exact_landmarks(model: FaceModel, sample: Sample) -> Tensor:
    """True landmarks [T, 68, 2] in crop pixels; jaw points where the outline of the face is."""
    truth = sample.truth
    focal, x0, y0, distance = (float(value) for value in truth["camera"])
    identity, expression = tensor(truth["identity"]), tensor(truth["expression"])

    def seen(indices: Tensor) -> Tensor:
        points = to_camera(
            model.subset(indices).vertices(identity, expression), tensor(truth["pose"])
        )
        depth = distance - points[..., 2]
        pixels = torch.stack(
            (x0 + focal * points[..., 0] / depth, y0 - focal * points[..., 1] / depth), -1
        )
        return tensor(to_crop(pixels.numpy(), sample.track["transform"]))

    points = seen(model.landmarks_68)
    skin = seen(torch.nonzero(model.part("skin"))[:, 0])
    centre = points[:, 27:36].mean(1, keepdim=True)
    direction = torch.nn.functional.normalize(points[:, :17] - centre, dim=-1)
    along = torch.einsum("fvc,fjc->fjv", skin - centre, direction)
    length = torch.linalg.vector_norm(skin - centre, dim=-1)[:, None]
    near = along > np.cos(np.radians(OUTLINE_DEG)) * length
    points[:, :17] = centre + torch.where(near, along, 0.0).amax(2)[..., None] * direction
    return points


def crop_view(sample: Sample, crop: Tensor) -> Tensor:
    """Rotation [3, 3] from the truth's camera to the crop's, which looks at the crop's middle.

    Args:
        sample: the clip.
        crop: its fitted alignment; the crop's camera looks at what it puts in the middle.
    """
    focal, x0, y0, _ = (float(value) for value in sample.truth["camera"])
    middle = np.array([[float(crop[1]), CROP_PX - float(crop[2])]], np.float32)
    u, v = to_source(middle, sample.track["transform"])[0]
    return turn_ahead(torch.tensor([(u - x0) / focal, (y0 - v) / focal, -1.0]))
