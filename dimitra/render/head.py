"""The face model as the mesh renderer sees it: layers, colours, mirrored twins, soft regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dimitra.morphable import camera
from dimitra.morphable.model import FaceModel
from dimitra.render.composite import EYE, INTERIOR, SKIN
from dimitra.render.mouth import (
    LOWER_WIDTHS_MM,
    NO_TOOTH,
    UPPER_WIDTHS_MM,
    open_mouth,
    tooth_numbers,
)

Floats = NDArray[np.float64]

INTERIOR_COLOURS = {
    "upper_teeth": (234.0, 224.0, 210.0),
    "lower_teeth": (218.0, 206.0, 192.0),
    "tongue": (196.0, 104.0, 100.0),
    "mouth_interior": (142.0, 62.0, 58.0),
}
"""sRGB in full light of the parts inside the mouth."""
EYE_COLOURS = {
    "sclera": (214.0, 206.0, 200.0),
    "iris": (92.0, 66.0, 46.0),
    "pupil": (24.0, 20.0, 18.0),
}
"""sRGB of an eye that the photo does not show (its lids are closed)."""
FLESH = (58.0, 22.0, 20.0)
"""sRGB inside the mouth, in full light outside, where light comes through lips and cheeks alone."""

UPPER_LIDS = ((37, 38), (43, 44))
LOWER_LIDS = ((41, 40), (47, 46))
EYE_CORNERS = ((36, 39), (42, 45))
"""iBUG landmarks (from 0) of the right and the left eye."""
INNER_LIPS = ((61, 62, 63), (67, 66, 65))
"""Upper and lower inner lip."""
LIPS = tuple(range(48, 68))
LID_RING = (tuple(range(36, 42)), tuple(range(42, 48)))

LIP_LINE, LASH_LINE = (0.035, 0.0), (0.034, 0.008)
"""Distance (decimetres) from where lips, and lids, meet at which shadow begins, and is whole."""
LID_REACH = 0.11
LOWER_LID_REACH = 0.035
LIP_REACH = 0.16
"""Radius around a lid or lip landmark that moves as one piece with it, decimetres."""
INNER_REACH = 0.12
"""Radius around brows, eyes, nose and mouth within which edges are kept sharp, decimetres."""
FRONT_DEPTH = (-0.4, -0.2)
"""From which depth on (decimetres) skin belongs to the front of the face."""
TEETH_ARCH = (0.03, 0.27)
"""Distance from the middle (decimetres) over which the row of teeth turns from the light."""
BACK_SHARE, BACK_TEETH = 0.8, (96.0, 58.0, 50.0)
"""Share of the cheeks' shadow in the colour of the last teeth, and its sRGB."""
GROOVE = (0.12, 0.03)
"""How much darker the tongue's middle line is, and half its width, decimetres."""
NECK_FADE = (0.16, 0.02)
"""From which depth below the jaw line on the head stops and the neck starts, decimetres."""


