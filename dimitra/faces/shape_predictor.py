"""An ensemble of regression trees that places landmarks (Kazemi and Sullivan, 2014).

dlib trained it (King, 2009) and wrote the file; this module reads the file and evaluates it, for
two things that dlib's own evaluation does not give. Answers come in fractions of pixels: dlib
rounds them, which a single measurement in a small picture cannot afford. And many faces are
measured tree by tree, so that the 65 MB of leaves pass through the processor's cache once a batch,
not once a face. Rounded, and without values between pixels, the answers are dlib's own.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.compiled import compiled

_VERSION = 1
_DEPTH = 4
_SPLITS, _LEAVES = 2**_DEPTH - 1, 2**_DEPTH
_TOGETHER = 4
"""Trees whose steps are added at once, so that a shape is loaded and stored once for them."""


class ShapePredictor:
    """Places landmarks in faces whose boxes are known.

    Args:
        path: a file that dlib's ``shape_predictor`` wrote, with trees of depth 4.

    Raises:
        ValueError: the file has another layout.
    """

    def __init__(self, path: Path) -> None:
        data = np.memmap(path, np.uint8, "r")
        try:
            *_, end = parts = _read(data)
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"{path.name} is no shape predictor with trees of depth {_DEPTH}: {error}"
            ) from None
        if end != len(data):
            raise ValueError(
                f"{path.name} has {len(data)} bytes, but its shape predictor ends at {end}"
            )
        self._model = parts[:-1]
        self.points = len(parts[0])

    def measure(
        self,
        images: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        frames: NDArray[np.int64] | None = None,
        *,
        between: bool = True,
    ) -> NDArray[np.float32]:
        """Landmarks of many faces.

        Args:
            images: ``[T, H, W]`` grey.
            boxes: ``[N, 4]``, x0, y0, x1, y1 in pixels; fractions count.
            frames: ``[N]``, the image of each box; without it box ``i`` lies in image ``i``.
            between: grey values are interpolated between pixels, which shakes less; without it
                they are the nearest pixel's, as in dlib.

        Returns:
            ``[N, points, 2]`` in pixels (x right, y down, pixel centres at integers).

        Raises:
            ValueError: the shapes do not fit together.
        """
        if images.ndim != 3 or boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(
                f"images are {images.shape} and boxes {boxes.shape}, need [T, H, W] and [N, 4]"
            )
        where = np.arange(len(images)) if frames is None else np.asarray(frames, np.int64)
        if where.shape != (len(boxes),) or (
            len(where) and not 0 <= int(where.min()) <= int(where.max()) < len(images)
        ):
            raise ValueError(f"{len(boxes)} boxes lie in images {where} of {len(images)}")
        # dlib's rectangle ends on its last pixel, this project's boxes one past it.
        corners = boxes.astype(np.float64) - np.array([0.0, 0.0, 1.0, 1.0])
        return np.asarray(_measure(images, where, corners, between, *self._model), np.float32)


@compiled
def _read_int(data: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """A number in dlib's form: how many bytes follow, with the sign in bit 7; low bytes first."""
    count = data[at] & 0x0F
    value: Any = np.int64(0)
    if at + count >= len(data) or count > 8:
        raise ValueError("a number does not end")
    for index in range(count):
        value |= np.int64(data[at + 1 + index]) << (8 * index)
    return (-value if data[at] & 0x80 else value), at + 1 + count


@compiled
def _read_float(data: NDArray[np.uint8], at: int) -> tuple[np.float32, int]:
    """A number in dlib's form: mantissa and exponent as two whole numbers."""
    mantissa, at = _read_int(data, at)
    exponent, at = _read_int(data, at)
    return np.float32(math.ldexp(float(mantissa), exponent)), at


@compiled
def _expect(data: NDArray[np.uint8], at: int, wanted: int) -> int:
    value, at = _read_int(data, at)
    if value != wanted:
        raise ValueError("a length or version differs")
    return at


@compiled
def _read_tree(
    data: NDArray[np.uint8],
    at: int,
    compared: NDArray[np.uint16],
    threshold: NDArray[np.float32],
    leaves: NDArray[np.float32],
) -> int:
    at = _expect(data, at, _SPLITS)
    for split in range(_SPLITS):
        for side in range(2):
            pixel, at = _read_int(data, at)
            compared[split, side] = pixel
        threshold[split], at = _read_float(data, at)
    at = _expect(data, at, _LEAVES)
    for leaf in range(_LEAVES):
        at = _expect(data, at, -leaves.shape[1])
        at = _expect(data, at, -1)
        for index in range(leaves.shape[1]):
            leaves[leaf, index], at = _read_float(data, at)
    return at


