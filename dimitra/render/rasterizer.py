"""A deterministic software rasteriser: z-buffer, barycentric interpolation, texture lookup.

Pixel centres lie at integer coordinates, x to the right, y down; a smaller depth is nearer.
Vertices are snapped to 1/256 pixel and coverage is decided in whole numbers with the top-left
fill rule (Pineda 1988, "A parallel algorithm for polygon rasterization"), so that triangles that
share an edge never overlap and never leave a gap, and the same input gives the same bytes on
every CPU. One thread; the GIL is released.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.compiled import compiled

SUBPIXELS = 256
"""Vertices are snapped to this fraction of a pixel."""
COORDINATE_LIMIT = float(2**20)
"""Largest absolute vertex coordinate, pixels: edge products then fit 64-bit integers."""


@dataclass(frozen=True)
class Raster:
    """What every pixel sees.

    Attributes:
        face: [H, W] int32, index of the nearest triangle, -1 where there is none.
        barycentric: [H, W, 3] float32, weights of that triangle's corners (0 where none).
        depth: [H, W] float32, interpolated depth (infinity where none).
    """

    face: NDArray[np.int32]
    barycentric: NDArray[np.float32]
    depth: NDArray[np.float32]

    @property
    def covered(self) -> NDArray[np.bool_]:
        """[H, W], whether a triangle covers the pixel's centre."""
        return np.asarray(self.face >= 0)


def empty_raster(height: int, width: int) -> Raster:
    """Buffers that ``rasterize`` can fill again and again (``out=``)."""
    return Raster(
        face=np.full((height, width), -1, np.int32),
        barycentric=np.zeros((height, width, 3), np.float32),
        depth=np.full((height, width), np.inf, np.float32),
    )


