"""MediaPipe's mesh of crops, where the crop stage has not measured it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.fitting.corpus import CROP_PX, Sample
from dimitra.faces.mediapipe import MediaPipeLandmarker, complete
from dimitra.faces.mesh import FaceMesh, pack

SCALE = 2
"""Landmarks are measured on the crop at twice its size, as the crop stage does."""


def with_meshes(
    samples: Mapping[str, Sample], landmarker: MediaPipeLandmarker
) -> dict[str, Sample]:
    """Samples whose tracks hold a mesh: the crop stage's, or one measured on the crops here."""
    return {
        name: sample
        if "mesh" in sample.track
        else replace(
            sample,
            track={
                **sample.track,
                **mesh_of([enlarge(frame) for frame in sample.frames()], landmarker),
            },
        )
        for name, sample in samples.items()
    }


def mesh_of(
    images: Sequence[NDArray[np.uint8]], landmarker: MediaPipeLandmarker
) -> dict[str, NDArray[Any]]:
    """The mesh's arrays of a track, from enlarged crops; none where no face is found."""
    mesh = complete([landmarker.measure(image) for image in images])
    if mesh is None:
        return {}
    return dict(pack(FaceMesh(to_crop(mesh.points), mesh.scores, mesh.found), CROP_PX))


def enlarge(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A crop at ``SCALE`` times its size."""
    large = torch.nn.functional.interpolate(
        torch.from_numpy(frame).permute(2, 0, 1)[None].float(), scale_factor=SCALE, mode="bicubic"
    )[0]
    return np.asarray(large.clamp(0, 255).round().byte().permute(1, 2, 0).numpy())


def to_crop(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pixels of the enlarged crop to crop pixels."""
    return np.asarray((points + 0.5) / SCALE - 0.5, np.float32)
