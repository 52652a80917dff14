"""Geometry of the open head: which vertices it keeps, its eyeballs, parts and landmarks.

Vertex numbers are those of MakeHuman's ``hm08`` mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dimitra.morphable.makehuman import (
    BaseMesh,
    Floats,
    Integers,
    read_base_mesh,
    read_mirror,
    vertex_mask,
)

PART_NAMES = (
    "skin",
    "lips",
    "eyelids",
    "lashes",
    "brows",
    "ears",
    "scalp",
    "neck",
    "mouth_interior",
    "upper_teeth",
    "lower_teeth",
    "tongue",
    "sclera",
    "iris",
    "pupil",
)

EYE_CENTRE_HEIGHT = 0.29
EYE_DEPTH = 0.13
"""Where the eye corners stand in the Basel model's frame, decimetres (y and z)."""

_LEFT_LANDMARKS = {
    9: 11898, 10: 11901, 11: 11903, 12: 11849, 13: 11851, 14: 11854, 15: 11812, 16: 12001,
    22: 7001, 23: 6983, 24: 6979, 25: 6982, 26: 6986,
    34: 7076, 35: 7082,
    42: 11486, 43: 11483, 44: 11466, 45: 6805, 46: 6825, 47: 6831,
    52: 7210, 53: 11956, 54: 7186, 55: 7166, 56: 7241,
    63: 7228, 64: 10375, 65: 7242,
}  # fmt: skip
"""Landmarks of the subject's left half: chosen on the frontal projection of the mean by the
definition of the iBUG scheme, then moved to the vertex nearest to where dlib puts them."""
_MIDDLE_LANDMARKS = {
    8: 5296, 27: 132, 28: 135, 29: 164, 30: 294, 33: 317, 51: 455, 57: 492, 62: 474, 66: 493,
}  # fmt: skip
_MIRRORED = {
    **{k: 16 - k for k in range(9, 17)},
    **{k: 43 - k for k in range(22, 27)},
    34: 32, 35: 31,
    42: 39, 43: 38, 44: 37, 45: 36, 46: 41, 47: 40,
    52: 50, 53: 49, 54: 48, 55: 59, 56: 58,
    63: 61, 64: 60, 65: 67,
}  # fmt: skip

LASH_DISTANCE = 1.15
"""Upper-lid vertices nearer to the eye than this many eyeball radii are the lash line."""
_EYE_SEGMENTS = 16
_EYE_RINGS_DEG = (5.0, 8.0, 9.0, 14.0, 20.0, 21.5, 24.0, 32.0, 45.0, 65.0, 90.0)
_PUPIL_DEG = 8.5
_IRIS_DEG = 21.8
"""An iris of 5.9 mm on MakeHuman's eyeball of 15.5 mm."""


UPPER_EDGE_DM, LOWER_EDGE_DM = (-0.392, 0.226), (-0.376, 0.196)
"""Where the incisors' edges stand at rest, y and z: the upper ones 3 mm below the line at which
the lips meet and in front of the lower ones, as in a normal bite."""
_TEETH_WIDTH, _TEETH_HEIGHT = 0.94, 0.85
"""MakeHuman's rows are 67 mm wide and 16 mm high; smaller ones stay behind the lips."""
_ARCH_DM, _ARCH_HALF_WIDTH_DM = 0.018, 0.16
"""The incisors stand this much further out than MakeHuman's flat front, as the lips do."""
LOWER_TEETH_TRAVEL = 1.2
"""MakeHuman's jaw carries the lower lip by a third further than the lower teeth, which would bare
them in every open vowel; they follow with this factor."""


@dataclass(frozen=True)
class HeadMesh:
    """The open head's mesh in its own vertex numbering.

    Attributes:
        mean: [V, 3], decimetres, in the camera frame.
        triangles: [F, 3].
        uv: [U, 2].
        uv_triangles: [F, 3].
        parts: [V] index into ``PART_NAMES``.
        landmarks_68: [68].
        face: [V] 1 on the front of the face, 0 elsewhere.
        skin: [V] 1 on outer skin and lips.
        mouth: [V] smooth window of the mouth and jaw region, with teeth and tongue.
        kept: base-mesh vertex of each vertex that is not part of an eyeball.
        eyes: per eyeball, its base-mesh vertices and the weights [E, H] that carry them to it.
    """

    mean: Floats
    triangles: Integers
    uv: Floats
    uv_triangles: Integers
    parts: Integers
    landmarks_68: Integers
    face: Floats
    skin: Floats
    mouth: Floats
    kept: Integers
    eyes: tuple[tuple[Integers, Floats], ...]

    def carry(self, field: Floats) -> Floats:
        """A displacement field of the base mesh on this mesh: [B, 3] -> [V, 3]."""
        return np.concatenate([field[self.kept], *[w @ field[i] for i, w in self.eyes]])


def read(data: Path) -> tuple[BaseMesh, dict[int, int]]:
    """Base mesh and its mirror table."""
    folder = data / "mpfb2"
    return (
        read_base_mesh(folder / "3dobjs" / "base.obj"),
        read_mirror(folder / "mesh_metadata" / "hm08.mirror"),
    )


