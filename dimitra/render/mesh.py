"""The mesh renderer: a reference photo moved by a face model, frame by frame.

The posed head carries the photo's skin as texture; hair, ears, neck and background follow in one
smooth warp; eyes and mouth are layers of their own (``composite``).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dimitra.morphable.camera import DISTANCE
from dimitra.morphable.model import FaceModel
from dimitra.render.composite import EYE, FILL, INTERIOR, SHADE, TRUST, TWIN_TRUST, WARMTH, compose
from dimitra.render.head import (
    LIPS,
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
from dimitra.render.mouth import light_inside
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
DEPTH_OF_SHADE, DEPTH_OF_TONGUE, DEPTH_OF_TEETH = 0.25, 0.25, 1.6
"""Depth behind the lips (decimetres) at which mouth, tongue and teeth are darker by a factor e."""
AMBIENT = 0.55
"""Share of the mouth's light that comes from all sides; the rest comes from the front."""
BLINKING = (0.08, 0.4)
"""Share by which lids have closed at which plain skin starts to cover, and covers all."""
GRAZING = (0.05, 0.45)
"""Cosine between the outer head and the view from which it blends into the warped picture."""
CHANGING = (0.012, 0.06)
"""Largest way of a mouth landmark from the photo's (decimetres) at which the photo's mouth, and
what of it lies on the lips, starts to fade, and is gone."""
MEETING = (0.075, 0.025)
"""Opening of the lips (decimetres) at which their shadow on each other begins, and is whole."""
LEAST_OPENING = 1e-3
"""Opening (decimetres) below which the photo's lips count as this far apart."""
NARROW = 0.5
"""Opening of the lips, as a share of the photo's, at which the light inside holds for the photo's
teeth as well. At the photo's opening they have shadows of their own."""
LINE_FILL = 0.4
"""How near to the line where lips meet (``Head.lip_line``) the photo's own line is gone."""
LIP_SHADOW, LASH_SHADOW, LID_SHADOW = 0.5, 0.62, 0.06
"""How much darker lips are where they meet, lids at the lashes, and closed lids."""


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
        check_motion(motion, reference)
        portrait = prepare_portrait(self._head, photo, identity, reference, crop)
        yield from _frames(self._head, portrait, identity, motion)


def check_motion(motion: NDArray[np.float32], reference: NDArray[np.float32]) -> None:
    """Refuse motion that is not [T, 70], or a reference that is not [70].

    Raises:
        ValueError: naming both shapes.
    """
    if motion.ndim != 2 or motion.shape[1] != MOTION or reference.shape != (MOTION,):
        raise ValueError(
            f"motion has shape {motion.shape} and reference {reference.shape}, "
            f"but [T, {MOTION}] and [{MOTION}] are needed"
        )


