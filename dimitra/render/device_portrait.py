"""What the device needs of head and photo, uploaded once for a clip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from dimitra.morphable.model import FaceModel
from dimitra.render.composite import EYE, INTERIOR
from dimitra.render.head import LIPS, Head
from dimitra.render.portrait import Portrait


@dataclass(frozen=True, eq=False)
class DeviceHead:
    """Tensors of ``Head`` on a device; soft regions are float64.

    Attributes:
        model: the face model.
        triangles: int64.
        around: triangles at every vertex in their order; F, one past the last, where there are
            fewer.
        landmarks: vertex of every landmark.
        lips: vertices of the mouth's landmarks.
        eye: vertices of the eyeballs.
        interior: vertices of the mouth's inside.
        mouth: triangles of the mouth's inside.
        right: vertices on the subject's right side.
        covers: as of ``Head``, and so on; ``near_lips`` are its ``lips``.
        tooth: float32.
    """

    model: FaceModel
    triangles: Int[Tensor, "faces 3"]
    around: Int[Tensor, "vertices most"]
    landmarks: Int[Tensor, "68"]
    lips: Int[Tensor, "20"]
    eye: Bool[Tensor, " vertices"]
    interior: Bool[Tensor, " vertices"]
    mouth: Bool[Tensor, " faces"]
    right: Bool[Tensor, " vertices"]
    covers: Float[Tensor, "2 vertices"]
    lashes: Float[Tensor, "2 vertices"]
    near_lips: Float[Tensor, " vertices"]
    lip_line: Float[Tensor, " vertices"]
    outer: Float[Tensor, " vertices"]
    teeth: Float[Tensor, " vertices"]
    upper_teeth: Float[Tensor, " vertices"]
    lower_teeth: Float[Tensor, " vertices"]
    tongue: Float[Tensor, " vertices"]
    tooth: Float[Tensor, " vertices"]


@dataclass(frozen=True, eq=False)
class DevicePortrait:
    """Tensors of ``Portrait`` on a device, and numbers of it that stay on the processor.

    Attributes:
        photo: what was uploaded; its numbers are used.
        pictures: float32 pixels of the packed pictures, row by row.
        attributes: as of ``Portrait``, and so on.
        layer: int64.
        rest: float64.
        hidden_eye: vertices of eyeballs that the photo shows closed.
    """

    photo: Portrait
    identity: Float[Tensor, "80"]
    crop: Float[Tensor, "3"]
    pictures: Float[Tensor, "pixels 4"]
    attributes: Float[Tensor, "vertices 8"]
    layer: Int[Tensor, " faces"]
    colours: Float[Tensor, "vertices 3"]
    flesh: Float[Tensor, "3"]
    nodes: Float[Tensor, "nodes 2"]
    cells: Int[Tensor, "cells 3"]
    response_x: Float[Tensor, "nodes pulled"]
    response_y: Float[Tensor, "nodes pulled"]
    handles: Int[Tensor, " handles"]
    halo: Float[Tensor, "hair 3"]
    rest: Float[Tensor, "pulled 2"]
    lids: Float[Tensor, "2"]
    mouth: Float[Tensor, "20 3"]
    hidden_eye: Bool[Tensor, " vertices"]


def upload_head(head: Head, device: torch.device) -> DeviceHead:
    """A head on a device."""

    def up(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.array(array)).to(device)

    tensors: dict[str, Any] = {
        name: value.to(device)
        for name, value in vars(head.model).items()
        if isinstance(value, Tensor)
    }
    return DeviceHead(
        model=replace(head.model, **tensors),
        triangles=up(head.triangles.astype(np.int64)),
        around=up(_around(head.triangles, len(head.mean))),
        landmarks=up(head.landmarks),
        lips=up(head.landmarks[list(LIPS)]),
        eye=up(head.vertex_layer == EYE),
        interior=up(head.vertex_layer == INTERIOR),
        mouth=up(head.layer == INTERIOR),
        right=up(head.mean[:, 0] < 0),
        covers=up(head.covers),
        lashes=up(head.lashes),
        near_lips=up(head.lips),
        lip_line=up(head.lip_line),
        outer=up(head.outer),
        teeth=up(head.teeth),
        upper_teeth=up(head.upper_teeth),
        lower_teeth=up(head.lower_teeth),
        tongue=up(head.tongue),
        tooth=up(head.tooth),
    )


def _around(triangles: NDArray[np.int32], vertices: int) -> NDArray[np.int64]:
    """Triangles [V, N] at every vertex in their order, the number of triangles where none is."""
    corners = triangles.ravel()
    order = np.argsort(corners, kind="stable")
    count = np.bincount(corners, minlength=vertices)
    owner = corners[order]
    place = np.arange(len(owner)) - (np.cumsum(count) - count)[owner]
    around = np.full((vertices, int(count.max())), len(triangles), np.int64)
    around[owner, place] = order // 3
    return around


def upload_portrait(
    head: Head, portrait: Portrait, identity: NDArray[np.float32], device: torch.device
) -> DevicePortrait:
    """A prepared photo on a device, with its person's identity [80]."""

    def up(array: NDArray[np.generic], kind: torch.dtype) -> Tensor:
        return torch.from_numpy(np.array(array)).to(device, kind)

    single, double, whole = torch.float32, torch.float64, torch.int64
    hidden = np.zeros(len(head.mean), bool)
    hidden[head.triangles[(portrait.layer == INTERIOR) & (head.layer == EYE)]] = True
    return DevicePortrait(
        photo=portrait,
        identity=up(identity, single),
        crop=up(portrait.crop, single),
        pictures=up(portrait.pictures.reshape(-1, 4), single),
        attributes=up(portrait.attributes, single),
        layer=up(portrait.layer, whole),
        colours=up(portrait.colours, single),
        flesh=up(portrait.flesh, single),
        nodes=up(portrait.grid.nodes, single),
        cells=up(portrait.grid.triangles, whole),
        response_x=up(portrait.grid.response_x, single),
        response_y=up(portrait.grid.response_y, single),
        handles=up(portrait.handles, whole),
        halo=up(portrait.halo, single),
        rest=up(portrait.rest, double),
        lids=up(portrait.lids, double),
        mouth=up(portrait.mouth, single),
        hidden_eye=up(hidden, torch.bool),
    )
