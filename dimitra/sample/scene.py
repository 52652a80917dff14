"""Drawing the frames of a clip: posed head, hair and shoulders under a key light."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.compiled import compiled
from dimitra.morphable.camera import rotation
from dimitra.morphable.coefficients import EXPRESSION_SIZE
from dimitra.morphable.model import FaceModel
from dimitra.render.rasterizer import (
    Raster,
    magnify,
    rasterize,
    reduce_image,
    vertex_normals,
)
from dimitra.sample.appearance import Array, Look
from dimitra.sample.surfaces import EYE, TEETH, make_surfaces

DISTANCE = 10.0
PIVOT = np.array([0.0, -0.75, -0.55])
"""Where the head turns: the top of the neck, in the model's frame."""

_TEETH_FALLOFF, _TISSUE_FALLOFF = 0.25, 1.1
"""How quickly teeth, and tongue and walls, darken inwards; teeth less, being pale and wet."""


@dataclass(frozen=True)
class ClipCamera:
    """Deng's camera scaled to a clip's own frame.

    Attributes:
        focal_px: focal length in pixels of the clip.
        centre_px: principal point (x, y).
        size: width and height of the square frame.
    """

    focal_px: float
    centre_px: tuple[float, float]
    size: int


def turn_about_neck(pose: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add to the translation what makes the head turn about the neck instead of the origin.

    Args:
        pose: angles and translation about ``PIVOT``, ``[T, 6]``.
    """
    turns = rotation(torch.from_numpy(pose[:, :3].astype(np.float64))).numpy()
    moved = pose.copy()
    moved[:, 3:] += (PIVOT - np.einsum("tij,j->ti", turns, PIVOT)).astype(np.float32)
    return moved


@compiled
def _tooth(u: np.float32, v: np.float32) -> tuple[np.float32, np.float32]:
    """Brightness of a point of a row of teeth, and how much green and blue its gum takes.

    Teeth are rounded, so they darken towards the gaps, which widen at the edge; the gum ends in
    an arch over every tooth.
    """
    if v < 0:
        return np.float32(0.5), np.float32(0.0)
    gap = abs(u - np.rint(u))
    width = 0.03 + 0.12 * max(float(1.0 - v / 0.20), 0.0) ** 2
    line = np.exp(-((gap / width) ** 2))
    rounded = 1.0 - 0.22 * (1.0 - 2.0 * gap) ** 3
    margin = 0.66 + 0.16 * np.sin(np.pi * gap)
    gum = min(max((v - margin) / 0.06, 0.0), 1.0)
    bright = rounded * (1.0 - 0.55 * line * (1.0 - gum)) * (1.0 - 0.2 * gum)
    return np.float32(bright), np.float32(0.5 * gum)


@compiled
def _shade(  # type: ignore[no-untyped-def]  # compiled: types come from the call
    face,
    weights,
    triangles,
    normals,
    albedo,
    gloss,
    material,
    corner_uv,
    detail,
    light,
    ambient,
    warmth,
    image,
):
    height, width = face.shape
    size = detail.shape[1]
    half = light + np.array([0.0, 0.0, 1.0], np.float32)
    half = half / np.sqrt((half * half).sum())
    eye = np.array([0.17 * np.sign(light[0]), 0.10, 0.98], np.float32)  # a window above the camera
    for y in range(height):
        for x in range(width):
            f = face[y, x]
            if f < 0:
                continue
            kind = material[f]
            nx = ny = nz = np.float32(0)
            r = g = b = shine = u = v = np.float32(0)
            for k in range(3):
                w = weights[y, x, k]
                i = triangles[f, k]
                nx += w * normals[i, 0]
                ny += w * normals[i, 1]
                nz += w * normals[i, 2]
                r += w * albedo[i, 0]
                g += w * albedo[i, 1]
                b += w * albedo[i, 2]
                shine += w * gloss[i]
                u += w * corner_uv[f, k, 0]
                v += w * corner_uv[f, k, 1]
            length = np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-9)
            if nz < 0:  # the inside of an open surface
                length = -length
            nx, ny, nz = nx / length, ny / length, nz / length
            facing = nx * light[0] + ny * light[1] + nz * light[2]
            # Skin scatters light past the terminator: a wrapped cosine.
            key = max((facing + np.float32(0.25)) / np.float32(1.25), np.float32(0))
            sky = ambient * (np.float32(0.82) + np.float32(0.18) * ny)
            spark = max(nx * half[0] + ny * half[1] + nz * half[2], np.float32(0))
            glow = shine * spark**18
            if kind == EYE:
                catch = max(nx * eye[0] + ny * eye[1] + nz * eye[2], np.float32(0))
                glow = np.float32(0.9) * catch**140
                key = np.float32(0.5) * key + np.float32(0.25)
            if kind == TEETH:
                bright, gum = _tooth(u, v)
                key = np.float32(0.5) * key + np.float32(0.2)
                glow *= bright
                r, g, b = r * bright, g * bright * (1 - gum), b * bright * (1 - gum)
            lit = np.float32(0.58) * key
            if kind < len(detail):
                row = min(int(v * size), size - 1)
                column = min(int(u * size), size - 1)
                r *= detail[kind, row, column, 0] / np.float32(128)
                g *= detail[kind, row, column, 1] / np.float32(128)
                b *= detail[kind, row, column, 2] / np.float32(128)
            image[y, x, 0] = min(r * (sky + lit * warmth[0]) + glow, np.float32(1))
            image[y, x, 1] = min(g * (sky + lit * warmth[1]) + glow, np.float32(1))
            image[y, x, 2] = min(b * (sky + lit * warmth[2]) + glow, np.float32(1))


def mouth_light(lips: Array, points: Array, falloff: Array) -> Array:
    """Share of the light that enters the mouth and reaches its teeth, tongue and walls.

    That of a diffuse disc of the opening's area seen from a distance: ``a^2 / (a^2 + d^2)``,
    with ``falloff`` on the squared distance.

    Args:
        lips: inner lip line in the order of iBUG 60 to 67, ``[8, 3]``.
        points: ``[N, 3]``, in the same frame.
        falloff: ``[N]``.

    Returns:
        ``[N]``, in [0, 1].
    """
    half_width = 0.5 * np.linalg.norm(lips[0] - lips[4])
    half_height = 0.5 * np.clip(lips[1:4, 1] - lips[[7, 6, 5], 1], 0, None).mean()
    centre = lips.mean(0)
    offset = np.abs(points - centre)
    offset[:, 2] = np.clip(lips[[2, 6], 2].mean() - points[:, 2], 0, None)
    offset[:, 0] = np.clip(offset[:, 0] - 0.5 * half_width, 0, None)
    offset[:, 1] = np.clip(offset[:, 1] - half_height, 0, None)
    area = half_width * half_height + 1e-3
    return np.asarray(area / (area + falloff * (offset**2).sum(1)), np.float32)


@dataclass(frozen=True)
class Light:
    """A key light over ambient light.

    Attributes:
        direction: towards the key light, unit, camera frame, ``[3]``.
        ambient: its share of the light.
        warmth: the key light's tint, sRGB factors, ``[3]``.
    """

    direction: Array
    ambient: float
    warmth: Array


class Scene:
    """One identity's head, hair and shoulders, prepared once and drawn frame by frame.

    ``surfaces`` holds its topology and materials.

    Args:
        model: the open head.
        look: the identity's appearance.
        gender: build of the shoulders.
    """

    def __init__(self, model: FaceModel, look: Look, gender: str) -> None:
        surfaces = make_surfaces(model, look, gender)
        self.surfaces = surfaces
        self._triangles = np.ascontiguousarray(surfaces.triangles, np.int32)
        head = surfaces.triangles.max(1) < len(model.mean)
        self._head_triangles = self._triangles[: int(head.sum())]
        self._neutral = (
            model.vertices(torch.from_numpy(look.identity), torch.zeros(EXPRESSION_SIZE))
            .numpy()
            .reshape(-1)
        )
        self._expression_basis = model.expression_basis.numpy().reshape(EXPRESSION_SIZE, -1)
        self._look = look
        inner = model.part("upper_teeth", "lower_teeth", "tongue", "mouth_interior").numpy()
        self._inner = np.flatnonzero(inner)
        self._mouth_faces = np.flatnonzero(inner[self._head_triangles].any(1))
        depth = model.mean[:, 2].numpy()[self._head_triangles[self._mouth_faces]].sum(1)
        self._throat_face = int(self._mouth_faces[depth.argmin()])
        teeth = model.part("upper_teeth", "lower_teeth").numpy()[self._inner]
        self._falloff = np.where(teeth, _TEETH_FALLOFF, _TISSUE_FALLOFF).astype(np.float32)
        self._inner_lips = model.landmarks_68[60:68].numpy()

    def head(self, expression: Array) -> Array:
        """Head vertices in the model's frame: ``[64]`` -> ``[V, 3]``."""
        moved = self._neutral + expression @ self._expression_basis
        return np.asarray(moved.reshape(-1, 3), np.float32)

    def draw(
        self,
        expression: Array,
        pose: Array,
        camera: ClipCamera,
        wall: Array,
        drift: Array | None = None,
        light: Light | None = None,
    ) -> NDArray[np.uint8]:
        """Draw one frame.

        Args:
            expression: coefficients, ``[64]``.
            pose: angles and translation about the model's origin, ``[6]``.
            camera: of this frame; its size is the frame's.
            wall: background, ``[2 size, 2 size, 3]`` in [0, 1].
            drift: shift of the shoulders, camera frame, ``[3]``; none where it is left out.
            light: of this frame; the look's own where it is left out.

        Returns:
            RGB, ``[size, size, 3]``.

        Raises:
            ValueError: the wall does not have twice the camera's size.
        """
        size = 2 * camera.size
        if wall.shape != (size, size, 3):
            raise ValueError(
                f"the wall is {wall.shape}, but a frame of {camera.size} px needs {(size, size, 3)}"
            )
        light = light or Light(self._look.light, self._look.ambient, self._look.warmth)
        head = self.head(expression)
        posed = self._pose(head, pose, drift)
        surfaces = self.surfaces
        albedo, gloss = surfaces.albedo.copy(), surfaces.gloss.copy()
        reached = mouth_light(head[self._inner_lips], head[self._inner], self._falloff)
        albedo[self._inner] *= reached[:, None]
        gloss[self._inner] *= reached
        raster = self._visible(magnify(_project(posed, camera), 2), size)
        normals = vertex_normals(posed, self._triangles)
        image = wall.astype(np.float32, copy=True)
        _shade(  # type: ignore[no-untyped-call]
            raster.face, raster.barycentric, self._triangles, normals, albedo,
            gloss, surfaces.material, surfaces.corner_uv, self._look.detail,
            light.direction, np.float32(light.ambient), light.warmth, image,
        )  # fmt: skip
        return (np.clip(reduce_image(image, 2), 0, 1) * 255 + 0.5).astype(np.uint8)

    def project(self, expression: Array, pose: Array, camera: ClipCamera) -> Array:
        """Pixel x, pixel y and depth of all vertices, the head's first: ``[N, 3]``."""
        return _project(self._pose(self.head(expression), pose, None), camera)

    def _visible(self, points: NDArray[np.float64], size: int) -> Raster:
        """What every pixel sees.

        The body's neck runs up through the head and its collar may stand in a wide open mouth:
        between the lips the head hides them, as a throat would.
        """
        raster = rasterize(points, self._triangles, size, size)
        lips = np.clip(points[self._inner_lips, :2], 0, size)
        (left, top), (right, bottom) = np.floor(lips.min(0)), np.ceil(lips.max(0))
        box = np.s_[int(top) : int(bottom) + 1, int(left) : int(right) + 1]
        body = raster.face[box] >= self.surfaces.first_body_face
        if not body.any():
            return raster
        head = rasterize(points, self._head_triangles, size, size, cull=-1)
        inside = body & np.isin(head.face[box], self._mouth_faces)
        raster.face[box][inside] = head.face[box][inside]
        raster.barycentric[box][inside] = head.barycentric[box][inside]
        raster.face[box][body & (head.face[box] < 0)] = self._throat_face
        return raster

    def _pose(self, head: Array, pose: Array, drift: Array | None) -> Array:
        """All vertices of the scene in the camera's frame."""
        surfaces, source = self.surfaces, self.surfaces.hair_source
        outward = vertex_normals(head, self._head_triangles)[source]
        cap = head[source] + outward * self._look.hair.thickness[source, None]
        turn = rotation(torch.from_numpy(np.asarray(pose[:3], np.float32))).numpy()
        moving = np.concatenate([head, cap, surfaces.curtain]).astype(np.float32)
        body = surfaces.body if drift is None else surfaces.body + drift
        return np.concatenate([moving @ turn.T + pose[3:], body]).astype(np.float32)


def _project(posed: Array, camera: ClipCamera) -> Array:
    depth = DISTANCE - posed[:, 2]
    across = camera.focal_px * posed[:, 0] / depth + camera.centre_px[0]
    down = camera.centre_px[1] - camera.focal_px * posed[:, 1] / depth
    return np.stack([across, down, depth], 1).astype(np.float32)


def frames(
    model: FaceModel,
    look: Look,
    gender: str,
    expression: NDArray[np.float32],
    pose: NDArray[np.float32],
    camera: ClipCamera,
    wall: Array,
) -> Iterator[NDArray[np.uint8]]:
    """Draw a clip.

    Args:
        model: the open head.
        look: the identity's appearance.
        gender: build of the shoulders.
        expression: coefficients, ``[T, 64]``.
        pose: angles and translation about the model's origin, ``[T, 6]``.
        camera: of the clip.
        wall: background, ``[2 size, 2 size, 3]``.

    Yields:
        RGB frames ``[size, size, 3]``.
    """
    scene = Scene(model, look, gender)
    drift = 0.25 * (pose[:, 3:] - pose[:, 3:].mean(0)) * np.array([1, 0.3, 0.3], np.float32)
    for index in range(len(expression)):
        yield scene.draw(expression[index], pose[index], camera, wall, drift[index])
