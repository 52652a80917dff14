"""The mesh renderer: a reference photo moved by a face model, frame by frame.

The posed head carries the photo's skin as texture; hair, ears, neck and background follow in one
smooth warp; eyes and mouth are layers of their own (``composite``).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from dimitra.morphable.camera import DISTANCE
from dimitra.morphable.model import FaceModel
from dimitra.render.composite import EYE, FILL, INTERIOR, TRUST, TWIN_TRUST, compose
from dimitra.render.head import (
    Floats,
    Head,
    Placed,
    lid_opening,
    lip_opening,
    look,
    place,
    prepare_head,
    smoothstep,
    tensor,
)
from dimitra.render.portrait import Portrait, prepare_portrait
from dimitra.render.rasterizer import (
    Raster,
    empty_raster,
    interpolate,
    magnify,
    rasterize,
    vertex_normals,
)

MOTION = 70
"""Values of a frame's motion: expression 64, angles 3, translations 3."""
BLOCK = 32
"""Frames posed at once."""
DEPTH_OF_SHADE, DEPTH_OF_TEETH = 0.25, 1.0
"""Depth behind the lips (decimetres) at which mouth and teeth are darker by a factor e."""
LIT, UNLIT = (0.0, 0.1), 0.5
"""Opening of the lips (decimetres) from which light enters, and at which all of it does; the
share of light that reaches the mouth through closed lips."""
BLINKING, CLOSING = (0.08, 0.4), (0.15, 0.6)
"""Share by which lids, and lips, have closed at which skin starts to cover, and covers all."""
GRAZING = (0.05, 0.45)
"""Cosine between the outer head and the view from which it blends into the warped picture."""
WIDENING = (0.02, 0.10)
"""Opening beyond the photo's (decimetres) at which its mouth starts to fade, and is gone."""


class MeshRenderer:
    """Renders motion with the face model's mesh.

    Args:
        model: the face model that the coefficients belong to.
    """

    def __init__(self, model: FaceModel) -> None:
        self._head = prepare_head(model)

    def render(
        self,
        photo: NDArray[np.uint8],
        identity: NDArray[np.float32],
        crop: NDArray[np.float32],
        reference: NDArray[np.float32],
        motion: NDArray[np.float32],
    ) -> Iterator[NDArray[np.uint8]]:
        """Move a photo.

        Args:
            photo: [S, S, 3], the reference frame.
            identity: [80], of the person.
            crop: [3], Deng's alignment of the photo.
            reference: [70], motion values of the reference frame.
            motion: [T, 70].

        Yields:
            T frames [S, S, 3] uint8.

        Raises:
            ValueError: an array has the wrong shape, or the head lies outside the photo.
        """
        if motion.ndim != 2 or motion.shape[1] != MOTION or reference.shape != (MOTION,):
            raise ValueError(
                f"motion has shape {motion.shape} and reference {reference.shape}, "
                f"but [T, {MOTION}] and [{MOTION}] are needed"
            )
        portrait = prepare_portrait(self._head, photo, identity, reference, crop)
        yield from _frames(self._head, portrait, identity, motion)


