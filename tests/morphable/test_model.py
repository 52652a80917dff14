"""The face model's torch functions."""

from __future__ import annotations

import math

import pytest
import torch

from dimitra.morphable import open_head
from dimitra.morphable.model import shading, spherical_harmonics, vertex_normals


def test_zero_coefficients_give_the_mean() -> None:
    model = open_head.load()
    vertices = model.vertices(torch.zeros(2, 80), torch.zeros(2, 64))
    assert torch.equal(vertices[1], model.mean)
    assert torch.allclose(
        model.landmarks(torch.zeros(80), torch.zeros(64)), model.mean[model.landmarks_68]
    )


def test_vertices_are_linear_and_differentiable() -> None:
    model = open_head.load()
    identity = torch.zeros(80, requires_grad=True)
    expression = torch.zeros(64, requires_grad=True)
    model.vertices(identity, expression)[100, 1].backward()
    assert identity.grad is not None
    assert expression.grad is not None
    assert torch.allclose(identity.grad, model.identity_basis[:, 100, 1])
    assert torch.allclose(expression.grad, model.expression_basis[:, 100, 1])


def test_normals_of_a_tetrahedron_point_outwards() -> None:
    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    triangles = torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    normals = vertex_normals(corners, triangles)
    assert torch.allclose(normals, corners / math.sqrt(3), atol=1e-6)


def test_the_face_looks_at_the_camera() -> None:
    model = open_head.load()
    nose = model.landmarks_68[30]
    assert vertex_normals(model.mean, model.triangles)[nose, 2] > 0.8


def test_ambient_light_is_the_same_from_everywhere() -> None:
    normals = torch.nn.functional.normalize(torch.randn(50, 3), dim=-1)
    light = shading(torch.zeros(27), normals)
    assert torch.allclose(light, torch.full((50, 3), 0.8 * math.sqrt(math.pi) / 2))


def test_harmonics_are_orthogonal_on_the_sphere() -> None:
    count = 20_000
    index = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1 - 2 * index / count
    turn = math.pi * (1 + math.sqrt(5)) * index
    flat = (1 - z * z).sqrt()
    harmonics = spherical_harmonics(torch.stack((flat * turn.cos(), flat * turn.sin(), z), -1))
    gram = harmonics.T @ harmonics / count
    assert (gram - torch.diag(gram.diagonal())).abs().max() < 1e-3


def test_a_light_from_the_side_brightens_that_side() -> None:
    light = torch.zeros(3, 9)
    light[:, 3] = -0.5
    left, right = shading(light.flatten(), torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]]))
    assert (left > right).all()


def test_unknown_part() -> None:
    with pytest.raises(ValueError, match="beard"):
        open_head.load().part("beard")
