"""Ways to a fitted clip: each takes a sample, prepares, and returns what is to be timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.fitting.corpus import Sample, exact_landmarks, tensor
from dimitra.morphable.correspondence import mediapipe_478
from dimitra.morphable.fit import ClipFit, FitSettings, checked, fit_clip
from dimitra.morphable.head_encoder import encode_clip
from dimitra.morphable.head_encoder_weights import load
from dimitra.morphable.model import FaceModel
from pipelines.fitters.frames import BLOCK
from pipelines.fitters.open_head import mesh_landmarks

Fit = Callable[[], ClipFit]


@dataclass(frozen=True)
class Source:
    """A way to a fitted clip.

    Attributes:
        prepare: reads what it needs of a sample and returns the fit, which alone is timed.
        measured: the points it uses [T, points, 2], crop pixels; None where it uses none.
        noisy: whether sensor noise reaches it; the truth's own landmarks have none.
    """

    prepare: Callable[[FaceModel, Sample, FitSettings], Fit]
    measured: Callable[[FaceModel, Sample], Tensor] | None
    noisy: bool = True


def from_track(model: FaceModel, sample: Sample, settings: FitSettings) -> Fit:
    """Fit to dlib's landmarks, which the crop stage measured."""
    landmarks = tensor(sample.track["landmarks"])
    detected = torch.tensor(sample.track["detected"])
    return lambda: fit_clip(model, landmarks, detected, settings)


def from_mesh(model: FaceModel, sample: Sample, settings: FitSettings) -> Fit:
    """Fit to MediaPipe's mesh, which the crop stage measured."""
    track = sample.track
    mesh = mesh_landmarks(track, "sample")
    landmarks, detected = tensor(track["landmarks"]), torch.tensor(track["detected"])
    return lambda: fit_clip(model, landmarks, detected, settings, mesh)


def from_pictures(model: FaceModel, sample: Sample, settings: FitSettings) -> Fit:  # noqa: ARG001
    """The head encoder's answer to the pictures alone; no landmarks, nothing is fitted."""
    encoder = load()
    blocks = torch.split(torch.from_numpy(sample.frames()), BLOCK)
    landmarks = tensor(sample.track["landmarks"])
    return lambda: checked(model, encode_clip(encoder, model, blocks), landmarks)


def from_truth(model: FaceModel, sample: Sample, settings: FitSettings) -> Fit:
    """Fit to the truth's own landmarks and outline."""
    landmarks = exact_landmarks(model, sample)
    return lambda: fit_clip(model, landmarks, None, settings)


def sources(samples: Mapping[str, Sample]) -> dict[str, Source]:
    """Sources by the name of their landmarks; MediaPipe's where every crop holds its mesh."""
    found = {
        "dlib": Source(from_track, lambda _, sample: tensor(sample.track["landmarks"])),
        "mediapipe": Source(
            from_mesh,
            lambda model, sample: mesh_landmarks(sample.track, "sample").points[
                :, mediapipe_478(model).indices
            ],
        ),
        "encoder": Source(from_pictures, None),
        "exact": Source(from_truth, None, noisy=False),
    }
    if not all("mesh" in sample.track for sample in samples.values()):
        del found["mediapipe"]
    return found
