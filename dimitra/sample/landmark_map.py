"""Where MediaPipe's points lie on the open head, and how they miss.

    python -m dimitra.sample.landmark_map      # about ten minutes; writes the committed table

Heads of people who are not in the corpus, with random faces, are drawn and measured. Each point is
tied to the place on a triangle of its own part (lips, eyelids, brows, skin, iris) that explains it
best over all of them. Yet MediaPipe does not follow the skin: it answers less to an unusual
face or an unusual head than there is to see. So each point's apparent place is that place plus a
response, linear in the coefficients, found by ridge regression. What remains, on people whom the
regression has not seen, is the detector's noise, in pixels of the 224 frame: strongly shared
between neighbouring points, so it is stored as factors (a few shared modes and each point's own
remainder), and likewise the reading of the blendshape scores.
"""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dimitra.assets import asset_path
from dimitra.faces.mediapipe import MediaPipeLandmarker
from dimitra.morphable import correspondence, open_head
from dimitra.morphable.camera import CENTRE_PX, FOCAL_PX, rotation
from dimitra.morphable.model import FaceModel
from dimitra.sample.appearance import make_look, wall_image
from dimitra.sample.scene import DISTANCE, ClipCamera, frames, turn_about_neck
from dimitra.shards import npz_bytes, write_atomic

logger = logging.getLogger(__name__)

Array = NDArray[Any]

PEOPLE, FACES = 160, 12
SIZE_PX = 256
MODES = 60
NOISE_FLOOR_PX = 0.25
"""Least noise of a point's own: what a smoother renderer or camera would not remove."""
SEED = 7_700
RIDGE = (0.1, 30.0, 200.0)
"""Ridge of the response: its constant, by expression, by identity; least error on people left out,
about the same from a third to three times these."""
FOLDS = 5

POINTS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "outer lips": (("lips", "skin"), (
        61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
    )),
    "inner lips": (("lips", "mouth_interior"), (
        78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
    )),
    "right eyelids": (("eyelids", "lashes", "skin"), (
        33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
    )),
    "left eyelids": (("eyelids", "lashes", "skin"), (
        263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466,
    )),
    "brows": (("skin", "brows", "eyelids"), (
        46, 53, 52, 65, 55, 70, 63, 105, 66, 107, 276, 283, 282, 295, 285, 300, 293, 334, 296, 336,
    )),
    "nose": (("skin",), (
        168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 97, 326, 327, 129, 358, 49, 279,
    )),
    "chin": (("skin", "lips"), (152, 148, 377, 176, 400, 199, 175, 200, 18)),
    "cheeks": (("skin",), (50, 280, 101, 330, 205, 425, 36, 266, 116, 345, 117, 346)),
    "around the mouth": (("skin", "lips"), (
        164, 165, 391, 92, 322, 186, 410, 57, 287, 43, 273, 106, 335, 182, 406, 83, 313,
    )),
    "irises": (("pupil", "iris"), (468, 473)),
}  # fmt: skip
"""MediaPipe's points by the parts of the head that they lie on (canonical face mesh numbering)."""


@dataclass(frozen=True)
class Measured:
    """Drawn faces and what MediaPipe answered.

    Attributes:
        score_names: of the scores.
        vertices_px: projected vertices, pixels of the 224 frame, ``[N, V, 2]``.
        points_px: MediaPipe's points in the same pixels, ``[N, 478, 2]``.
        scores: ``[N, 52]``.
        expression: ``[N, 64]``.
        identity: ``[N, 80]``.
        turns: head rotations, ``[N, 3, 3]``.
        scale_px: pixels a decimetre at the head's origin, ``[N]``.
        people: who it is, ``[N]``.
    """

    score_names: tuple[str, ...]
    vertices_px: Array
    points_px: Array
    scores: Array
    expression: Array
    identity: Array
    turns: Array
    scale_px: Array
    people: Array