def smoothstep(value: NDArray[Any] | float, low: float, high: float) -> Floats:
    """0 below ``low``, 1 above ``high`` (``low`` may be the larger), smooth between."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float64)


@dataclass(frozen=True, eq=False)
class Head:
    """A face model in numpy, with what the renderer adds to it.

    Attributes:
        model: the face model.
        mean: [V, 3], decimetres.
        triangles: [F, 3] int32.
        layer: [F] uint8, ``SKIN``, ``EYE`` or ``INTERIOR``.
        colours: [V, 3] float32, colours of mouth and eyes in full light, 0..255.
        vertex_layer: [V] uint8.
        twin: [V] the vertex mirrored across the middle.
        landmarks: [68] vertex of every landmark.
        lids: [2, V] 1 on the lids of the right and the left eye, falling to 0.
        covers: [2, V] the same for what plain skin covers in a blink: upper lids, and the rim of
            the lower ones.
        lashes: [2, V] 1 on the edge of the upper lids, falling to 0.
        lips: [V] 1 on the lips, falling to 0.
        lip_line: [V] 1 on the lips where they meet, falling to 0.
        skull: [V] 1 on the head, falling to 0 on the neck.
        outer: [V] 0 on eyes, nose and mouth, rising to 1 on the sides and the top of the head.
        front: [V] 1 on the skin of the face without its outline, where mirroring is safe.
        teeth: [V] 1 on the teeth.
        upper_teeth: [V] 1 on the upper teeth.
        lower_teeth: [V] 1 on the lower teeth.
        tongue: [V] 1 on the tongue.
        tooth: [V] float32, number of the tooth from the middle, ``NO_TOOTH`` elsewhere.
    """

    model: FaceModel
    mean: Floats
    triangles: NDArray[np.int32]
    layer: NDArray[np.uint8]
    colours: NDArray[np.float32]
    vertex_layer: NDArray[np.uint8]
    twin: NDArray[np.int64]
    landmarks: NDArray[np.int64]
    lids: Floats
    covers: Floats
    lashes: Floats
    lips: Floats
    lip_line: Floats
    skull: Floats
    outer: Floats
    front: Floats
    teeth: Floats
    upper_teeth: Floats
    lower_teeth: Floats
    tongue: Floats
    tooth: NDArray[np.float32]


class HasMouth(Protocol):
    """A face model with the regions that an open mouth moves, in numpy or on a device."""

    @property
    def model(self) -> FaceModel: ...
    @property
    def landmarks(self) -> Any: ...
    @property
    def upper_teeth(self) -> Any: ...
    @property
    def lower_teeth(self) -> Any: ...
    @property
    def tongue(self) -> Any: ...


@dataclass(frozen=True, eq=False)
class Placed:
    """Heads of T frames in a picture.

    Attributes:
        vertices: [T, V, 3] in the model frame, decimetres.
        posed: [T, V, 3] in the camera frame, decimetres.
        projected: [T, V, 3], pixels (x right, y down) and distance from the camera.
    """

    vertices: NDArray[np.float32]
    posed: NDArray[np.float32]
    projected: NDArray[np.float32]


def place(
    head: Head,
    identity: NDArray[np.float32],
    motion: NDArray[np.float32],
    crop: NDArray[np.float32],
    size: int,
) -> Placed:
    """Pose the head and look at it through Deng's camera.

    Args:
        head: the face model.
        identity: [80].
        motion: [T, 70].
        crop: [3], Deng's alignment of the picture.
        size: side of the picture, pixels.
    """
    vertices = moved_vertices(head, tensor(identity), tensor(motion[:, :64]))
    posed, projected = look(vertices, motion[:, 64:], crop, size)
    return Placed(vertices.numpy(), posed, projected)


def moved_vertices(
    head: HasMouth, identity: torch.Tensor, expression: torch.Tensor
) -> torch.Tensor:
    """Vertices [T, V, 3] for expressions [T, 64], model frame, with teeth and tongue moved."""
    vertices = head.model.vertices(identity, expression)
    upper, lower = (vertices[:, head.landmarks[list(lips)]] for lips in INNER_LIPS)
    opening = torch.linalg.vector_norm(upper - lower, dim=-1).mean(dim=1)
    open_mouth(vertices, opening, head.upper_teeth, head.lower_teeth, head.tongue)
    return vertices


def look(
    points: torch.Tensor,
    pose: NDArray[np.float32],
    crop: NDArray[np.float32],
    size: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pose points [..., N, 3] by [T, 6]: in the camera frame, and in pixels with the distance."""
    posed, projected = seen(points, tensor(pose), tensor(crop), size)
    return posed.numpy(), projected.numpy()