def landmark_vertices(mirror: dict[int, int]) -> Integers:
    """Base-mesh vertex of the 68 landmarks, in iBUG order (0 is at the subject's right ear)."""
    vertices = {**_MIDDLE_LANDMARKS, **_LEFT_LANDMARKS}
    vertices |= {_MIRRORED[k]: mirror[v] for k, v in _LEFT_LANDMARKS.items()}
    return np.array([vertices[k] for k in range(68)])


def _eyeball(helper: Floats) -> tuple[Floats, Floats, Integers, Floats]:
    """A round eyeball that follows the base mesh's coarse one.

    Every vertex is the affine combination of the helper's vertices with the least norm, so that it
    moves, turns and grows with them.

    Args:
        helper: [H, 3] vertices of the coarse eyeball.

    Returns:
        weights [E, H], angles from the gaze axis [E] in degrees, triangles [*, 3], uv [E, 2].
    """
    centre = helper.mean(axis=0)
    radius = np.linalg.norm(helper - centre, axis=1).mean()
    points, angles, uv = [np.array([0.0, 0.0, 1.0])], [0.0], [np.array([0.5, 0.5])]
    for ring in _EYE_RINGS_DEG:
        for segment in range(_EYE_SEGMENTS):
            turn, tilt = 2 * np.pi * segment / _EYE_SEGMENTS, np.radians(ring)
            flat = np.array([np.cos(turn), np.sin(turn)])
            points.append(np.array([*(np.sin(tilt) * flat), np.cos(tilt)]))
            angles.append(ring)
            uv.append(0.5 + flat * ring / 200.0)
    target = centre + radius * np.array(points)
    affine = np.concatenate([np.ones((len(helper), 1)), helper], axis=1)
    wanted = np.concatenate([np.ones((len(target), 1)), target], axis=1)
    weights = wanted @ np.linalg.pinv(affine)
    n = _EYE_SEGMENTS
    triangles = [[0, 1 + s, 1 + (s + 1) % n] for s in range(n)]
    for ring_index in range(len(_EYE_RINGS_DEG) - 1):
        inner, outer = 1 + ring_index * n, 1 + (ring_index + 1) * n
        for s in range(n):
            a, b = inner + s, inner + (s + 1) % n
            c, d = outer + s, outer + (s + 1) % n
            triangles += [[a, c, d], [a, d, b]]
    return weights, np.array(angles), np.array(triangles), np.array(uv)