def random_units(names: tuple[str, ...], count: int, generator: np.random.Generator) -> Array:
    """Activations ``[count, units]``: a few units each, mostly symmetric; the first is neutral."""
    bases = sorted({name.removesuffix("Left").removesuffix("Right") for name in names})
    mouth = [base for base in bases if base.startswith(("mouth", "jaw"))]
    rest = [base for base in bases if base not in mouth and base != "tongueOut"]
    units = np.zeros((count, len(names)), np.float32)
    for row in units[1:]:
        size: dict[str, float] = {}
        for base in generator.choice(mouth, generator.integers(1, 6), replace=False):
            size[base] = generator.uniform(0, 0.8)
        for base in generator.choice(rest, generator.integers(0, 4), replace=False):
            size[base] = generator.uniform(0, 0.8)
        if generator.random() < 0.6:
            size["jawOpen"] = generator.beta(1.2, 2.5)
        if generator.random() < 0.15:
            size["eyeBlink"] = generator.uniform(0, 1)
        for base in ("jaw", "mouth", "jawForward"):  # to one side, or forward: mild in people
            size[base] = 0.4 * size.get(base, 0.0)
        for base, value in size.items():
            weaker = 1.0 if generator.random() < 0.75 else generator.uniform(0, 1)
            left, right = (weaker, 1.0) if generator.random() < 0.5 else (1.0, weaker)
            if base in ("jaw", "mouth"):  # one side alone
                left, right = float(left < right), float(left >= right)
            for side, share in (("", 1.0), ("Left", left), ("Right", right)):
                if base + side in names:
                    row[names.index(base + side)] = value * share
    return np.clip(units, 0, 1)


def measure(model: FaceModel, people: int) -> Measured:
    """Draw random people and measure them.

    Raises:
        ValueError: the face model has no face units.
    """
    if model.units_to_expression is None:
        raise ValueError("random faces need a model with face units: the open head")
    landmarker = MediaPipeLandmarker(asset_path("mediapipe_landmarker"))
    rows: list[tuple[Any, ...]] = []
    names: tuple[str, ...] = ()
    for person in range(people):
        generator = np.random.default_rng([SEED, person])
        gender = "fm"[person % 2]
        look = make_look(model, gender, generator)
        units = random_units(model.unit_names, FACES, generator)
        expression = (torch.from_numpy(units) @ model.units_to_expression).numpy()
        spread = np.array([0.12, 0.2, 0.08, 0.08, 0.08, 0.08])
        pose = turn_about_neck((generator.standard_normal((FACES, 6)) * spread).astype(np.float32))
        x, y = (SIZE_PX * generator.uniform(low, low + 0.06) for low in (0.47, 0.43))
        camera = ClipCamera(float(generator.uniform(850, 1100)), (float(x), float(y)), SIZE_PX)
        wall = wall_image(look, 2 * SIZE_PX, generator)
        images = frames(model, look, gender, expression, pose, camera, wall)
        head = model.vertices(torch.from_numpy(look.identity), torch.from_numpy(expression)).numpy()
        turns = rotation(torch.from_numpy(pose[:, :3])).numpy()
        for index, image in enumerate(images):
            picture = _compress(image, int(generator.integers(70, 95)))
            answer = landmarker.measure(picture)
            if answer is None:
                continue
            names = names or landmarker.score_names(picture)
            placed = head[index] @ turns[index].T + pose[index, 3:]
            scale = FOCAL_PX / (DISTANCE - placed[:, 2])
            seen = np.stack([scale * placed[:, 0], -scale * placed[:, 1]], axis=1) + CENTRE_PX
            points = (answer[0] - camera.centre_px) * (FOCAL_PX / camera.focal_px) + CENTRE_PX
            head_scale = FOCAL_PX / (DISTANCE - pose[index, 5])
            rows.append(
                (seen, points, answer[1], expression[index], look.identity, turns[index],
                 np.float64(head_scale), np.float64(person))
            )  # fmt: skip
        if person % 20 == 0:
            logger.info("%d of %d people measured", person, people)
    columns = [np.stack(column).astype(np.float32) for column in zip(*rows, strict=True)]
    return Measured(names, *columns)


