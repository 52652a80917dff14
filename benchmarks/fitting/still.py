"""Jitter: one frame many times over under fresh sensor noise, measured and fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.fitting.corpus import CROP_PX, Sample
from benchmarks.fitting.errors import FACE
from benchmarks.fitting.meshes import enlarge, mesh_of
from dimitra.faces.landmarks import Landmarker
from dimitra.faces.mediapipe import MediaPipeLandmarker
from dimitra.faces.track import measure_steadily, smooth_boxes
from dimitra.morphable.camera import aligned_to_crop, project, to_camera
from dimitra.morphable.fit import ClipFit
from dimitra.morphable.model import FaceModel

FRAMES, NOISE = 50, 2.0
"""Pictures, and the standard deviation of their noise (of 255)."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Brightness of red, green and blue (ITU-R BT.601), as the crops' first plane has it."""


@dataclass(frozen=True)
class StillFaces:
    """Measures still faces with the landmarkers of the crop stage.

    Attributes:
        dlib: always there.
        mesh: where MediaPipe is asked for.
    """

    dlib: Landmarker
    mesh: MediaPipeLandmarker | None

    def measure(self, sample: Sample, seed: int) -> Sample:
        """The middle frame of a clip under fresh noise, as a clip of its own."""
        middle = len(sample.track["landmarks"]) // 2
        picture = sample.frames()[middle].astype(np.float32)
        noise = np.random.default_rng(seed)
        frames = np.stack(
            [picture + noise.normal(0.0, NOISE, picture.shape) for _ in range(FRAMES)]
        )
        frames = np.rint(frames.clip(0, 255)).astype(np.uint8)
        grey = np.rint(frames @ GREY).astype(np.uint8)
        start = sample.track["landmarks"][middle]
        boxes = smooth_boxes(np.repeat(start[None].astype(np.float32), FRAMES, 0))
        for _ in range(2):  # the boxes follow the landmarks, as in tracking
            points = measure_steadily(self.dlib, grey, boxes)
            boxes = smooth_boxes(points)
        track = {
            **sample.track,
            "landmarks": points,
            "detected": np.ones(FRAMES, np.bool_),
        }
        if self.mesh is not None:
            track |= mesh_of([enlarge(frame) for frame in frames], self.mesh)
        return Sample(track, sample.truth, lambda: frames)


def jitter(
    model: FaceModel, landmarks: Tensor | None, fit: Callable[[], ClipFit]
) -> dict[str, float]:
    """Standard deviations about the mean: measured points and face in pixels, turn in degrees.

    Args:
        model: the face model.
        landmarks: what was measured [T, points, 2], crop pixels; None where nothing is.
        fit: fits the still clip.
    """
    found = fit()
    face = model.subset(torch.nonzero(model.part(*FACE))[:, 0])
    posed = to_camera(face.vertices(found.identity, found.expression), found.pose)
    seen = aligned_to_crop(project(posed), found.crop.expand(len(posed), 3), CROP_PX)
    row = {} if landmarks is None else {"landmarks": _spread(landmarks)}
    return row | {
        "fitted face": _spread(seen),
        "fitted rotation": _spread(torch.rad2deg(found.pose[:, :3])),
    }


def _spread(values: Tensor) -> float:
    return float((values - values.mean(0)).square().sum(-1).mean().sqrt())
