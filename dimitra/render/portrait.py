"""What one reference photo tells about a head: where to take colours, and what follows its motion.

The fitted head is laid over the photo. Skin that the photo shows well keeps its place in the photo
as texture; what it hides is taken from the mirrored side, or left to the warp of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt, gaussian_filter
from scipy.sparse import coo_array

from dimitra.morphable import camera
from dimitra.render.composite import (
    EYE,
    INTERIOR,
    SHADE,
    SKIN,
    SOURCE_X,
    SOURCE_Y,
    TRUST,
    TWIN_TRUST,
    TWIN_X,
    TWIN_Y,
    pack_pictures,
)
from dimitra.render.hair import hair_beyond
from dimitra.render.head import (
    EYE_CORNERS,
    FLESH,
    LIPS,
    Floats,
    Head,
    lid_opening,
    lip_opening,
    look,
    place,
    smoothstep,
    tensor,
)
from dimitra.render.inpaint import fill_unknown
from dimitra.render.mouth import without_teeth
from dimitra.render.rasterizer import (
    Raster,
    magnify,
    rasterize,
    reduce_image,
    vertex_normals,
)
from dimitra.render.warp import CELLS, WarpGrid, warp_grid

FACING = (0.08, 0.35)
"""Cosine between skin and view below which the photo shows nothing, above which it shows all."""
HIDDEN_DEPTH = (0.12, 0.05)
"""Depth behind the visible surface (decimetres) at which skin is hidden, and still seen."""
BORDER_PX = 6.0
"""Skin this close to the photo's border is trusted less and less."""
SMOOTHING = 4
"""Rounds of averaging of trust over neighbours."""
HALO_PX = 10
"""Spacing of the points around the head that hair hangs on."""
HAIR_REACH, HALO_REACH = 0.6, 0.25
"""How far hair may reach beyond the head, and what moves with both beyond that, as shares of the
face's width."""
HALO_WEIGHT = 0.25
"""Trust in the rigid motion of the hair beside 1 for skin."""
STILL_FROM, STILL_AT, STILL_WEIGHT = 0.1, 0.35, 0.5
"""Distances from head and hair (shares of the face's width) from which on the background rests, and
at which it does with this weight."""
HANDLES_PER_CELL = 2
LASH_REACH, LIP_RIM, SLIT_RIM = 1 / 64, 1 / 128, 1 / 85
"""Width of the lashes around an eye, of the dark rim of a mouth, and how far from the fitted line
between closed lips the photo's may lie, as shares of the photo."""
FILL_BLUR_PX = 1.5
"""Lids stretch the few pixels between lashes and crease; they are smoothed before."""
FEW_PIXELS = 12
"""With fewer pixels of eyes, or of an open mouth, the photo shows them closed."""
BRIGHT_TEETH = 0.6
"""Brightness of an open mouth beside that of the skin above which it shows teeth."""
FULL_LIGHT = 190.0
"""Mean of the brighter half of the face, 0..255, at which teeth are as bright as in full light."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """A reference photo, ready to be moved.

    Attributes:
        size: side of the photo, pixels.
        pictures: the photo and its continuations, packed as ``compose`` reads them.
        attributes: [V, 7] float32, columns of ``compose`` with ``FILL`` zero.
        layer: [F] uint8, layers of the triangles; eyes that the photo shows closed have plain
            colours, as the interior has.
        colours: [V, 3] float32, plain colours in the photo's light.
        grid: warp of the picture around the head.
        handles: [K] vertices that pull the grid.
        halo: [N, 3] points in the model frame that pull it too (hair).
        rest: [K + N, 2] their positions in the photo.
        crop: [3], Deng's alignment.
        lids: [2] opening of the lids in the photo.
        lips: opening of the lips in the photo, decimetres.
        mouth: [20, 3] the mouth's landmarks in the photo, in the model frame.
        scale: pixels of the photo for a decimetre at the eyes.
        mouth_seen: whether the photo shows enough of the mouth's inside to use it.
        flesh: [3] float32, colour inside the mouth where no light enters between the lips.
        teeth_seen: 1 where what it shows is as bright as teeth are, 0 where it is dark.
    """

    size: int
    pictures: NDArray[np.float32]
    attributes: NDArray[np.float32]
    layer: NDArray[np.uint8]
    colours: NDArray[np.float32]
    grid: WarpGrid
    handles: NDArray[np.int64]
    halo: NDArray[np.float32]
    rest: NDArray[np.floating[Any]]
    crop: NDArray[np.float32]
    lids: Floats
    lips: float
    mouth: NDArray[np.float32]
    scale: float
    mouth_seen: bool
    flesh: NDArray[np.float32]
    teeth_seen: float


def _neighbour_mean(head: Head) -> Any:
    """Sparse [V, V] matrix that averages a value over a vertex and its neighbours."""
    a, b, c = head.triangles.T
    rows, columns = np.concatenate([a, b, c, b, c, a]), np.concatenate([b, c, a, a, b, c])
    count = len(head.mean)
    links = coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count)).tocsr()
    links.data[:] = 1.0
    links = links + coo_array((np.ones(count), (np.arange(count),) * 2), shape=(count, count))
    return links.multiply(1.0 / links.sum(axis=1)[:, None]).tocsr()


def _trust(head: Head, projected: Floats, posed: Floats, raster: Raster, size: int) -> Floats:
    """How well the photo shows each vertex, [V] in 0..1."""
    view = np.array([0.0, 0.0, camera.DISTANCE]) - posed
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    normals = vertex_normals(posed, head.triangles)
    facing = np.einsum("vc,vc->v", normals.astype(np.float64), view)
    at = np.clip(np.rint(2.0 * projected[:, :2] + 0.5), 0, 2 * size - 1).astype(int)
    front = raster.depth[at[:, 1], at[:, 0]].astype(np.float64)
    behind = np.where(np.isfinite(front), projected[:, 2] - front, 0.0)
    trust = smoothstep(facing, *FACING) * smoothstep(behind, *HIDDEN_DEPTH)
    inside = np.minimum(projected[:, :2], size - 1 - projected[:, :2]).min(axis=1)
    frame = smoothstep(inside, 0.0, BORDER_PX)
    trust *= head.skull * frame
    mean = _neighbour_mean(head)
    pinned = np.maximum(head.lids.max(axis=0), head.lips) * frame
    for _ in range(SMOOTHING):
        trust = np.minimum(mean @ trust, np.where(trust > 0, 1.0, 0.3))
    trust = np.maximum(trust * frame, pinned)
    trust[head.vertex_layer == EYE] = 1.0
    return np.asarray(trust, np.float64)


def _coverage(raster: Raster, chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Share [H, W] of each pixel that triangles of a choice [F] cover."""
    seen = raster.covered & chosen[np.maximum(raster.face, 0)]
    return reduce_image(seen[..., None].astype(np.float32))[..., 0]


