"""Coverage, interpolation and texture lookup against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.spatial import Delaunay

from dimitra.render.rasterizer import (
    empty_raster,
    interpolate,
    magnify,
    rasterize,
    reduce_image,
    sample_texture,
    vertex_normals,
)

QUAD = np.array([[0, 1, 2], [0, 2, 3]])


def quad(x0: float, y0: float, x1: float, y1: float, z: float = 1.0) -> NDArray[np.float64]:
    return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]])


def disc(
    radius: float, centre: float, corners: int
) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    angle = 2 * np.pi * np.arange(corners) / corners
    rim = np.stack([centre + radius * np.cos(angle), centre + radius * np.sin(angle)], 1)
    vertices = np.column_stack([np.vstack([[centre, centre], rim]), np.ones(corners + 1)])
    ring = np.arange(corners)
    return vertices, np.stack([np.zeros(corners, int), 1 + ring, 1 + (ring + 1) % corners], 1)


def test_a_square_covers_the_pixel_centres_it_owns() -> None:
    covered = rasterize(quad(2, 3, 7, 9), QUAD, 16, 16).covered
    expected = np.zeros((16, 16), bool)
    expected[3:9, 2:7] = True  # left and top edges belong to the square, right and bottom do not
    np.testing.assert_array_equal(covered, expected)


def test_coverage_is_the_area_of_the_shape() -> None:
    vertices, triangles = disc(40.3, 50.2, 400)
    covered = rasterize(vertices, triangles, 100, 100).covered.sum()
    assert covered == pytest.approx(np.pi * 40.3**2, rel=0.002)


def test_a_triangulated_plane_has_no_gap_and_no_double_pixel() -> None:
    points = np.random.default_rng(0).uniform(-4, 68, (300, 2))
    points = np.vstack([points, [[-5, -5], [70, -5], [70, 70], [-5, 70]]])
    triangles = Delaunay(points).simplices
    vertices = np.column_stack([points, np.ones(len(points))])
    assert rasterize(vertices, triangles, 64, 64).covered.all()
    counts = sum(
        rasterize(vertices, triangles[i : i + 1], 64, 64).covered.astype(int)
        for i in range(len(triangles))
    )
    np.testing.assert_array_equal(counts, np.ones((64, 64), int))


def test_a_plane_is_interpolated_exactly() -> None:
    rng = np.random.default_rng(1)
    points = np.vstack([rng.integers(0, 64, (60, 2)), [[-1, -1], [64, -1], [64, 64], [-1, 64]]])
    points = np.unique(points, axis=0).astype(float)
    triangles = Delaunay(points).simplices
    plane = points @ [0.25, -0.5] + 3.0
    raster = rasterize(np.column_stack([points, plane + 100.0]), triangles, 64, 64)
    y, x = np.mgrid[:64, :64]
    expected = 0.25 * x - 0.5 * y + 3.0
    image = interpolate(raster, triangles, plane[:, None])
    np.testing.assert_allclose(image[..., 0], expected, atol=1e-4)
    np.testing.assert_allclose(raster.depth, expected + 100.0, atol=1e-4)
    np.testing.assert_allclose(raster.barycentric.sum(-1), 1.0, atol=1e-6)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_triangle_wins_in_any_order(order: tuple[int, int]) -> None:
    vertices = np.vstack([quad(0, 0, 10, 10, 5.0), quad(4, 4, 14, 14, 2.0)])
    squares = [QUAD, QUAD + 4]
    triangles = np.vstack([squares[i] for i in order])
    raster = rasterize(vertices, triangles, 16, 16)
    near = np.isin(triangles[raster.face][..., 0], [4])
    assert near[4:14, 4:14].all()
    assert raster.depth[5, 5] == 2.0
    assert raster.depth[1, 1] == 5.0
    assert np.isinf(raster.depth[15, 0])


def test_crossing_planes_are_cut_where_they_meet() -> None:
    ramp = quad(0, 0, 20, 20)
    ramp[:, 2] = ramp[:, 0]  # depth x
    vertices = np.vstack([ramp, quad(0, 0, 20, 20, 9.5)])
    raster = rasterize(vertices, np.vstack([QUAD, QUAD + 4]), 20, 20)
    np.testing.assert_array_equal(raster.face < 2, np.tile(np.arange(20) < 9.5, (20, 1)))


def test_culling_keeps_one_orientation() -> None:
    vertices = quad(0, 0, 8, 8)
    assert rasterize(vertices, QUAD, 8, 8, cull=1).covered.all()
    assert not rasterize(vertices, QUAD, 8, 8, cull=-1).covered.any()
    assert rasterize(vertices, QUAD[:, ::-1], 8, 8, cull=-1).covered.all()


def test_barycentrics_follow_the_corner_order_of_either_orientation() -> None:
    vertices = quad(0, 0, 8, 8)
    for triangles in (QUAD, QUAD[:, ::-1], QUAD[:, [1, 2, 0]]):
        image = interpolate(rasterize(vertices, triangles, 8, 8), triangles, vertices[:, :2])
        y, x = np.mgrid[:8, :8]
        np.testing.assert_allclose(image, np.stack([x, y], -1), atol=1e-5)


def test_texture_lookup_agrees_with_scipy() -> None:
    rng = np.random.default_rng(2)
    texture = rng.random((13, 17, 3)).astype(np.float32)
    vertices = quad(-1, -1, 40, 40)
    uv = np.array([[0.05, 0.1], [0.95, 0.15], [0.9, 0.9], [0.1, 0.85]])
    raster = rasterize(vertices, QUAD, 40, 40)
    image = sample_texture(raster, uv[QUAD], texture)
    at = interpolate(raster, QUAD, uv)
    rows, columns = at[..., 1] * 13 - 0.5, at[..., 0] * 17 - 0.5
    for k in range(3):
        expected = map_coordinates(texture[..., k], [rows, columns], order=1, mode="nearest")
        np.testing.assert_allclose(image[..., k], expected, atol=1e-5)


def test_eight_bit_textures_are_scaled_to_one() -> None:
    raster = rasterize(quad(0, 0, 4, 4), QUAD, 6, 6)
    uv = np.full((2, 3, 2), 0.5)
    image = sample_texture(raster, uv, np.full((2, 2, 3), 51, np.uint8), background=-1.0)
    np.testing.assert_allclose(image[:4, :4], 0.2, atol=1e-6)
    assert (image[5] == -1.0).all()


def test_supersampling_measures_partial_coverage() -> None:
    vertices = quad(1.0, 1.0, 4.0, 5.25)
    raster = rasterize(magnify(vertices, 4), QUAD, 32, 32)
    alpha = reduce_image(raster.covered[..., None].astype(np.float32), 4)[..., 0]
    assert alpha.shape == (8, 8)
    assert alpha.sum() == pytest.approx(3.0 * 4.25)
    assert alpha[3, 1] == pytest.approx(0.5)
    assert alpha[5, 2] == pytest.approx(0.75)


def test_normals_of_a_sphere_point_outwards() -> None:
    points = np.random.default_rng(3).normal(size=(500, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    from scipy.spatial import ConvexHull

    hull = ConvexHull(points)
    triangles = hull.simplices.copy()
    a, b, c = (points[triangles[:, k]] for k in range(3))
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), a) < 0
    triangles[inward] = triangles[inward][:, ::-1]
    normals = vertex_normals(points, triangles)
    assert np.einsum("ij,ij->i", normals, points).min() > 0.95


def test_bytes_repeat_and_buffers_are_reused() -> None:
    rng = np.random.default_rng(4)
    vertices = rng.uniform(0, 64, (90, 3))
    triangles = rng.integers(0, 90, (200, 3))
    first = rasterize(vertices, triangles, 64, 64)
    out = empty_raster(64, 64)
    rasterize(rng.uniform(0, 64, (90, 3)), triangles, 64, 64, out=out)
    second = rasterize(vertices, triangles, 64, 64, out=out)
    assert second is out
    for name in ("face", "barycentric", "depth"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def test_nothing_to_draw_is_all_background() -> None:
    raster = rasterize(np.zeros((0, 3)), np.zeros((0, 3), int), 4, 5)
    assert (raster.face == -1).all()
    assert not rasterize(quad(20, 20, 30, 30), QUAD, 8, 8).covered.any()


@pytest.mark.parametrize(
    ("vertices", "triangles", "message"),
    [
        (np.zeros((3, 2)), QUAD, "shape"),
        (quad(0, 0, 1, 1), np.array([[0, 1, 4]]), "of 4"),
        (quad(0, 0, np.nan, 1), QUAD, "finite"),
        (quad(0, 0, 1e9, 1), QUAD, "1048576"),
        (quad(0, 0, 1, 1, np.inf), QUAD, "depth"),
    ],
)
def test_wrong_input_is_refused(
    vertices: NDArray[np.float64], triangles: NDArray[np.int_], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rasterize(vertices, triangles, 8, 8)
