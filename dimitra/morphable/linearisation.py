"""The projected landmarks' residuals and their analytic Jacobians."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dimitra.morphable.camera import DISTANCE, FOCAL_PX, project, rotation, to_camera
from dimitra.morphable.coefficients import EXPRESSION_SIZE, MOTION_SIZE
from dimitra.morphable.contour import slide
from dimitra.morphable.correspondence import Correspondence
from dimitra.morphable.observation import Observations


@dataclass(frozen=True)
class Linearisation:
    """Weighted residuals (x and y of each landmark in turn) and their Jacobians.

    Attributes:
        residual: pixels over their noise.
        frame: by expression, angles and translation.
        identity: by identity; empty unless asked for.
    """

    residual: Float[Tensor, "frames rows"]
    frame: Float[Tensor, "frames rows 70"]
    identity: Float[Tensor, "frames rows 80"]


def _rotation_derivatives(angles: Float[Tensor, "frames 3"]) -> Float[Tensor, "frames 3 3 3"]:
    """Derivatives of the rotation by pitch, yaw and roll, along the second axis."""
    zero = torch.zeros_like(angles[:, 0])
    x, y, z = angles.unbind(-1)

    def turn(pitch: Tensor, yaw: Tensor, roll: Tensor) -> Tensor:
        return rotation(torch.stack((pitch, yaw, roll), dim=-1))

    def generator(axis: int) -> Tensor:
        matrix = torch.zeros(3, 3, dtype=angles.dtype, device=angles.device)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        matrix[second, first], matrix[first, second] = 1.0, -1.0
        return matrix

    rx, ry, rz = turn(x, zero, zero), turn(zero, y, zero), turn(zero, zero, z)
    return torch.stack(
        (
            rz @ ry @ rx @ generator(0),
            rz @ ry @ generator(1) @ rx,
            generator(2) @ rz @ ry @ rx,
        ),
        dim=1,
    )


def linearise(
    observed: Observations,
    state: Float[Tensor, "frames 70"],
    identity: Float[Tensor, "80"],
    with_identity: bool,
) -> Linearisation:
    """Residuals and Jacobians at a state.

    Args:
        observed: landmarks.
        state: expression, angles, translation of every frame.
        identity: of the clip.
        with_identity: whether the Jacobian by identity is wanted.
    """
    settings, seen, frames = observed.settings, observed.seen, len(state)
    jaw = seen.contour_points
    expression, pose = state[:, :EXPRESSION_SIZE], state[:, EXPRESSION_SIZE:]
    matrix = rotation(pose[:, :3])
    vertices = seen.shape.vertices(identity, expression)
    outward = vertices.new_zeros(frames, 0, 2)
    index = torch.zeros(frames, 0, dtype=torch.int64, device=state.device)
    if jaw:
        outline, outward, index = _outline(seen, expression, pose, identity)
        vertices = torch.cat((outline, vertices), dim=1)
    camera = to_camera(vertices, pose)
    depth = DISTANCE - camera[..., 2]
    projected = project(camera)
    # d(pixel)/d(camera point)
    scale = FOCAL_PX / depth
    by_camera = camera.new_zeros(*depth.shape, 2, 3)
    by_camera[..., 0, 0] = scale
    by_camera[..., 0, 2] = scale * camera[..., 0] / depth
    by_camera[..., 1, 1] = -scale
    by_camera[..., 1, 2] = -scale * camera[..., 1] / depth
    residual = projected - observed.points
    if jaw:
        # Tangential misses of the outline cost little: only its normal is observed.
        normal = outward[..., :, None] * outward[..., None, :]
        along = 0.85 * normal + 0.15 * torch.eye(2, dtype=state.dtype, device=state.device)
        residual[:, :jaw] = torch.einsum("fpab,fpb->fpa", along, residual[:, :jaw])
        by_camera[:, :jaw] = torch.einsum("fpab,fpbc->fpac", along, by_camera[:, :jaw])
    squared = residual.square().sum(-1)
    robust = 1.0 / (1.0 + squared / settings.robust_px**2)
    weight = (observed.weights * robust / settings.noise_px)[..., None]
    by_camera = by_camera * weight[..., None]
    by_vertex = torch.einsum("fpab,fbc->fpac", by_camera, matrix)
    turned = torch.einsum("faij,fpj->fpia", _rotation_derivatives(pose[:, :3]), vertices)
    # Many rows: single precision. The residual itself is computed in double precision above.
    kind = torch.float32 if seen.modes.shape[1] else state.dtype
    by_vertex = by_vertex.to(kind)
    columns = [
        (residual * weight)[..., None].to(kind),
        _chain(by_vertex, seen.contour.expression_basis[:, index], seen.shape.expression_basis),
        torch.einsum("fpab,fpbk->fpak", by_camera, turned).to(kind),
        by_camera.to(kind),
    ]
    if with_identity:
        contour = seen.contour.identity_basis[:, index]
        columns.append(_chain(by_vertex, contour, seen.shape.identity_basis))
    whole = torch.cat(columns, dim=-1).flatten(1, 2)
    if seen.modes.shape[1]:
        modes = seen.modes.to(kind).expand(frames, -1, -1)
        whole = torch.baddbmm(whole, modes, modes.transpose(1, 2) @ whole, alpha=-1)
    return Linearisation(
        whole[..., 0], whole[..., 1 : 1 + MOTION_SIZE], whole[..., 1 + MOTION_SIZE :]
    )


def _chain(
    by_vertex: Float[Tensor, "frames points 2 3"],
    contour: Float[Tensor, "k frames jaw 3"],
    fixed: Float[Tensor, "k inner 3"],
) -> Float[Tensor, "frames points 2 k"]:
    """Pixels by coefficients: the contour's basis differs from frame to frame, the rest's not."""
    frames, jaw = len(by_vertex), contour.shape[2]
    places = by_vertex[:, jaw:].permute(1, 0, 2, 3).flatten(1, 2)
    inner = places @ fixed.to(by_vertex).permute(1, 2, 0)
    inner = inner.reshape(len(places), frames, 2, -1).transpose(0, 1)
    if not jaw:
        return inner
    return torch.cat((by_vertex[:, :jaw] @ contour.permute(1, 2, 3, 0), inner), dim=1)


def _outline(
    seen: Correspondence,
    expression: Float[Tensor, "frames 64"],
    pose: Float[Tensor, "frames 6"],
    identity: Float[Tensor, "80"],
) -> tuple[Float[Tensor, "frames jaw 3"], Float[Tensor, "frames jaw 2"], Int[Tensor, "frames jaw"]]:
    """Contour points where they are seen, their outward directions, and the candidates' indices."""
    neutral = seen.contour.mean + torch.einsum("k,kpc->pc", identity, seen.contour.identity_basis)
    around = neutral + torch.einsum("fk,kpc->fpc", expression, seen.contour.expression_basis)
    jaw = seen.contour_points
    places = project(to_camera(around, pose)).reshape(len(pose), jaw, -1, 2)
    picked, outward = slide(places, project(pose[:, None, 3:])[:, 0])
    index = picked + places.shape[2] * torch.arange(jaw, device=picked.device)
    return torch.take_along_dim(around, index[:, :, None], dim=1), outward, index