def _compress(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer), np.uint8)


def tie(model: FaceModel, measured: Measured) -> tuple[Array, Array, Array]:
    """Landmarks ``[P]``, the triangles ``[P, 3]`` they lie on, and barycentric weights."""
    landmarks, corners, weights = [], [], []
    triangles = model.triangles.numpy()
    front = model.mean[:, 2].numpy() > -0.4
    for parts, numbers in POINTS.values():
        allowed = np.flatnonzero(model.part(*parts).numpy() & front)
        faces = triangles[np.isin(triangles, allowed).all(1)]
        for number in numbers:
            wanted = measured.points_px[:, number]
            squared = ((measured.vertices_px[:, allowed] - wanted[:, None]) ** 2).sum(-1)
            near = np.argsort(np.minimum(squared, 64).mean(0))[:6]
            usable = squared[:, near[0]] < 64  # not where the detector lost the face
            around = faces[np.isin(faces, allowed[near]).any(1)]
            fits = [
                _barycentric(measured.vertices_px[usable][:, face], wanted[usable])
                for face in around
            ]
            best = int(np.argmin([cost for cost, _ in fits]))
            landmarks.append(number)
            corners.append(around[best])
            weights.append(fits[best][1])
    return np.array(landmarks), np.array(corners), np.array(weights)


def _barycentric(corners_px: Array, wanted: Array) -> tuple[float, Array]:
    """Mean squared miss, and the weights of corners ``[N, 3, 2]`` that make it least."""
    edges = (corners_px[:, :2] - corners_px[:, 2:]).transpose(0, 2, 1).reshape(-1, 2)
    free = np.linalg.lstsq(edges, (wanted - corners_px[:, 2]).reshape(-1), rcond=None)[0]
    weights = np.clip([free[0], free[1], 1 - free.sum()], 0, None)
    weights = weights / weights.sum()
    miss = np.einsum("nkc,k->nc", corners_px, weights) - wanted
    return float((miss**2).sum(1).mean()), weights


def respond(measured: Measured, miss: Array) -> tuple[Array, Array]:
    """Response of the points to the coefficients, and what it leaves on people left out.

    Args:
        measured: faces.
        miss: MediaPipe's points minus the places on the skin ``[N, P, 2]``, pixels.

    Returns:
        response ``[1 + 64 + 80, P, 3]``, decimetres in the model's frame: constant, by expression,
        by identity; and predicted minus measured points ``[N, P, 2]``, pixels, where each person
        was predicted from the other folds' people.
    """
    count, points = miss.shape[:2]
    inputs = np.concatenate([np.ones((count, 1)), measured.expression, measured.identity], axis=1)
    rows = np.einsum("nac,nk->nakc", measured.turns[:, :2], inputs).reshape(2 * count, -1)
    upward = miss * (1.0, -1.0) / measured.scale_px[:, None, None]
    wanted = upward.transpose(0, 2, 1).reshape(2 * count, points)
    sizes = (1, measured.expression.shape[1], measured.identity.shape[1])
    ridge = np.diag(np.repeat(np.repeat(RIDGE, sizes), 3))

    def solve(kept: Array) -> Array:
        known = np.repeat(kept, 2)
        x, y = rows[known].astype(np.float64), wanted[known]
        return np.asarray(np.linalg.solve(x.T @ x + ridge, x.T @ y))

    fold = measured.people.astype(int) % FOLDS
    left = np.empty_like(wanted)
    for number in range(FOLDS):
        out = np.repeat(fold == number, 2)
        left[out] = rows[out] @ solve(fold != number) - wanted[out]
    remainder = left.reshape(count, 2, points).transpose(0, 2, 1) * (1.0, -1.0)
    response = solve(np.ones(count, np.bool_)).reshape(-1, 3, points).transpose(0, 2, 1)
    return response, remainder * measured.scale_px[:, None, None]