@compiled
def _fill(
    points: NDArray[np.float64],
    triangles: NDArray[np.int32],
    cull: int,
    face: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    depth: NDArray[np.float32],
) -> None:
    height, width = face.shape
    face[:] = -1
    barycentric[:] = 0.0
    depth[:] = np.inf
    one = np.int64(256)
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay = np.int64(np.rint(points[a, 0] * 256.0)), np.int64(np.rint(points[a, 1] * 256.0))
        bx, by = np.int64(np.rint(points[b, 0] * 256.0)), np.int64(np.rint(points[b, 1] * 256.0))
        cx, cy = np.int64(np.rint(points[c, 0] * 256.0)), np.int64(np.rint(points[c, 1] * 256.0))
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area == 0 or area * cull < 0:
            continue
        flipped = area < 0
        if flipped:  # corners are walked clockwise on the screen
            bx, by, cx, cy = cx, cy, bx, by
            area = -area
        left = max(np.int64(0), -((-min(ax, bx, cx)) // one))
        right = min(np.int64(width - 1), max(ax, bx, cx) // one)
        top = max(np.int64(0), -((-min(ay, by, cy)) // one))
        bottom = min(np.int64(height - 1), max(ay, by, cy) // one)
        if left > right or top > bottom:
            continue
        # An edge owns its pixels when it is a left edge or a horizontal top edge.
        bias_a = 0 if (cy < by or (cy == by and cx > bx)) else -1
        bias_b = 0 if (ay < cy or (ay == cy and ax > cx)) else -1
        bias_c = 0 if (by < ay or (by == ay and bx > ax)) else -1
        inverse = 1.0 / float(area)
        za, zb, zc = points[a, 2], points[b, 2], points[c, 2]
        if flipped:
            zb, zc = zc, zb
        for y in range(top, bottom + 1):
            py = y * one
            px = left * one
            edge_a = (cx - bx) * (py - by) - (cy - by) * (px - bx)
            edge_b = (ax - cx) * (py - cy) - (ay - cy) * (px - cx)
            edge_c = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
            step_a, step_b, step_c = (by - cy) * one, (cy - ay) * one, (ay - by) * one
            for x in range(left, right + 1):
                if edge_a + bias_a >= 0 and edge_b + bias_b >= 0 and edge_c + bias_c >= 0:
                    wa, wb, wc = edge_a * inverse, edge_b * inverse, edge_c * inverse
                    z = np.float32(wa * za + wb * zb + wc * zc)
                    if z < depth[y, x]:
                        depth[y, x] = z
                        face[y, x] = f
                        barycentric[y, x, 0] = wa
                        barycentric[y, x, 1] = wc if flipped else wb
                        barycentric[y, x, 2] = wb if flipped else wc
                edge_a += step_a
                edge_b += step_b
                edge_c += step_c


def rasterize(
    vertices: NDArray[np.floating[Any]],
    triangles: NDArray[np.integer[Any]],
    height: int,
    width: int,
    *,
    cull: int = 0,
    out: Raster | None = None,
) -> Raster:
    """Find the nearest triangle at every pixel centre.

    Barycentrics are linear on the screen (no perspective division): right for a head whose depth
    is small beside its distance. Of two triangles at equal depth the one listed first wins.

    Args:
        vertices: [V, 3], pixel x, pixel y, depth (nearer is smaller).
        triangles: [F, 3], vertex indices.
        height: pixels.
        width: pixels.
        cull: 0 draws both sides; +1 only triangles that run clockwise on the screen, -1 only the
            others.
        out: buffers of an earlier call to reuse.

    Raises:
        ValueError: a shape is wrong, an index points nowhere, or a coordinate is not finite or
            beyond ``COORDINATE_LIMIT``.
    """
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise ValueError(f"vertices have shape {vertices.shape}, but [V, 3] is needed")
    if triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"triangles have shape {triangles.shape}, but [F, 3] is needed")
    if cull not in (-1, 0, 1):
        raise ValueError(f"cull is {cull}, but -1, 0 or 1 is needed")
    if len(triangles) and (triangles.min() < 0 or triangles.max() >= len(vertices)):
        raise ValueError(
            f"triangles use vertices {triangles.min()}..{triangles.max()} of {len(vertices)}"
        )
    points = np.ascontiguousarray(vertices, np.float64)
    if points.size and not np.abs(points[:, :2]).max() <= COORDINATE_LIMIT:
        raise ValueError(
            f"a vertex lies at {np.abs(points[:, :2]).max()} px; finite coordinates within "
            f"{COORDINATE_LIMIT:.0f} px are needed"
        )
    if points.size and not np.isfinite(points[:, 2]).all():
        raise ValueError("a vertex has a depth that is not finite")
    raster = empty_raster(height, width) if out is None else out
    if raster.face.shape != (height, width):
        raise ValueError(f"out is {raster.face.shape}, but {(height, width)} is drawn")
    _fill(
        points,
        np.ascontiguousarray(triangles, np.int32),
        cull,
        raster.face,
        raster.barycentric,
        raster.depth,
    )
    return raster


@compiled
def _interpolate(
    face: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    triangles: NDArray[np.int32],
    attributes: NDArray[np.float32],
    image: NDArray[np.float32],
) -> None:
    height, width = face.shape
    for y in range(height):
        for x in range(width):
            f = face[y, x]
            if f < 0:
                continue
            a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
            wa, wb, wc = barycentric[y, x, 0], barycentric[y, x, 1], barycentric[y, x, 2]
            for k in range(attributes.shape[1]):
                image[y, x, k] = (
                    wa * attributes[a, k] + wb * attributes[b, k] + wc * attributes[c, k]
                )


def interpolate(
    raster: Raster,
    triangles: NDArray[np.integer[Any]],
    attributes: NDArray[np.floating[Any]],
    background: float = 0.0,
) -> NDArray[np.float32]:
    """Spread vertex attributes over the pixels.

    Args:
        raster: result of ``rasterize`` for the same triangles.
        triangles: [F, 3].
        attributes: [V, C].
        background: value where no triangle is.

    Returns:
        [H, W, C] float32.
    """
    image = np.full((*raster.face.shape, attributes.shape[1]), background, np.float32)
    _interpolate(
        raster.face,
        raster.barycentric,
        np.ascontiguousarray(triangles, np.int32),
        np.ascontiguousarray(attributes, np.float32),
        image,
    )
    return image


@compiled
def _bilinear(
    texture: NDArray[Any], x: float, y: float, scale: float, out: NDArray[np.float32]
) -> None:
    height, width, channels = texture.shape
    x = min(max(x, 0.0), width - 1.0)
    y = min(max(y, 0.0), height - 1.0)
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
    fx, fy = x - x0, y - y0
    for k in range(channels):
        upper = (1.0 - fx) * texture[y0, x0, k] + fx * texture[y0, x1, k]
        lower = (1.0 - fx) * texture[y1, x0, k] + fx * texture[y1, x1, k]
        out[k] = scale * ((1.0 - fy) * upper + fy * lower)


@compiled
def _sample(
    face: NDArray[np.int32],
    barycentric: NDArray[np.float32],
    corners: NDArray[np.float32],
    texture: NDArray[Any],
    scale: float,
    image: NDArray[np.float32],
) -> None:
    height, width = face.shape
    for y in range(height):
        for x in range(width):
            f = face[y, x]
            if f < 0:
                continue
            u, v = 0.0, 0.0
            for k in range(3):
                u += barycentric[y, x, k] * corners[f, k, 0]
                v += barycentric[y, x, k] * corners[f, k, 1]
            _bilinear(
                texture,
                u * texture.shape[1] - 0.5,
                v * texture.shape[0] - 0.5,
                scale,
                image[y, x],
            )


def sample_texture(
    raster: Raster,
    corner_uv: NDArray[np.floating[Any]],
    texture: NDArray[Any],
    background: float = 0.0,
) -> NDArray[np.float32]:
    """Look a texture up at every covered pixel, bilinearly, clamped at the border.

    Args:
        raster: result of ``rasterize``.
        corner_uv: [F, 3, 2], texture coordinates of each triangle's corners (so that UV seams
            need no doubled vertices): (0, 0) is the outer corner of the first texel of the first
            row, (1, 1) that of the last texel of the last row.
        texture: [h, w, C]; uint8 is scaled to 0..1, float32 is taken as it is.
        background: value where no triangle is.

    Returns:
        [H, W, C] float32.
    """
    image = np.full((*raster.face.shape, texture.shape[2]), background, np.float32)
    _sample(
        raster.face,
        raster.barycentric,
        np.ascontiguousarray(corner_uv, np.float32),
        np.ascontiguousarray(texture),
        1.0 / 255.0 if texture.dtype == np.uint8 else 1.0,
        image,
    )
    return image


@compiled
def _normals(
    points: NDArray[np.float64], triangles: NDArray[np.int32], normals: NDArray[np.float64]
) -> None:
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ux, uy, uz = (
            points[b, 0] - points[a, 0],
            points[b, 1] - points[a, 1],
            points[b, 2] - points[a, 2],
        )
        vx, vy, vz = (
            points[c, 0] - points[a, 0],
            points[c, 1] - points[a, 1],
            points[c, 2] - points[a, 2],
        )
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in range(3):
            corner = triangles[f, k]
            normals[corner, 0] += nx
            normals[corner, 1] += ny
            normals[corner, 2] += nz
    for v in range(normals.shape[0]):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        if length > 0.0:
            normals[v] /= length


def vertex_normals(
    vertices: NDArray[np.floating[Any]], triangles: NDArray[np.integer[Any]]
) -> NDArray[np.float32]:
    """Unit normals [V, 3], the area-weighted mean of the triangles around each vertex.

    They point to the side from which the triangles run counter-clockwise in a right-handed space;
    a vertex without triangles gets zeros.
    """
    normals = np.zeros((len(vertices), 3), np.float64)
    _normals(
        np.ascontiguousarray(vertices, np.float64),
        np.ascontiguousarray(triangles, np.int32),
        normals,
    )
    return normals.astype(np.float32)


def magnify(vertices: NDArray[np.floating[Any]], factor: int = 2) -> NDArray[np.float64]:
    """Vertices [V, 3] for drawing at ``factor`` times the size, before ``reduce_image``."""
    scaled = np.array(vertices, np.float64)
    scaled[:, :2] = factor * scaled[:, :2] + 0.5 * (factor - 1)
    return scaled


@compiled
def _reduce(image: NDArray[np.float32], factor: int, out: NDArray[np.float32]) -> None:
    share = np.float32(1.0 / (factor * factor))
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            for k in range(out.shape[2]):
                total = np.float32(0.0)
                for j in range(factor):
                    for i in range(factor):
                        total += image[y * factor + j, x * factor + i, k]
                out[y, x, k] = total * share


def reduce_image(image: NDArray[np.float32], factor: int = 2) -> NDArray[np.float32]:
    """Mean of each ``factor`` x ``factor`` block: [H * factor, W * factor, C] -> [H, W, C].

    Raises:
        ValueError: the sides are not multiples of ``factor``.
    """
    height, width, channels = image.shape
    if height % factor or width % factor:
        raise ValueError(f"image is {height}x{width}, which is not a multiple of {factor}")
    out = np.empty((height // factor, width // factor, channels), np.float32)
    _reduce(np.ascontiguousarray(image, np.float32), factor, out)
    return out
