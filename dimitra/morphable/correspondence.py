"""How a landmark source sees the face model: which model points, and with what noise.

dlib's 68 landmarks are 51 vertices and a jaw line that slides on the silhouette. MediaPipe's are
points on triangles, fixed by ``dimitra.sample.landmark_map``, plus what the detector makes of the
coefficients: it answers less to an unusual face than there is to see. The map also measured how
the detector misses: neighbouring landmarks miss together, so their noise is a few shared modes and
a remainder of each landmark's own, and 51 blendshape scores are further noisy readings of the
expression.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dimitra.morphable.coefficients import EXPRESSION_SIZE
from dimitra.morphable.contour import JAW, contour_candidates
from dimitra.morphable.model import FaceModel, LinearShape
from dimitra.shards import read_npz

MEDIAPIPE_TABLE = "mediapipe_open_head.npz"
DATA_FILES = ("mediapipe_open_head.npz",)


@dataclass(frozen=True)
class ScoreModel:
    """``score = expression @ matrix + bias + noise``; residuals times ``whitener`` have unit noise.

    Attributes:
        columns: which of the detector's 52 scores are read.
        matrix: change of the scores by the expression.
        bias: scores of the neutral face.
        whitener: inverse square root of the noise covariance.
    """

    columns: Int[Tensor, " scores"]
    matrix: Float[Tensor, "64 scores"]
    bias: Float[Tensor, " scores"]
    whitener: Float[Tensor, "scores scores"]


@dataclass(frozen=True)
class Correspondence:
    """Model points of a landmark source.

    Attributes:
        indices: which of the source's landmarks are used, the contour first.
        shape: the model points of those that are not on the contour.
        contour: candidate vertices of each contour landmark, flattened; empty for none.
        contour_points: contour landmarks.
        weights: trust in each used landmark; 1 is a noise of ``FitSettings.noise_px``.
        modes: shared noise ``M`` of the weighted residuals (x and y of each landmark in turn):
            ``I - M M'`` whitens them.
        scores: reading of blendshape scores, where the source has them.
    """

    indices: Int[Tensor, " points"]
    shape: LinearShape
    contour: LinearShape
    contour_points: int
    weights: Float[Tensor, " points"]
    modes: Float[Tensor, "rows modes"]
    scores: ScoreModel | None = None


def _double(shape: LinearShape) -> LinearShape:
    return LinearShape(
        shape.mean.to(torch.float64),
        shape.identity_basis.to(torch.float64),
        shape.expression_basis.to(torch.float64),
    )


@functools.lru_cache(maxsize=4)
def ibug_68(model: FaceModel) -> Correspondence:
    """The 68 landmarks of dlib."""
    device = model.mean.device
    weights = torch.ones(68, dtype=torch.float64, device=device)
    # The outline and the brows are the least repeatable.
    weights[:JAW] = 0.25
    weights[17:27] = 0.6
    weights[[60, 64]] = 0.5
    return Correspondence(
        indices=torch.arange(68, device=device),
        shape=_double(model.subset(model.landmarks_68[JAW:])),
        contour=_double(model.subset(contour_candidates(model).flatten())),
        contour_points=JAW,
        weights=weights,
        modes=torch.zeros(136, 0, dtype=torch.float64, device=device),
    )


@functools.lru_cache(maxsize=4)
def mediapipe_478(model: FaceModel) -> Correspondence:
    """MediaPipe's landmarks and blendshape scores.

    Raises:
        ValueError: the face model is not the open head, for which the table was made.
    """
    if model.name != "open_head":
        raise ValueError(
            f"MediaPipe's landmarks are mapped to the open head, not to {model.name}; "
            "use fit.landmarks: dlib"
        )
    table = {
        name: torch.from_numpy(array).to(model.mean.device)
        for name, array in read_npz(Path(__file__).with_name(MEDIAPIPE_TABLE).read_bytes()).items()
    }
    corners = table["triangles"].long()
    weights = table["barycentric"].to(torch.float64)
    around = _double(model.subset(corners.flatten()))

    response = table["response"].to(torch.float64)

    def blend(values: Tensor) -> Tensor:
        split = values.reshape(*values.shape[:-2], len(corners), 3, 3)
        return torch.einsum("...pkc,pk->...pc", split, weights)

    return Correspondence(
        indices=table["landmarks"].long(),
        shape=LinearShape(
            blend(around.mean) + response[0],
            blend(around.identity_basis) + response[1 + EXPRESSION_SIZE :],
            blend(around.expression_basis) + response[1 : 1 + EXPRESSION_SIZE],
        ),
        contour=_double(model.subset(model.landmarks_68[:0])),
        contour_points=0,
        weights=table["weights"].to(torch.float64),
        modes=table["modes"].to(torch.float64),
        scores=ScoreModel(
            table["score_columns"].long(),
            table["score_matrix"].to(torch.float64),
            table["score_bias"].to(torch.float64),
            table["score_whitener"].to(torch.float64),
        ),
    )