def seen(
    points: torch.Tensor, pose: torch.Tensor, crop: torch.Tensor, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """``look`` for tensors, on their device."""
    posed = camera.to_camera(points, pose)
    pixels = camera.aligned_to_crop(camera.project(posed), crop, size)
    return posed, torch.cat((pixels, camera.DISTANCE - posed[..., 2:]), dim=-1)


def tensor(array: NDArray[Any]) -> torch.Tensor:
    """A float32 tensor of an array."""
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _layer_of(name: str) -> int:
    if name in INTERIOR_COLOURS:
        return INTERIOR
    return EYE if name in EYE_COLOURS else SKIN


def _near(mean: Floats, landmarks: NDArray[np.int64], reach: float) -> Floats:
    distance, _ = cKDTree(mean[landmarks]).query(mean)
    return smoothstep(distance, 2.0 * reach, reach)


def _line(mean: Floats, corners: Floats, fade: tuple[float, float]) -> Floats:
    """1 at a polyline through ``corners`` [N, 3], falling to 0, [V]."""
    steps = np.linspace(0.0, 1.0, 9)[:, None, None]
    dense = (corners[:-1] + steps * (corners[1:] - corners[:-1])).reshape(-1, 3)
    distance, _ = cKDTree(dense).query(mean)
    return smoothstep(distance, *fade)


def _tooth_numbers(mean: Floats, model: FaceModel) -> NDArray[np.float32]:
    numbers = np.full(len(mean), NO_TOOTH, np.float32)
    for name, widths in (("upper_teeth", UPPER_WIDTHS_MM), ("lower_teeth", LOWER_WIDTHS_MM)):
        row = model.part(name).numpy()
        numbers[row] = tooth_numbers(mean[row], widths)
    return numbers


def prepare_head(model: FaceModel) -> Head:
    """Derive the renderer's view of a face model, once for all clips."""
    mean = model.mean.numpy().astype(np.float64)
    triangles = model.triangles.numpy().astype(np.int32)
    landmarks = model.landmarks_68.numpy().astype(np.int64)
    parts = model.parts.numpy()
    kinds = np.array([_layer_of(name) for name in model.part_names], np.uint8)
    plain = {**INTERIOR_COLOURS, **EYE_COLOURS}
    colours = np.array([plain.get(n, (0.0, 0.0, 0.0)) for n in model.part_names], np.float32)
    vertex_layer = kinds[parts]
    teeth = model.part("upper_teeth", "lower_teeth").numpy()
    back = np.where(teeth, BACK_SHARE * smoothstep(np.abs(mean[:, 0]), *TEETH_ARCH), 0.0)[:, None]
    groove = GROOVE[0] * np.exp(-((mean[:, :1] / GROOVE[1]) ** 2))
    groove *= model.part("tongue").numpy()[:, None]
    colours = (1.0 - back) * colours[parts] + back * np.array(BACK_TEETH)
    colours = (colours * (1.0 - groove)).astype(np.float32)
    inside = (vertex_layer == INTERIOR)[triangles].all(axis=1)
    layer = np.where(inside, INTERIOR, np.where(vertex_layer == EYE, EYE, SKIN)[triangles[:, 0]])
    _, twin = cKDTree(mean).query(mean * [-1.0, 1.0, 1.0])
    jaw = mean[landmarks[:17]]
    side = np.argsort(jaw[:, 0])
    jaw_height = np.interp(mean[:, 0], jaw[side, 0], jaw[side, 1])
    skull = smoothstep(jaw_height - mean[:, 1], *NECK_FADE)
    skull[model.part("ears", "scalp").numpy()] = 1.0
    lids = np.stack([_near(mean, landmarks[list(ring)], LID_REACH) for ring in LID_RING])
    height = np.stack([mean[landmarks[list(corners)], 1].mean() for corners in EYE_CORNERS])
    upper = smoothstep(mean[None, :, 1] - height[:, None], -0.02, 0.01)
    below = np.stack([_near(mean, landmarks[list(lid)], LOWER_LID_REACH) for lid in LOWER_LIDS])
    rings = [mean[landmarks[list(ring[:4])]] for ring in LID_RING]
    lashes = np.stack([_line(mean, ring, LASH_LINE) for ring in rings])
    for eye, near in enumerate(lids):
        lashes[eye, model.part("lashes").numpy() & (near > 0.1)] = 1.0
    lips = model.part("lips").numpy()
    lip_line = _line(mean, mean[landmarks[[*range(60, 68), 60]]], LIP_LINE) * lips
    lip_line[
        np.setdiff1d(
            triangles[(vertex_layer == INTERIOR)[triangles].any(axis=1)],
            np.flatnonzero(vertex_layer == INTERIOR),
        )
    ] = 1.0
    outline = model.part("ears", "scalp", "neck").numpy()
    return Head(
        model=model,
        mean=mean,
        triangles=triangles,
        layer=layer.astype(np.uint8),
        colours=colours,
        vertex_layer=vertex_layer,
        twin=np.asarray(twin, np.int64),
        landmarks=landmarks,
        lids=lids,
        covers=np.maximum(lids * upper, below),
        lashes=lashes * (vertex_layer == SKIN),
        lips=_near(mean, landmarks[list(LIPS)], LIP_REACH),
        lip_line=lip_line,
        skull=skull,
        outer=1.0 - _near(mean, landmarks[17:], INNER_REACH),
        front=(vertex_layer == SKIN) * ~outline * skull * smoothstep(mean[:, 2], *FRONT_DEPTH),
        teeth=teeth.astype(np.float64),
        upper_teeth=model.part("upper_teeth").numpy().astype(np.float64),
        lower_teeth=model.part("lower_teeth").numpy().astype(np.float64),
        tongue=model.part("tongue").numpy().astype(np.float64),
        tooth=_tooth_numbers(mean, model),
    )


def lid_opening(vertices: NDArray[Any], landmarks: NDArray[np.int64]) -> Floats:
    """Height of each eye's opening over its width, [2]: right, left."""
    points = vertices[landmarks].astype(np.float64)
    openings = []
    for upper, lower, corners in zip(UPPER_LIDS, LOWER_LIDS, EYE_CORNERS, strict=True):
        height = np.linalg.norm(points[list(upper)] - points[list(lower)], axis=1).mean()
        openings.append(height / np.linalg.norm(points[corners[0]] - points[corners[1]]))
    return np.array(openings)


def lip_opening(vertices: NDArray[Any], landmarks: NDArray[np.int64]) -> float:
    """Mean distance between the inner lips, decimetres."""
    points = vertices[landmarks].astype(np.float64)
    upper, lower = (points[list(lips)] for lips in INNER_LIPS)
    return float(np.linalg.norm(upper - lower, axis=1).mean())
