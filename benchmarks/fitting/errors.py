"""Errors of a fitted clip: rotation, vertices, coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.fitting.corpus import Sample, crop_view, tensor
from dimitra.morphable.camera import angles_of, rotation
from dimitra.morphable.fit import ClipFit
from dimitra.morphable.model import FaceModel, interocular

FACE = ("skin", "lips", "eyelids", "brows")
STILL_STD = 1e-3
"""A coefficient that varies less than this in a clip has no correlation there."""


def errors(model: FaceModel, sample: Sample, fit: ClipFit) -> dict[str, float]:
    """Errors of a clip by name; degrees, percent of the outer eye corners' distance, pixels."""
    return {
        **rotation_errors(sample, fit),
        **vertex_errors(model, sample, fit),
        "residual": float(fit.residual_px.mean()),
    }


def rotation_errors(sample: Sample, fit: ClipFit) -> dict[str, float]:
    """Mean angle to the true rotation, without the clip's constant part, and signed by axis."""
    count = min(len(fit.pose), len(sample.truth["pose"]))
    true = crop_view(sample, fit.crop) @ rotation(tensor(sample.truth["pose"])[:count, :3])
    found = rotation(fit.pose[:count, :3])
    left, _, right = torch.linalg.svd(torch.einsum("tij,tkj->tik", found, true).mean(0))
    signed = torch.rad2deg(fit.pose[:count, :3] - angles_of(true)).mean(0)
    return {
        "rotation": angle_between(found, true),
        "rotation, motion": angle_between(found, left @ right @ true),
        **{f"{axis}, signed": float(signed[k]) for k, axis in enumerate(("pitch", "yaw", "roll"))},
    }


def angle_between(first: Tensor, second: Tensor) -> float:
    """Mean angle between rotations [T, 3, 3], degrees."""
    cosine = (torch.einsum("tij,tij->t", first, second) - 1) / 2
    return float(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))).mean())


def vertex_errors(model: FaceModel, sample: Sample, fit: ClipFit) -> dict[str, float]:
    """Mean distances of lips and face from the truth, percent."""
    count = min(len(fit.expression), len(sample.truth["expression"]))
    identity = tensor(sample.truth["identity"])
    expression = tensor(sample.truth["expression"])[:count]
    unit = float(interocular(model.landmarks(identity, torch.zeros(64)))) / 100
    face = torch.nonzero(model.part(*FACE))[:, 0]
    lips = torch.isin(face, torch.nonzero(model.part("lips"))[:, 0])
    shape = model.subset(face)
    true = shape.vertices(identity, expression)
    found = shape.vertices(fit.identity, fit.expression[:count])
    row = {}
    for name, error in (
        ("", found - true),
        (", best placed", best_place(found, true) - true),
        (", motion", found - found.mean(0) - true + true.mean(0)),
    ):
        distance = torch.linalg.vector_norm(error, dim=-1) / unit
        row[f"mouth{name}"] = float(distance[:, lips].mean())
        row[f"face{name}"] = float(distance.mean())
    return row


def best_place(found: Tensor, true: Tensor) -> Tensor:
    """Points [T, V, 3] moved onto others by one similarity (Umeyama 1991)."""
    a, b = found.flatten(0, 1).double(), true.flatten(0, 1).double()
    a_mean, b_mean = a.mean(0), b.mean(0)
    u, s, vt = torch.linalg.svd((b - b_mean).T @ (a - a_mean))
    sign = torch.ones(3, dtype=torch.float64)
    sign[2] = torch.sign(torch.det(u @ vt))
    scale = (s * sign).sum() / (a - a_mean).square().sum()
    turned = (a - a_mean) @ (u @ torch.diag(sign) @ vt).T
    placed: Tensor = (scale * turned + b_mean).reshape(found.shape).float()
    return placed


def spreads(truth: Mapping[str, NDArray[np.float32]], columns: Sequence[int]) -> list[float]:
    """True standard deviations of some expression coefficients."""
    return [float(truth["expression"][:, k].std()) for k in columns]


def correlations(
    truth: Mapping[str, NDArray[np.float32]], fit: ClipFit, columns: Sequence[int]
) -> list[float]:
    """Pearson's of some expression coefficients; NaN where one stands still."""
    count = min(len(fit.expression), len(truth["expression"]))
    true, found = truth["expression"][:count], fit.expression[:count].numpy()
    return [
        float(np.corrcoef(found[:, k], true[:, k])[0, 1])
        if min(true[:, k].std(), found[:, k].std()) > STILL_STD
        else np.nan
        for k in columns
    ]