def _continued(
    photo: NDArray[np.float32],
    eye: NDArray[np.float32],
    opening: NDArray[np.float32],
    lips: NDArray[np.float32],
    line: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """The packed pictures of ``compose``.

    From the cover [S, S] of eyeballs, mouth and lips, and the line [S, S] where lips meet.
    """
    lashes = binary_dilation(eye > 0.0, _disc(LASH_REACH * photo.shape[0]))
    inside = binary_dilation(opening > 0.0, _disc(LIP_RIM * photo.shape[0]))
    inside |= binary_dilation(line, _disc(SLIT_RIM * photo.shape[0]))
    skin = fill_unknown(photo, ~(lashes | inside))
    soft = gaussian_filter(lashes.astype(np.float32), FILL_BLUR_PX)[..., None]
    skin += np.minimum(2.0 * soft, 1.0) * (
        gaussian_filter(skin, (FILL_BLUR_PX, FILL_BLUR_PX, 0.0)) - skin
    )
    pictures = [photo, without_teeth(photo, skin, opening, lips)]
    for cover in (eye, opening):
        sure = _surely(cover)
        pictures.append(fill_unknown(photo, sure) if sure.sum() >= FEW_PIXELS else skin)
    return pack_pictures(pictures)


def _layers(head: Head, raster: Raster) -> NDArray[np.uint8]:
    """Layers [F], with eyes that the photo does not show among the plain colours."""
    layer = head.layer.copy()
    right = head.mean[head.triangles[:, 0], 0] < 0
    for side in (right, ~right):
        eye = side & (head.layer == EYE)
        if _surely(_coverage(raster, eye)).sum() < FEW_PIXELS:
            layer[eye] = INTERIOR
    return layer


def _disc(radius_px: float) -> NDArray[np.bool_]:
    reach = int(np.ceil(radius_px))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(np.hypot(y, x) <= max(radius_px, 1.0))


def _lip_line(inner: Floats, size: int) -> NDArray[np.bool_]:
    """Pixels [S, S] on the closed line through the inner lips' landmarks [8, 2]."""
    steps = np.linspace(0.0, 1.0, 65)[:, None, None]
    dense = np.rint(inner + steps * (np.roll(inner, -1, axis=0) - inner)).reshape(-1, 2)
    at = np.clip(dense, 0, size - 1).astype(int)
    line = np.zeros((size, size), bool)
    line[at[:, 1], at[:, 0]] = True
    return line


def _surely(cover: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels [S, S] that a cover holds wholly, with their neighbours."""
    return np.asarray(binary_erosion(cover > 0.99))


def _still(distance: Floats, width: float) -> Floats:
    """How firmly the grid's nodes [G, G] rest, by their distance from the head."""
    size = len(distance)
    span = np.clip(np.rint(np.linspace(-0.5, size - 0.5, CELLS + 1)), 0, size - 1).astype(int)
    away = distance[np.ix_(span, span)]
    return STILL_WEIGHT * smoothstep(away, STILL_FROM * width, STILL_AT * width)


def _beyond(
    head: Head,
    image: NDArray[np.float32],
    raster: Raster,
    jaw: Floats,
    width: float,
) -> tuple[NDArray[np.bool_], Floats]:
    """Where the head is [S, S], and the distance from it and its hair [S, S], pixels."""
    outline = _coverage(raster, np.ones(len(head.triangles), bool)) > 0.5
    away = np.asarray(distance_transform_edt(~outline), np.float64)
    scalp = head.model.part("scalp").numpy()[head.triangles[:, 0]]
    hair = hair_beyond(image, _coverage(raster, scalp) > 0.5, outline, away > HAIR_REACH * width)
    hair[max(int(jaw[8, 1]), 0) :] = False  # shoulders
    return outline, np.asarray(distance_transform_edt(~(outline | hair)), np.float64)


def _halo(
    head: Head,
    outline: NDArray[np.bool_],
    distance: Floats,
    width: float,
    posed: Floats,
    projected: Floats,
    crop: NDArray[np.float32],
) -> tuple[Floats, Floats]:
    """Points around the head in the camera's space [N, 3], and trust in each [N]."""
    size = len(distance)
    jaw = projected[head.landmarks]
    span = np.arange(HALO_PX / 2, size, HALO_PX)
    x, y = (grid.ravel() for grid in np.meshgrid(span, span))
    away = distance[y.astype(int), x.astype(int)]
    ears, chin = jaw[[0, 16], 1].mean(), jaw[8, 1]
    weight = smoothstep(away, HALO_REACH * width, 0.0) * smoothstep(
        y, 0.5 * (ears + chin), ears - 0.1 * width
    )
    kept = ~outline[y.astype(int), x.astype(int)] & (weight > 0.02)
    depth = camera.DISTANCE - float(posed[head.landmarks[[0, 16]], 2].mean())
    pixels = tensor(np.stack([x[kept], y[kept]], axis=1))
    flat = camera.crop_to_aligned(pixels, tensor(crop), size).numpy() - camera.CENTRE_PX
    points = np.zeros((kept.sum(), 3))
    points[:, :2] = flat * [1.0, -1.0] * depth / camera.FOCAL_PX
    points[:, 2] = camera.DISTANCE - depth
    return points, HALO_WEIGHT * weight[kept]


def _thin(projected: Floats, trust: Floats, size: int, cells: int = 32) -> NDArray[np.int64]:
    """The most trusted vertices, at most ``HANDLES_PER_CELL`` in every cell of the grid."""
    order = np.argsort(-trust, kind="stable")
    order = order[trust[order] > 0.3]
    cell = np.floor((projected[order, :2] + 0.5) * cells / size).astype(int)
    order = order[((cell >= 0) & (cell < cells)).all(axis=1)]
    cell = np.floor((projected[order, :2] + 0.5) * cells / size).astype(int)
    taken: dict[tuple[int, int], int] = {}
    kept = []
    for vertex, (i, j) in zip(order.tolist(), cell.tolist(), strict=True):
        count = taken.get((i, j), 0)
        if count < HANDLES_PER_CELL:
            taken[i, j] = count + 1
            kept.append(vertex)
    return np.array(sorted(kept), np.int64)


def _brightness(photo: NDArray[np.float32], head: Head, raster: Raster) -> float:
    """Mean of the brighter half of the skin around eyes and mouth, 0..255."""
    near = head.lips + head.lids.sum(axis=0) > 0.1
    chosen = near[head.triangles[:, 0]] & (head.layer == SKIN)
    seen = _coverage(raster, chosen) > 0.5
    if not seen.any():
        return FULL_LIGHT
    grey = photo[seen].mean(axis=1)
    return float(grey[grey >= np.median(grey)].mean())


def prepare_portrait(
    head: Head,
    photo: NDArray[np.uint8],
    identity: NDArray[np.float32],
    reference: NDArray[np.float32],
    crop: NDArray[np.float32],
) -> Portrait:
    """Lay the fitted head over its photo.

    Args:
        head: the face model.
        photo: [S, S, 3], the reference frame.
        identity: [80].
        reference: [70], motion values of that frame.
        crop: [3], Deng's alignment of that frame.

    Raises:
        ValueError: the photo is not square, or the head lies outside it.
    """
    size = photo.shape[0]
    if photo.shape != (size, size, 3):
        raise ValueError(f"photo has shape {photo.shape}, but [S, S, 3] is needed")
    placed = place(head, identity, reference[None], crop, size)
    posed = np.asarray(placed.posed[0], np.float64)
    projected = np.asarray(placed.projected[0], np.float64)
    raster = rasterize(magnify(projected), head.triangles, 2 * size, 2 * size)
    image = photo.astype(np.float32)
    light = _brightness(image, head, raster)
    level = np.float32(np.clip(light / FULL_LIGHT, 0.15, 1.1))
    eye = _coverage(raster, head.layer == EYE)
    opening = _coverage(raster, head.layer == INTERIOR)
    inside = image[_surely(opening)]
    mouth_seen = len(inside) >= FEW_PIXELS
    line = _lip_line(projected[head.landmarks[60:68], :2], size) & (not mouth_seen)
    whole = head.model.part("lips").numpy()[head.triangles].all(axis=1)
    lips = _coverage(raster, np.asarray(whole))
    corners = head.landmarks[[EYE_CORNERS[0][0], EYE_CORNERS[1][1]]]
    apart = np.linalg.norm(np.diff(posed[corners], axis=0))
    trust = _trust(head, projected, posed, raster, size)

    attributes = np.zeros((len(posed), 8), np.float32)
    attributes[:, SHADE] = 1.0
    attributes[:, [SOURCE_X, SOURCE_Y]] = projected[:, :2]
    attributes[:, TRUST] = trust
    attributes[:, [TWIN_X, TWIN_Y]] = projected[head.twin, :2]
    twin = smoothstep(trust, 0.35, 0.05) * smoothstep(trust[head.twin], 0.5, 0.9)
    attributes[:, TWIN_TRUST] = twin * head.front

    pulling = np.where(head.vertex_layer == SKIN, trust, 0.0)
    handles = _thin(projected, pulling, size)
    jaw = projected[head.landmarks[:17], :2]
    width = float(np.linalg.norm(jaw[0] - jaw[16]))
    outline, distance = _beyond(head, image, raster, jaw, width)
    around, around_trust = _halo(head, outline, distance, width, posed, projected, crop)
    turn = camera.rotation(tensor(reference[64:67])).numpy()
    halo = ((around - reference[67:]) @ turn).astype(np.float32)
    rest = look(tensor(halo[None]), reference[None, 64:], crop, size)[1][0, :, :2]
    rest = np.concatenate([projected[handles, :2], rest.astype(np.float64)])
    weights = np.concatenate([pulling[handles], around_trust])
    grid = warp_grid(size, size, rest, weights, _still(distance, width))
    return Portrait(
        size=size,
        pictures=_continued(image, eye, opening, lips, line),
        attributes=attributes,
        layer=_layers(head, raster),
        colours=head.colours * level,
        flesh=np.array(FLESH, np.float32) * level,
        grid=grid,
        handles=handles,
        halo=halo,
        rest=rest,
        crop=crop,
        lids=lid_opening(placed.vertices[0], head.landmarks),
        lips=lip_opening(placed.vertices[0], head.landmarks),
        mouth=placed.vertices[0, head.landmarks[list(LIPS)]],
        scale=float(np.linalg.norm(np.diff(projected[corners], axis=0)[:, :2]) / apart),
        mouth_seen=mouth_seen,
        teeth_seen=float(len(inside) > 0 and inside.mean() > BRIGHT_TEETH * light),
    )