def _smooth_step(value: Floats, low: float, high: float) -> Floats:
    """0 below ``low``, 1 above ``high``, cubic in between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _body_parts(base: BaseMesh, vertices: Floats, data: Path) -> Integers:
    """Part of every base-mesh vertex, from UV masks and place; eyeballs are labelled elsewhere."""
    textures = data / "mpfb2" / "textures"
    part = {name: index for index, name in enumerate(PART_NAMES)}
    labels = np.full(len(vertices), part["skin"])
    x, y, z = vertices.T
    labels[y + 0.35 * z < 6.72] = part["neck"]
    hairline = 7.95 - 1.1 * _smooth_step(np.abs(x) - 0.05 * z, 0.35, 0.75)
    labels[(y > hairline) & (z > 0.55)] = part["scalp"]
    labels[(z <= 0.55) & (y > 7.42)] = part["scalp"]
    labels[(z <= 0.25) & (y > 6.75)] = part["scalp"]
    curve = np.interp(np.abs(x), [0.08, 0.25, 0.4, 0.52], [7.475, 7.51, 7.50, 7.445])
    brow = (np.abs(x) > 0.08) & (np.abs(x) < 0.53) & (np.abs(y - curve) < 0.027) & (z > 1.1)
    labels[brow] = part["brows"]
    for name, mask in (("ears", "ears"), ("eyelids", "eyelids"), ("lips", "lips")):
        labels[vertex_mask(base, textures / f"mpfb_{mask}.jpg") > 0.5] = part[name]
    for group in ("helper-l-eye", "helper-r-eye"):
        helper = vertices[np.unique(base.quads[base.groups == group])]
        offset = vertices - helper.mean(axis=0)
        radius = np.linalg.norm(helper - helper.mean(axis=0), axis=1).mean()
        distance = np.linalg.norm(offset, axis=1) / radius
        margin = (distance > 1.0) & (distance < LASH_DISTANCE) & (offset[:, 2] > 0.4 * radius)
        labels[margin & (offset[:, 1] > 0) & (labels == part["eyelids"])] = part["lashes"]
    interior = vertex_mask(base, textures / "mpfb_inside-mouth.jpg") > 0.5
    labels[interior & (labels != part["lips"])] = part["mouth_interior"]
    for name, group in (
        ("tongue", "helper-tongue"),
        ("upper_teeth", "helper-upper-teeth"),
        ("lower_teeth", "helper-lower-teeth"),
    ):
        labels[np.unique(base.quads[base.groups == group])] = part[name]
    return labels


def cut(base: BaseMesh, vertices: Floats, data: Path, mirror: dict[int, int]) -> HeadMesh:
    """Cut the head out of the body, replace its eyeballs and place it in the camera frame.

    Args:
        base: base mesh.
        vertices: [B, 3] mean vertices of the base mesh.
        data: folder of the base mesh's UV masks.
        mirror: vertex of the other half for every vertex.
    """
    above = vertices[:, 1] + 0.2 * vertices[:, 2] > 5.97
    inner = np.isin(base.groups, ["helper-tongue", "helper-upper-teeth", "helper-lower-teeth"])
    keep = inner | ((base.groups == "body") & above[base.quads].all(axis=1))
    quads, uv_quads = base.quads[keep], base.uv_quads[keep]
    kept, quads = np.unique(quads, return_inverse=True)
    kept_uv, uv_quads = np.unique(uv_quads, return_inverse=True)
    quads, uv_quads = quads.reshape(-1, 4), uv_quads.reshape(-1, 4)
    halves = ([0, 1, 2], [0, 2, 3])
    triangles = [np.concatenate([quads[:, half] for half in halves])]
    uv_triangles = [np.concatenate([uv_quads[:, half] for half in halves])]
    labels = _body_parts(base, vertices, data)[kept]

    part = {name: index for index, name in enumerate(PART_NAMES)}
    mean, uv, parts, eyes = [vertices[kept]], [base.uv[kept_uv]], [labels], []
    for group in ("helper-l-eye", "helper-r-eye"):
        helper = np.unique(base.quads[base.groups == group])
        weights, angles, faces, eye_uv = _eyeball(vertices[helper])
        eyes.append((helper, weights))
        triangles.append(faces + sum(len(block) for block in mean))
        uv_triangles.append(faces + sum(len(block) for block in uv))
        mean.append(weights @ vertices[helper])
        uv.append(eye_uv)
        ring = np.where(angles < _IRIS_DEG, part["iris"], part["sclera"])
        parts.append(np.where(angles < _PUPIL_DEG, part["pupil"], ring))

    everything, every_part = np.concatenate(mean), np.concatenate(parts)
    numbers = np.full(len(vertices), -1)
    numbers[kept] = np.arange(len(kept))
    landmarks = numbers[landmark_vertices(mirror)]
    corners = everything[landmarks[[36, 39, 42, 45]]].mean(axis=0)
    origin = np.array([0.0, corners[1] - EYE_CENTRE_HEIGHT, corners[2] - EYE_DEPTH])
    return HeadMesh(
        mean=everything - origin,
        triangles=np.concatenate(triangles),
        uv=np.concatenate(uv),
        uv_triangles=np.concatenate(uv_triangles),
        parts=every_part,
        landmarks_68=landmarks,
        kept=kept,
        eyes=tuple(eyes),
        **_windows(everything - origin, every_part),
    )


def seat_teeth(mean: Floats, expression: Floats, parts: Integers) -> tuple[Floats, Floats]:
    """Move the teeth to where people have them; no other vertex changes.

    Args:
        mean: [V, 3], in the camera frame.
        expression: [64, V, 3].
        parts: [V].

    Returns:
        mean and expression with seated teeth.
    """
    mean, expression = mean.copy(), expression.copy()
    for name, (y, z) in (("upper_teeth", UPPER_EDGE_DM), ("lower_teeth", LOWER_EDGE_DM)):
        row = np.flatnonzero(parts == PART_NAMES.index(name))
        old = mean[row]
        front = old[:, 0] ** 2 < 1e-8
        towards_edge = -1 if name == "upper_teeth" else 1
        edge = old[front][np.argmax(towards_edge * old[front, 1])]
        mean[row, 1] = y + _TEETH_HEIGHT * (old[:, 1] - edge[1])
        mean[row, 0] = _TEETH_WIDTH * old[:, 0]
        arch = np.clip(1 - (old[:, 0] / _ARCH_HALF_WIDTH_DM) ** 2, 0, None)
        mean[row, 2] = old[:, 2] + z - edge[2] + _ARCH_DM * (arch - 1)
    lower = parts == PART_NAMES.index("lower_teeth")
    expression[:, lower] *= LOWER_TEETH_TRAVEL
    return mean, expression


def _windows(mean: Floats, parts: Integers) -> dict[str, Floats]:
    """Weights of the face, the outer skin and the mouth region."""

    def inside(*names: str) -> NDArray[np.bool_]:
        return np.isin(parts, [PART_NAMES.index(name) for name in names])

    skin = inside("skin", "lips", "eyelids", "lashes", "brows").astype(np.float64)
    nose_base, cheek = -0.14, 0.16
    window = 1.0 - _smooth_step(mean[:, 1], nose_base, cheek)
    window[inside("sclera", "iris", "pupil", "scalp", "ears", "eyelids", "lashes", "brows")] = 0.0
    window[inside("upper_teeth", "lower_teeth", "tongue", "mouth_interior")] = 1.0
    return {
        "skin": skin + inside("neck"),
        "face": skin * (mean[:, 2] > -0.3),
        "mouth": window,
    }