def freeze_pose(motion: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Motion [T, 70] with the head held as in the reference [70] ("no head pose")."""
    frozen = motion.copy()
    frozen[:, 64:] = reference[64:]
    return frozen


def _frames(
    head: Head, portrait: Portrait, identity: NDArray[np.float32], motion: NDArray[np.float32]
) -> Iterator[NDArray[np.uint8]]:
    size = portrait.size
    drawn, warped = empty_raster(2 * size, 2 * size), empty_raster(size, size)
    light = np.ones((2 * size, 2 * size), np.float32)
    halo = tensor(portrait.halo)
    for start in range(0, len(motion), BLOCK):
        block = motion[start : start + BLOCK]
        placed = place(head, identity, block, portrait.crop, size)
        _, around = look(halo, block[:, 64:], portrait.crop, size)
        for t in range(len(block)):
            pulled = np.concatenate([placed.projected[t, portrait.handles], around[t]])[:, :2]
            yield _draw(head, portrait, placed, t, pulled - portrait.rest, drawn, warped, light)


def _draw(
    head: Head,
    portrait: Portrait,
    placed: Placed,
    t: int,
    pulled: Floats,
    drawn: Raster,
    warped: Raster,
    light: NDArray[np.float32],
) -> NDArray[np.uint8]:
    """Frame ``t`` of a block, its warp pulled by [K + N, 2] pixels."""
    size, grid = portrait.size, portrait.grid
    nodes = np.zeros((len(grid.nodes), 3))
    nodes[:, :2] = grid.nodes + grid.displace(pulled)
    rasterize(nodes, grid.triangles, size, size, out=warped)
    under = interpolate(warped, grid.triangles, grid.nodes)
    projected, posed = magnify(placed.projected[t]), placed.posed[t]
    rasterize(projected, head.triangles, 2 * size, 2 * size, cull=-1, out=drawn)
    light_inside(
        drawn,
        head.triangles,
        head.layer == INTERIOR,
        head.tooth,
        projected[head.vertex_layer == INTERIOR, :2],
        2.0 * portrait.scale,
        light,
    )
    normals = vertex_normals(posed, head.triangles)
    view = np.array([0.0, 0.0, DISTANCE]) - posed
    facing = np.einsum("vc,vc->v", normals, view) / np.linalg.norm(view, axis=1)
    grazing = 1.0 - head.outer * (1.0 - smoothstep(facing, *GRAZING))
    attributes = portrait.attributes.copy()
    attributes[:, FILL], attributes[:, SHADE] = _appearance(head, portrait, placed.vertices[t])
    attributes[:, [TRUST, TWIN_TRUST]] *= grazing[:, None]
    colours = (portrait.colours * _shade(head, posed, facing)).astype(np.float32)
    return compose(
        drawn,
        head.triangles,
        portrait.layer,
        attributes,
        colours,
        light,
        portrait.flesh,
        under,
        portrait.pictures,
    )


def _appearance(
    head: Head, portrait: Portrait, vertices: NDArray[np.float32]
) -> tuple[Floats, Floats]:
    """Columns ``FILL`` and ``SHADE`` of ``compose``, [V] each.

    Skin takes its own picture where lids or lips close over what the photo shows there; eyeballs
    where lids open wider than in the photo; the mouth's inside where the photo shows that very
    mouth, and upper teeth wherever it shows teeth. Skin is darker where lips or lids meet, as far
    as the photo does not show them so.
    """
    closed = (portrait.lids - lid_opening(vertices, head.landmarks)) / np.maximum(
        portrait.lids, 0.05
    )
    blink = smoothstep(closed, *BLINKING)
    way = np.linalg.norm(vertices[head.landmarks[list(LIPS)]] - portrait.mouth, axis=1).max()
    changed = float(smoothstep(float(way), *CHANGING))
    opening = lip_opening(vertices, head.landmarks)
    meeting = smoothstep(opening, *MEETING)
    meeting = np.maximum(meeting - smoothstep(portrait.lips, *MEETING), 0.0)
    fill = np.maximum(*(blink[eye] * head.covers[eye] for eye in (0, 1)))
    fill = np.maximum(fill, changed * smoothstep(head.lip_line, 0.0, LINE_FILL))
    shade = 1.0 - LIP_SHADOW * meeting * head.lip_line
    for eye in (0, 1):
        shade *= 1.0 - blink[eye] * LASH_SHADOW * head.lashes[eye]
        shade *= 1.0 - blink[eye] * LID_SHADOW * head.covers[eye]
    eye = head.vertex_layer == EYE
    interior = head.vertex_layer == INTERIOR
    if portrait.mouth_seen:
        fill = np.maximum(fill, changed * head.lips)
        fill[interior] = np.maximum(1.0 - changed, portrait.teeth_seen * head.upper_teeth[interior])
    own = max(portrait.lips, LEAST_OPENING)
    narrowed = float(smoothstep(opening, own, NARROW * own))
    shade[interior] = changed * narrowed
    opened = smoothstep(-closed, 0.02, 0.15)
    fill[eye] = np.where(head.mean[eye, 0] < 0, opened[0], opened[1])
    fill[np.unique(head.triangles[(portrait.layer == INTERIOR) & (head.layer == EYE)])] = 0.0
    return np.asarray(fill), np.asarray(shade)


def _shade(head: Head, posed: NDArray[np.float32], facing: Floats) -> Floats:
    """Brightness [V, 3] of the mouth's inside: by its slope, and by its depth behind the lips."""
    depth = np.maximum(posed[head.landmarks[48:60], 2].mean() - posed[:, 2], 0.0)
    reach = np.where(head.tongue > 0, DEPTH_OF_TONGUE, DEPTH_OF_SHADE)
    reach = np.where(head.teeth > 0, DEPTH_OF_TEETH, reach)
    shade = (AMBIENT + (1.0 - AMBIENT) * np.maximum(facing, 0.0)) * np.exp(-depth / reach)
    shade = np.where(head.vertex_layer == EYE, 1.0, shade)[:, None]
    return np.asarray(shade + WARMTH * shade * (1.0 - shade) * np.array([1.0, 0.0, -1.0]))
