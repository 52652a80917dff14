"""Jitter: one frame many times over under fresh sensor noise, measured and fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimitra.assets import asset_path
from dimitra.faces.landmarks import Dlib68
from dimitra.faces.mediapipe import MediaPipeLandmarker, complete
from dimitra.faces.mesh import FaceMesh, pack
from dimitra.faces.track import measure_steadily, smooth_boxes
from dimitra.morphable.camera import aligned_to_crop, project, to_camera
from dimitra.morphable.fit import ClipFit
from dimitra.morphable.model import FaceModel
from fitting.corpus import CROP_PX, Sample
from fitting.errors import FACE

FRAMES, NOISE = 50, 2.0
"""Pictures, and the standard deviation of their noise (of 255)."""
SCALE = 2
"""Landmarks are measured on the crop at twice its size, as the crop stage does."""


@dataclass(frozen=True)
class StillFaces:
    """Measures still faces with the landmarkers of the crop stage.

    Attributes:
        dlib: always there.
        mesh: where the crops hold MediaPipe's mesh.
    """

    dlib: Dlib68
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
        images = [_enlarge(frame) for frame in frames]
        start = _to_large(sample.track["landmarks"][middle])
        boxes = smooth_boxes(np.repeat(start[None].astype(np.float32), FRAMES, 0))
        for _ in range(2):  # the boxes follow the landmarks, as in tracking
            points = np.stack(
                [
                    measure_steadily(self.dlib, image, box)
                    for image, box in zip(images, boxes, strict=True)
                ]
            )
            boxes = smooth_boxes(points)
        track = {
            **sample.track,
            "landmarks": _to_crop(points),
            "detected": np.ones(FRAMES, np.bool_),
        }
        if self.mesh is not None:
            mesh = complete([self.mesh.measure(image) for image in images])
            if mesh is not None:
                track |= pack(FaceMesh(_to_crop(mesh.points), mesh.scores, mesh.found), CROP_PX)
        return Sample(track, sample.truth, lambda: frames)


def still_faces(dense: bool) -> StillFaces:
    """Landmarkers of the crop stage; MediaPipe's where wanted."""
    mesh = MediaPipeLandmarker(asset_path("mediapipe_landmarker")) if dense else None
    return StillFaces(Dlib68(asset_path("dlib_68")), mesh)


def _enlarge(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    large = torch.nn.functional.interpolate(
        torch.from_numpy(frame).permute(2, 0, 1)[None].float(), scale_factor=SCALE, mode="bicubic"
    )[0]
    return np.asarray(large.clamp(0, 255).round().byte().permute(1, 2, 0).numpy())


def _to_large(points: NDArray[np.float32]) -> NDArray[np.float32]:
    return (points + 0.5) * SCALE - 0.5


def _to_crop(points: NDArray[np.float32]) -> NDArray[np.float32]:
    return (points + 0.5) / SCALE - 0.5


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
