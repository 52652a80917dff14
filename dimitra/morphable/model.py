"""A linear face model: vertices, landmarks and colours as torch functions of the coefficients.

``vertices = mean + identity_basis @ identity + expression_basis @ expression``, and the same for
the colours (Blanz and Vetter, 1999). Bases are scaled by the standard deviations, so that every
coefficient is about N(0, 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

_A0, _A1, _A2 = math.pi, 2 * math.pi / math.sqrt(3), 2 * math.pi / math.sqrt(8)
_C0 = 1 / math.sqrt(4 * math.pi)
_C1 = math.sqrt(3) / math.sqrt(4 * math.pi)
_C2 = 3 * math.sqrt(5) / math.sqrt(12 * math.pi)
AMBIENT = 0.8
"""Added to the first spherical-harmonic coefficient, so that zero illumination is grey light."""


@dataclass(frozen=True, eq=False)
class FaceModel:
    """A face model; all lengths are decimetres (interocular distance about 0.6).

    x points to the subject's left (the right of the image), y up, z to the camera; the origin is
    the centre of Deng's camera frame (between eyes and mouth).

    Attributes:
        name: for example ``open_head``.
        mean: [V, 3].
        identity_basis: [80, V, 3], scaled by standard deviation.
        expression_basis: [64, V, 3], scaled by standard deviation.
        mean_colour: [V, 3], sRGB in [0, 1].
        texture_basis: [80, V, 3], scaled by standard deviation.
        triangles: [F, 3], counter-clockwise seen from outside.
        uv: [U, 2] texture coordinates in [0, 1], v upwards.
        uv_triangles: [F, 3] indices into ``uv``.
        parts: [V] index into ``part_names``.
        part_names: names of the mesh parts.
        landmarks_68: [68] vertex of every iBUG landmark.
        mouth_indices: the 13 expression coefficients of the mouth.
        unit_names: names of the 52 ARKit face units; empty where the model has none.
        units_to_expression: [52, 64]; ``expression = activations @ units_to_expression``.
    """

    name: str
    mean: Float[Tensor, "vertices 3"]
    identity_basis: Float[Tensor, "80 vertices 3"]
    expression_basis: Float[Tensor, "64 vertices 3"]
    mean_colour: Float[Tensor, "vertices 3"]
    texture_basis: Float[Tensor, "80 vertices 3"]
    triangles: Int[Tensor, "faces 3"]
    uv: Float[Tensor, "corners 2"]
    uv_triangles: Int[Tensor, "faces 3"]
    parts: Int[Tensor, " vertices"]
    part_names: tuple[str, ...]
    landmarks_68: Int[Tensor, "68"]
    mouth_indices: tuple[int, ...]
    unit_names: tuple[str, ...] = ()
    units_to_expression: Float[Tensor, "units 64"] | None = None

    def vertices(
        self, identity: Float[Tensor, "*batch 80"], expression: Float[Tensor, "*batch 64"]
    ) -> Float[Tensor, "*batch vertices 3"]:
        """Vertices in the model frame, before head pose; differentiable."""
        return (
            self.mean
            + torch.einsum("...k,kvc->...vc", identity, self.identity_basis)
            + torch.einsum("...k,kvc->...vc", expression, self.expression_basis)
        )

    def landmarks(
        self, identity: Float[Tensor, "*batch 80"], expression: Float[Tensor, "*batch 64"]
    ) -> Float[Tensor, "*batch 68 3"]:
        """The 68 landmarks in the model frame, without computing the other vertices."""
        return self.subset(self.landmarks_68).vertices(identity, expression)

    def albedo(self, texture: Float[Tensor, "*batch 80"]) -> Float[Tensor, "*batch vertices 3"]:
        """Colours under white ambient light, sRGB; not clipped."""
        return self.mean_colour + torch.einsum("...k,kvc->...vc", texture, self.texture_basis)

    def colours(
        self,
        texture: Float[Tensor, "*batch 80"],
        illumination: Float[Tensor, "*batch 27"],
        normals: Float[Tensor, "*batch vertices 3"],
    ) -> Float[Tensor, "*batch vertices 3"]:
        """Lit colours, not clipped.

        Args:
            texture: colour coefficients.
            illumination: 9 spherical-harmonic coefficients of each channel, channel by channel.
            normals: unit normals in the camera frame (after head pose).
        """
        return self.albedo(texture) * shading(illumination, normals)

    def part(self, *names: str) -> Float[Tensor, " vertices"]:
        """Boolean mask of the vertices in the named parts.

        Raises:
            ValueError: the model has no such part.
        """
        unknown = sorted(set(names) - set(self.part_names))
        if unknown:
            raise ValueError(f"{self.name} has no parts {unknown}; it has {self.part_names}")
        indices = [self.part_names.index(name) for name in names]
        return torch.isin(
            self.parts, torch.tensor(indices, dtype=self.parts.dtype, device=self.parts.device)
        )

    def subset(self, indices: Int[Tensor, " kept"]) -> LinearShape:
        """Shape model of some vertices, for fitting."""
        return LinearShape(
            self.mean[indices], self.identity_basis[:, indices], self.expression_basis[:, indices]
        )


@dataclass(frozen=True, eq=False)
class LinearShape:
    """Geometry of a few vertices of a face model."""

    mean: Float[Tensor, "points 3"]
    identity_basis: Float[Tensor, "80 points 3"]
    expression_basis: Float[Tensor, "64 points 3"]

    def vertices(
        self, identity: Float[Tensor, "*batch 80"], expression: Float[Tensor, "*batch 64"]
    ) -> Float[Tensor, "*batch points 3"]:
        """Points in the model frame; differentiable."""
        return (
            self.mean
            + torch.einsum("...k,kpc->...pc", identity, self.identity_basis)
            + torch.einsum("...k,kpc->...pc", expression, self.expression_basis)
        )


def spherical_harmonics(normals: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 9"]:
    """First nine real harmonics with Lambertian factors (Ramamoorthi and Hanrahan, 2001).

    Order and signs are those of Deng et al. (2019), so that illumination coefficients agree.
    """
    x, y, z = normals.unbind(-1)
    return torch.stack(
        (
            torch.full_like(x, _A0 * _C0),
            -_A1 * _C1 * y,
            _A1 * _C1 * z,
            -_A1 * _C1 * x,
            _A2 * _C2 * x * y,
            -_A2 * _C2 * y * z,
            0.5 * _A2 * _C2 / math.sqrt(3) * (3 * z * z - 1),
            -_A2 * _C2 * x * z,
            0.5 * _A2 * _C2 * (x * x - y * y),
        ),
        dim=-1,
    )


def shading(
    illumination: Float[Tensor, "*batch 27"], normals: Float[Tensor, "*batch vertices 3"]
) -> Float[Tensor, "*batch vertices 3"]:
    """Light received per channel, a factor on the albedo; 0.709 for zero illumination."""
    light = illumination.reshape(*illumination.shape[:-1], 3, 9)
    ambient = torch.zeros(9, dtype=light.dtype, device=light.device)
    ambient[0] = AMBIENT
    return torch.einsum("...vk,...ck->...vc", spherical_harmonics(normals), light + ambient)


def vertex_normals(
    vertices: Float[Tensor, "*batch vertices 3"], triangles: Int[Tensor, "faces 3"]
) -> Float[Tensor, "*batch vertices 3"]:
    """Area-weighted unit vertex normals, pointing out of a counter-clockwise mesh."""
    corners = vertices[..., triangles, :]
    edge_a = corners[..., 1, :] - corners[..., 0, :]
    edge_b = corners[..., 2, :] - corners[..., 0, :]
    faces = torch.linalg.cross(edge_a, edge_b)
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals = normals.index_add(-2, triangles[:, corner], faces)
    return torch.nn.functional.normalize(normals, dim=-1)


def interocular(landmarks: Float[Tensor, "*batch 68 3"]) -> Float[Tensor, "*batch"]:
    """Distance between the outer eye corners (iBUG 37 and 46, counted from 1), decimetres."""
    return (landmarks[..., 36, :] - landmarks[..., 45, :]).square().sum(dim=-1).sqrt()


def as_tensor(array: NDArray[Any]) -> Tensor:
    """Tensor of a private copy of an array (memory-mapped arrays are read-only)."""
    return torch.from_numpy(np.array(array))