def factors(residual: Array) -> tuple[Array, Array]:
    """Each point's own noise ``[P]`` and the shared modes ``[2 P, MODES]`` of what remains.

    Factor analysis by principal factors: ``I - M M'`` whitens residuals divided by their noise.

    Args:
        residual: ``[N, P, 2]``, pixels.
    """
    flat = np.clip(residual, -6, 6).reshape(len(residual), -1).astype(np.float64)
    covariance = flat.T @ flat / len(flat)
    own = np.diag(covariance).reshape(-1, 2).mean(1)
    for _ in range(10):
        scale = np.repeat(np.sqrt(own), 2)
        values, vectors = _largest(covariance / scale[:, None] / scale)
        shared = (vectors**2 * np.maximum(values - 1, 0)).sum(1) * scale**2
        rest = (np.diag(covariance) - shared).reshape(-1, 2).mean(1)
        own = np.maximum(rest, NOISE_FLOOR_PX**2)
    scale = np.repeat(np.sqrt(own), 2)
    values, vectors = _largest(covariance / scale[:, None] / scale)
    return np.sqrt(own), vectors * np.sqrt(1 - 1 / np.sqrt(np.maximum(values, 1)))


def _largest(matrix: Array) -> tuple[Array, Array]:
    values, vectors = np.linalg.eigh(matrix)
    return values[::-1][:MODES], vectors[:, ::-1][:, :MODES]


def read_scores(model: FaceModel, measured: Measured) -> dict[str, Array]:
    """Linear reading of the scores by the expression, and the whitener of its noise."""
    columns = [
        measured.score_names.index(name)
        for name in model.unit_names
        if name in measured.score_names
    ]
    scores = measured.scores[:, columns].astype(np.float64)
    inputs = np.concatenate([measured.expression, np.ones((len(scores), 1))], axis=1)
    ridge = 5 * np.eye(inputs.shape[1])
    solution = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ scores)
    miss = scores - inputs @ solution
    values, vectors = np.linalg.eigh(miss.T @ miss / len(miss) + 1e-3 * np.eye(len(columns)))
    return {
        "score_columns": np.array(columns, np.int32),
        "score_matrix": solution[:-1].astype(np.float32),
        "score_bias": solution[-1].astype(np.float32),
        "score_whitener": (vectors / np.sqrt(values) @ vectors.T).astype(np.float32),
    }


def make_table(model: FaceModel, measured: Measured) -> dict[str, Array]:
    """All that ``dimitra.morphable.correspondence`` reads."""
    landmarks, corners, weights = tie(model, measured)
    placed = np.einsum("npkc,pk->npc", measured.vertices_px[:, corners], weights)
    miss = measured.points_px[:, landmarks] - placed
    response, residual = respond(measured, miss)
    own, modes = factors(residual)
    start = 0
    for name, (_, numbers) in POINTS.items():
        group = slice(start, start + len(numbers))
        start += len(numbers)
        logger.info(
            "%-18s miss %.2f px, after the response %.2f px, own noise %.2f px", name,
            *(np.sqrt((part[:, group] ** 2).mean()) for part in (miss, residual)),
            own[group].mean(),
        )  # fmt: skip
    return {
        "landmarks": landmarks.astype(np.int32),
        "triangles": corners.astype(np.int32),
        "barycentric": weights.astype(np.float32),
        "response": response.astype(np.float16),
        "weights": (1 / own).astype(np.float32),
        "modes": modes.astype(np.float32),
        **read_scores(model, measured),
    }


def main() -> None:
    """Write the table beside the module that reads it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    model = open_head.load()
    table = make_table(model, measure(model, PEOPLE))
    target = Path(correspondence.__file__).with_name(correspondence.MEDIAPIPE_TABLE)
    write_atomic(target, npz_bytes(table))


if __name__ == "__main__":
    main()
