"""What the vertices of a frame carry, of ``mesh``, in torch for a batch of frames on a device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dimitra.morphable.camera import DISTANCE
from dimitra.render import mesh
from dimitra.render.composite import FILL, SHADE, TRUST, TWIN_TRUST, WARMTH
from dimitra.render.device_portrait import DeviceHead, DevicePortrait
from dimitra.render.device_warp import displace
from dimitra.render.head import (
    EYE_CORNERS,
    INNER_LIPS,
    LOWER_LIDS,
    UPPER_LIDS,
    moved_vertices,
    seen,
    smoothstep,
)


@dataclass(frozen=True)
class Vertices:
    """Head and warp of some frames before they are drawn.

    Attributes:
        points: float64, samples of a picture at twice the size, and distance from the camera.
        attributes: float32, as ``compose`` takes them.
        colours: float32, as ``compose`` takes them.
        nodes: float64, the warp's nodes; pixels, and depth 0.
    """

    points: Float[Tensor, "frames vertices 3"]
    attributes: Float[Tensor, "frames vertices 8"]
    colours: Float[Tensor, "frames vertices 3"]
    nodes: Float[Tensor, "frames nodes 3"]

    def some(self, start: int, end: int) -> Vertices:
        """Frames ``start`` to ``end``."""
        every = (self.points, self.attributes, self.colours, self.nodes)
        return Vertices(*(one[start:end] for one in every))


def move(
    head: DeviceHead, portrait: DevicePortrait, motion: Float[Tensor, "frames 70"]
) -> Vertices:
    """Pose head and hair, pull the warp, and give the vertices their looks."""
    size = portrait.photo.size
    pose = motion[:, 64:]
    vertices = moved_vertices(head, portrait.identity, motion[:, :64])
    posed, projected = seen(vertices, pose, portrait.crop, size)
    _, around = seen(portrait.halo, pose, portrait.crop, size)
    pulled = torch.cat([projected[:, portrait.handles], around], dim=1)[..., :2]
    pulled = (pulled.to(torch.float64) - portrait.rest).to(torch.float32)
    moved = displace(portrait.response_x, portrait.response_y, portrait.nodes, pulled)
    nodes = torch.nn.functional.pad((portrait.nodes + moved).to(torch.float64), (0, 1))

    points = projected.to(torch.float64)
    points[..., :2] = 2.0 * points[..., :2] + 0.5
    normals = _normals(posed, head).to(torch.float32)
    ahead = torch.tensor([0.0, 0.0, DISTANCE], dtype=torch.float64, device=posed.device)
    view = ahead - posed
    facing = (normals * view).sum(dim=-1) / torch.linalg.vector_norm(view, dim=-1)
    grazing = 1.0 - head.outer * (1.0 - _smooth(facing, *mesh.GRAZING))
    attributes = portrait.attributes.repeat(len(motion), 1, 1)
    fill, shade = _appearance(head, portrait, vertices)
    attributes[..., FILL], attributes[..., SHADE] = fill.float(), shade.float()
    for column in (TRUST, TWIN_TRUST):
        attributes[..., column] = (attributes[..., column] * grazing).float()
    colours = portrait.colours * _shade(head, posed, facing)
    return Vertices(points, attributes, colours.float(), nodes)


def _normals(
    posed: Float[Tensor, "frames vertices 3"], head: DeviceHead
) -> Float[Tensor, "frames vertices 3"]:
    """``vertex_normals`` in float64: a vertex adds up its triangles in their order."""
    a, b, c = posed.to(torch.float64)[:, head.triangles].unbind(2)
    (ux, uy, uz), (vx, vy, vz) = (b - a).unbind(2), (c - a).unbind(2)
    faces = torch.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx], dim=2)
    faces = torch.nn.functional.pad(faces, (0, 0, 0, 1))
    total = torch.zeros_like(posed, dtype=torch.float64)
    for column in head.around.unbind(1):
        total += faces[:, column]
    length = torch.linalg.vector_norm(total, dim=2, keepdim=True)
    return total / torch.where(length > 0.0, length, 1.0)


def _lid_opening(points: Float[Tensor, "frames 68 3"]) -> Float[Tensor, "frames 2"]:
    openings = []
    for upper, lower, corners in zip(UPPER_LIDS, LOWER_LIDS, EYE_CORNERS, strict=True):
        height = _distance(points[:, list(upper)], points[:, list(lower)]).mean(dim=1)
        openings.append(height / _distance(points[:, corners[0]], points[:, corners[1]]))
    return torch.stack(openings, dim=1)


def _distance(
    a: Float[Tensor, "*places 3"], b: Float[Tensor, "*places 3"]
) -> Float[Tensor, "*places"]:
    between: Tensor = torch.linalg.vector_norm(a - b, dim=-1)
    return between


def _smooth(value: Tensor, low: float, high: float) -> Tensor:
    """``smoothstep`` of tensors."""
    t = ((value - low) / (high - low)).clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _appearance(
    head: DeviceHead, portrait: DevicePortrait, vertices: Float[Tensor, "frames vertices 3"]
) -> tuple[Float[Tensor, "frames vertices"], Float[Tensor, "frames vertices"]]:
    """Columns ``FILL`` and ``SHADE``, as of ``mesh``."""
    photo = portrait.photo
    points = vertices[:, head.landmarks].to(torch.float64)
    closed = (portrait.lids - _lid_opening(points)) / portrait.lids.clamp(min=0.05)
    blink = _smooth(closed, *mesh.BLINKING)[..., None]
    way = _distance(vertices[:, head.lips], portrait.mouth).amax(dim=1).to(torch.float64)
    changed = _smooth(way, *mesh.CHANGING)[:, None]
    upper, lower = (points[:, list(lips)] for lips in INNER_LIPS)
    opening = _distance(upper, lower).mean(dim=1)
    meeting = _smooth(opening, *mesh.MEETING) - float(smoothstep(photo.lips, *mesh.MEETING))
    fill = (blink * head.covers).amax(dim=1)
    fill = torch.maximum(fill, changed * _smooth(head.lip_line, 0.0, mesh.LINE_FILL))
    shade = 1.0 - mesh.LIP_SHADOW * meeting.clamp(min=0.0)[:, None] * head.lip_line
    for eye in (0, 1):
        shade *= 1.0 - blink[:, eye] * mesh.LASH_SHADOW * head.lashes[eye]
        shade *= 1.0 - blink[:, eye] * mesh.LID_SHADOW * head.covers[eye]
    if photo.mouth_seen:
        fill = torch.maximum(fill, changed * head.near_lips)
        own = torch.maximum(1.0 - changed, photo.teeth_seen * head.upper_teeth)
        fill = torch.where(head.interior, own, fill)
    least = max(photo.lips, mesh.LEAST_OPENING)
    narrowed = _smooth(opening, least, mesh.NARROW * least)[:, None]
    shade = torch.where(head.interior, changed * narrowed, shade)
    opened = _smooth(-closed, 0.02, 0.15)
    wide = torch.where(head.right, opened[:, :1], opened[:, 1:])
    fill = torch.where(head.eye, wide, fill).masked_fill(portrait.hidden_eye, 0.0)
    return fill, shade


def _shade(
    head: DeviceHead,
    posed: Float[Tensor, "frames vertices 3"],
    facing: Float[Tensor, "frames vertices"],
) -> Float[Tensor, "frames vertices 3"]:
    """Brightness of the mouth's inside, as of ``mesh``."""
    lips = posed[:, head.landmarks[48:60], 2].mean(dim=1, keepdim=True)
    depth = (lips - posed[..., 2]).clamp(min=0.0)
    reach = torch.full_like(head.teeth, mesh.DEPTH_OF_SHADE)
    reach = reach.masked_fill(head.tongue > 0, mesh.DEPTH_OF_TONGUE)
    reach = reach.masked_fill(head.teeth > 0, mesh.DEPTH_OF_TEETH)
    front = mesh.AMBIENT + (1.0 - mesh.AMBIENT) * facing.clamp(min=0.0)
    shade = front * torch.exp(-depth / reach)
    shade = torch.where(head.eye, 1.0, shade)[..., None]
    warm = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64, device=posed.device)
    return shade + float(WARMTH) * shade * (1.0 - shade) * warm