@compiled
def _read_pixels(
    data: NDArray[np.uint8],
    at: int,
    points: int,
    anchor: NDArray[np.int32],
    offset: NDArray[np.float32],
) -> int:
    cascades, pixels = anchor.shape
    for cascade in range(cascades):
        at = _expect(data, at, pixels)
        for pixel in range(pixels):
            point, at = _read_int(data, at)
            if point < 0 or point >= points:
                raise ValueError("a pixel belongs to no point")
            anchor[cascade, pixel] = point
    at = _expect(data, at, cascades)
    for cascade in range(cascades):
        at = _expect(data, at, pixels)
        for pixel in range(pixels):
            offset[cascade, 0, pixel], at = _read_float(data, at)
            offset[cascade, 1, pixel], at = _read_float(data, at)
    return at


@compiled
def _read(
    data: NDArray[np.uint8],
) -> tuple[
    NDArray[np.float32],
    NDArray[np.uint16],
    NDArray[np.float32],
    NDArray[np.float32],
    NDArray[np.int32],
    NDArray[np.float32],
    int,
]:
    """The parts of the file, in its order, and the position after the last one.

    Mean shape ``[points, 2]`` in units of the box; for each cascade and tree the two pixels that a
    split compares, its threshold, and the leaves' steps; for each cascade the landmark to which a
    pixel belongs, and its place beside it in the mean shape.
    """
    at = _expect(data, 0, _VERSION)
    size, at = _read_int(data, at)
    at = _expect(data, at, -1)
    size = -size  # dlib writes matrices' sizes as negative numbers
    if size < 2 or size > 2000 or size % 2:
        raise ValueError("the number of points")
    mean = np.empty((size // 2, 2), np.float32)
    for point in range(size // 2):
        mean[point, 0], at = _read_float(data, at)
        mean[point, 1], at = _read_float(data, at)
    cascades, at = _read_int(data, at)
    trees, _ = _read_int(data, at)
    if cascades < 1 or trees < 1 or trees % _TOGETHER or cascades * trees > 100_000:
        raise ValueError("the number of trees")
    compared = np.empty((cascades, trees, _SPLITS, 2), np.uint16)
    threshold = np.empty((cascades, trees, _SPLITS), np.float32)
    leaves = np.empty((cascades, trees, _LEAVES, size), np.float32)
    for cascade in range(cascades):
        at = _expect(data, at, trees)
        for tree in range(trees):
            at = _read_tree(
                data, at, compared[cascade, tree], threshold[cascade, tree], leaves[cascade, tree]
            )
    at = _expect(data, at, cascades)
    pixels, _ = _read_int(data, at)
    if pixels < 1 or pixels > 60_000 or compared.max() >= pixels:
        raise ValueError("the number of pixels")
    anchor = np.empty((cascades, pixels), np.int32)
    offset = np.empty((cascades, 2, pixels), np.float32)
    at = _read_pixels(data, at, size // 2, anchor, offset)
    return mean, compared, threshold, leaves, anchor, offset, at


@compiled
def _look(
    image: NDArray[np.uint8],
    box: NDArray[np.float64],
    shape: NDArray[np.float32],
    mean: NDArray[np.float64],
    anchor: NDArray[np.int32],
    offset: NDArray[np.float32],
    place: NDArray[np.float64],
    seen: NDArray[np.float32],
    between: bool,
) -> None:
    """Grey values at the pixels of one cascade, placed on the present shape; 0 outside.

    The pixels turn and grow with the shape: by the similarity that takes the mean shape (whose
    centre is 0 here) to it, in least squares (Umeyama, 1991).
    """
    height, width = image.shape
    points = len(mean)
    spread = along = across = 0.0
    for point in range(points):
        x, y = mean[point, 0], mean[point, 1]
        u, v = shape[2 * point], shape[2 * point + 1]
        spread += x * x + y * y
        along += x * u + y * v
        across += x * v - y * u
    along, across = along / spread, across / spread
    left, top, breadth, depth = box[0], box[1], box[2] - box[0], box[3] - box[1]
    for pixel in range(len(seen)):  # a loop of its own: it takes several pixels an instruction
        near = 2 * np.int64(anchor[pixel])
        x, y = np.float64(offset[0, pixel]), np.float64(offset[1, pixel])
        place[0, pixel] = left + breadth * (along * x - across * y + shape[near])
        place[1, pixel] = top + depth * (across * x + along * y + shape[near + 1])
    one = np.uint64(1)
    for pixel in range(len(seen)):
        u, v = place[0, pixel], place[1, pixel]
        value = np.float32(0.0)
        if not between:  # dlib's rounding
            u, v = math.floor(u + 0.5), math.floor(v + 0.5)
            if 0.0 <= u < width and 0.0 <= v < height:
                value = np.float32(image[np.uint64(v), np.uint64(u)])
        elif 0.0 <= u < width - 1 and 0.0 <= v < height - 1:
            column, row = np.uint64(u), np.uint64(v)
            right, down = np.float32(u - column), np.float32(v - row)
            value = np.float32(image[row, column])
            below = np.float32(image[row + one, column])
            value += right * (np.float32(image[row, column + one]) - value)
            below += right * (np.float32(image[row + one, column + one]) - below)
            value += down * (below - value)
        seen[pixel] = value


@compiled
def _descend(
    seen: NDArray[np.float32],
    compared: NDArray[np.uint16],
    threshold: NDArray[np.float32],
    right: NDArray[np.uint8],
    leaf: NDArray[np.uint8],
) -> None:
    """The leaf of one tree that each face reaches.

    All splits are decided for all faces, and the leaf is read off: more arithmetic than following
    each face down, but eight or sixteen faces an instruction.

    Args:
        seen: ``[pixels, faces]``.
        compared: ``[15, 2]``.
        threshold: ``[15]``.
        right: ``[15, faces]``, for the decisions.
        leaf: ``[faces]``, written.
    """
    faces = len(leaf)
    for split in range(_SPLITS):
        first, second = seen[compared[split, 0]], seen[compared[split, 1]]
        limit, decision = threshold[split], right[split]
        for face in range(faces):
            decision[face] = np.uint8(0) if first[face] - second[face] > limit else np.uint8(1)
    for face in range(faces):
        low = np.uint8(0)
        if right[1, face]:
            low = right[10, face] + np.uint8(2) if right[4, face] else right[9, face]
            low += np.uint8(4)
        else:
            low = right[8, face] + np.uint8(2) if right[3, face] else right[7, face]
        high = np.uint8(0)
        if right[2, face]:
            high = right[14, face] + np.uint8(2) if right[6, face] else right[13, face]
            high += np.uint8(4)
        else:
            high = right[12, face] + np.uint8(2) if right[5, face] else right[11, face]
        leaf[face] = high + np.uint8(8) if right[0, face] else low


@compiled
def _measure(
    images: NDArray[np.uint8],
    frames: NDArray[np.int64],
    boxes: NDArray[np.float64],
    between: bool,
    mean: NDArray[np.float32],
    compared: NDArray[np.uint16],
    threshold: NDArray[np.float32],
    leaves: NDArray[np.float32],
    anchor: NDArray[np.int32],
    offset: NDArray[np.float32],
) -> NDArray[np.float32]:
    faces, points = len(frames), len(mean)
    cascades, trees = compared.shape[0], compared.shape[1]
    centred = mean.astype(np.float64)
    centred[:, 0] -= centred[:, 0].mean()
    centred[:, 1] -= centred[:, 1].mean()
    shapes = np.empty((faces, 2 * points), np.float32)
    shapes[:] = mean.ravel()
    place = np.empty((2, anchor.shape[1]), np.float64)
    seen = np.empty((faces, anchor.shape[1]), np.float32)
    right = np.empty((_SPLITS, faces), np.uint8)
    leaf = np.empty((_TOGETHER, faces), np.uint8)
    for cascade in range(cascades):
        for face in range(faces):
            _look(
                images[frames[face]],
                boxes[face],
                shapes[face],
                centred,
                anchor[cascade],
                offset[cascade],
                place,
                seen[face],
                between,
            )
        columns = seen.T.copy()
        for tree in range(0, trees, _TOGETHER):
            for step in range(_TOGETHER):
                at = tree + step
                _descend(columns, compared[cascade, at], threshold[cascade, at], right, leaf[step])
            for face in range(faces):
                shape = shapes[face]
                first = leaves[cascade, tree, leaf[0, face]]
                second = leaves[cascade, tree + 1, leaf[1, face]]
                third = leaves[cascade, tree + 2, leaf[2, face]]
                fourth = leaves[cascade, tree + 3, leaf[3, face]]
                for index in range(2 * points):  # in the order of the trees: sums are as dlib's
                    shape[index] = (
                        shape[index] + first[index] + second[index] + third[index] + fourth[index]
                    )
    found = np.empty((faces, points, 2), np.float32)
    for face in range(faces):
        left, top = boxes[face, 0], boxes[face, 1]
        breadth, depth = boxes[face, 2] - left, boxes[face, 3] - top
        for point in range(points):
            found[face, point, 0] = left + breadth * shapes[face, 2 * point]
            found[face, point, 1] = top + depth * shapes[face, 2 * point + 1]
    return found