def freeze_pose(motion: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Motion [T, 70] with the head held as in the reference [70] ("no head pose")."""
    frozen = motion.copy()
    frozen[:, 64:] = reference[64:]
    return frozen


def resize_reference(
    photo: NDArray[np.uint8], crop: NDArray[np.float32], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A reference photo [S, S, 3] at another size, with Deng's alignment [3] to match.

    Raises:
        ValueError: the photo is not square.
    """
    side = photo.shape[0]
    if photo.shape[:2] != (side, side):
        raise ValueError(f"photo has shape {photo.shape}, but a square one is needed")
    if side == size:
        return photo, crop
    ratio = size / side
    pixels = photo.astype(np.float64)
    if ratio < 1.0:
        pixels = gaussian_filter(pixels, (0.5 * (1.0 / ratio - 1.0),) * 2 + (0.0,))
    scaled = zoom(pixels, (ratio, ratio, 1.0), order=1, mode="nearest", grid_mode=True)
    factors = np.array([1.0 / ratio, ratio, ratio], np.float32)
    return np.rint(scaled).astype(np.uint8), crop * factors


def _frames(
    head: Head, portrait: Portrait, identity: NDArray[np.float32], motion: NDArray[np.float32]
) -> Iterator[NDArray[np.uint8]]:
    size = portrait.size
    drawn, warped = empty_raster(2 * size, 2 * size), empty_raster(size, size)
    halo = tensor(portrait.halo)
    for start in range(0, len(motion), BLOCK):
        block = motion[start : start + BLOCK]
        placed = place(head, identity, block, portrait.crop, size)
        _, around = look(halo, block[:, 64:], portrait.crop, size)
        for t in range(len(block)):
            pulled = np.concatenate([placed.projected[t, portrait.handles], around[t]])[:, :2]
            yield _draw(head, portrait, placed, t, pulled - portrait.rest, drawn, warped)


def _draw(
    head: Head,
    portrait: Portrait,
    placed: Placed,
    t: int,
    pulled: Floats,
    drawn: Raster,
    warped: Raster,
) -> NDArray[np.uint8]:
    """Frame ``t`` of a block, its warp pulled by [K + N, 2] pixels."""
    size, grid = portrait.size, portrait.grid
    nodes = np.zeros((len(grid.nodes), 3))
    nodes[:, :2] = grid.nodes + grid.displace(pulled)
    rasterize(nodes, grid.triangles, size, size, out=warped)
    under = interpolate(warped, grid.triangles, grid.nodes)
    rasterize(magnify(placed.projected[t]), head.triangles, 2 * size, 2 * size, cull=-1, out=drawn)
    attributes = portrait.attributes.copy()
    attributes[:, FILL] = _fill(head, portrait, placed.vertices[t])
    attributes[:, [TRUST, TWIN_TRUST]] *= _grazing(head, placed.posed[t])[:, None]
    colours = (portrait.colours * _shade(head, placed, t)).astype(np.float32)
    return compose(
        drawn, head.triangles, portrait.layer, attributes, colours, under, portrait.pictures
    )


def _grazing(head: Head, posed: NDArray[np.float32]) -> Floats:
    """Share of trust [V] that the outer head keeps where it is seen edge-on."""
    normals = vertex_normals(posed, head.triangles)
    view = np.array([0.0, 0.0, DISTANCE]) - posed
    facing = np.einsum("vc,vc->v", normals, view) / np.linalg.norm(view, axis=1)
    return np.asarray(1.0 - head.outer * (1.0 - smoothstep(facing, *GRAZING)))


def _fill(head: Head, portrait: Portrait, vertices: NDArray[np.float32]) -> Floats:
    """Share of its layer's own picture at every vertex, [V]: where the photo does not serve.

    Skin takes it where lids or lips close over what the photo shows there; eyeballs where lids
    open wider than in the photo; the mouth's inside where the photo shows one that is as wide.
    """
    opening = lip_opening(vertices, head.landmarks)
    closed = (portrait.lids - lid_opening(vertices, head.landmarks)) / np.maximum(
        portrait.lids, 0.05
    )
    fill = np.maximum(*(smoothstep(closed[eye], *BLINKING) * head.covers[eye] for eye in (0, 1)))
    eye = head.vertex_layer == EYE
    opened = smoothstep(-closed, 0.02, 0.15)
    if portrait.mouth_seen:
        shut = 1.0 - opening / max(portrait.lips, 0.02)
        fill = np.maximum(fill, smoothstep(shut, *CLOSING) * head.lips)
        interior = head.vertex_layer == INTERIOR
        beyond = float(smoothstep(opening - portrait.lips, *WIDENING))
        fill[interior] = np.maximum(1.0 - beyond, portrait.teeth_seen * head.upper_teeth[interior])
    fill[eye] = np.where(head.mean[eye, 0] < 0, opened[0], opened[1])
    fill[np.unique(head.triangles[(portrait.layer == INTERIOR) & (head.layer == EYE)])] = 0.0
    return np.asarray(fill)


def _shade(head: Head, placed: Placed, t: int) -> Floats:
    """Darkening [V, 1] of the mouth's inside: by depth behind the lips, and while they are shut."""
    posed = placed.posed[t]
    depth = np.maximum(posed[head.landmarks[48:60], 2].mean() - posed[:, 2], 0.0)
    reach = np.where(head.teeth > 0, DEPTH_OF_TEETH, DEPTH_OF_SHADE)
    light = smoothstep(lip_opening(placed.vertices[t], head.landmarks), *LIT)
    shade = (UNLIT + (1.0 - UNLIT) * light) * np.exp(-depth / reach)
    return np.where(head.vertex_layer == EYE, 1.0, shade)[:, None]
