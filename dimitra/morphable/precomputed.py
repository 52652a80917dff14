"""Coefficients that others have computed: a clip's ``.mat`` file, and its values at our frames.

Layouts, all of Deng's encoder run over a video frame by frame:

* ``coeff [N, 257]`` with ``transform_params [N, 5]`` (width and height of the picture, ``s, tx,
  ty``): PIRender's ``scripts/face_recon_videos.py``; StyleTalk and DreamTalk read the same.
* ``coeff_3dmm [N, 73]`` (expression 64, angles 3, translation 3, ``s, tx, ty``) of a square picture
  of 256 pixels, perhaps with ``full_3dmm [1, 257]`` of the first frame: SadTalker.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from dimitra.clips import ClipError, Reason
from dimitra.morphable.camera import DISTANCE
from dimitra.morphable.coefficients import COEFFICIENTS, EXPRESSION_SIZE, MOTION_SIZE, slices
from dimitra.morphable.mat_file import bad, read_arrays

SADTALKER_PX = 256
"""Side of the picture whose alignment a file of 73 columns holds."""
DESCRIPTOR = 73
TRANSFORM = 5
LARGEST_ANGLE = np.pi
LARGEST_DEVIATIONS = 50.0
"""Of identity, expression and texture, in standard deviations: seven times what StyleTalk's samples
reach (identity 2.6, expression 2.4, texture 6.7)."""
LARGEST_LIGHT = 10.0
"""A spherical-harmonic weight beside the fixed 0.8; StyleTalk's samples reach 0.32."""
LARGEST_TRANSLATION = DISTANCE
"""Decimetres: there the face is in the camera; StyleTalk's samples reach 0.49."""
LARGEST_SIDE_PX = 16_384
LARGEST_SCALE = 50.0
"""As in the landmark fit: a face that must be enlarged more is smaller than 5 pixels."""

_LIMITS = {
    "identity": (LARGEST_DEVIATIONS, "standard deviations"),
    "expression": (LARGEST_DEVIATIONS, "standard deviations"),
    "texture": (LARGEST_DEVIATIONS, "standard deviations"),
    "illumination": (LARGEST_LIGHT, "spherical-harmonic units"),
    "translation": (LARGEST_TRANSLATION, "decimetres"),
}
_CONSTANT = ("identity", "texture", "illumination")

Table = Float[NDArray[np.float64], "frames values"]


@dataclass(frozen=True, eq=False)
class Precomputed:
    """Coefficients of every frame of a video from some frame on.

    Attributes:
        expression: [N, 64].
        pose: [N, 6], angles in radians, translation in decimetres.
        crop: [N, 3], ``s, tx, ty`` in the picture of ``size``.
        size: width and height of that picture; None where the file has a square one of
            ``SADTALKER_PX`` and does not say so.
        constant: ``identity`` [80], ``texture`` [80] and ``illumination`` [27] of the clip, those
            that the file has.
    """

    expression: Float[NDArray[np.float64], "frames 64"]
    pose: Float[NDArray[np.float64], "frames 6"]
    crop: Float[NDArray[np.float64], "frames 3"]
    size: tuple[int, int] | None
    constant: dict[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.pose)


def read(path: Path) -> Precomputed:
    """Read a clip's file.

    Raises:
        ClipError: what ``mat_file.read_arrays`` raises, and BAD_COEFFICIENTS for another layout or
            values out of range.
    """
    names = ("coeff", "transform_params", "coeff_3dmm", "full_3dmm")
    arrays = read_arrays(path, names)
    if "coeff" in arrays:
        found = _of_257(arrays, path)
    elif "coeff_3dmm" in arrays:
        found = _of_73(arrays, path)
    else:
        raise bad(path, f"holds neither 'coeff' ([N, {COEFFICIENTS}]) nor 'coeff_3dmm' ([N, 73])")
    turned = np.abs(found.pose[:, :3]).max(axis=1)
    if (turned > LARGEST_ANGLE).any():
        raise bad(
            path,
            f"turns the head by {turned.max():.4g} in frame {int(turned.argmax())}; angles are "
            "radians, at most pi",
        )
    scale = found.crop[:, 0]
    wrong = (scale <= 0.0) | (scale > LARGEST_SCALE)
    if wrong.any():
        frame = int(wrong.argmax())
        raise bad(
            path,
            f"aligns frame {frame} by the scale {scale[frame]:.4g}; need more than 0 and at most "
            f"{LARGEST_SCALE:g}",
        )
    _check_values("expression", found.expression, path)
    _check_values("translation", found.pose[:, 3:], path)
    width, height = found.size or (SADTALKER_PX, SADTALKER_PX)
    for name, place, side in (("tx", found.crop[:, 1], width), ("ty", found.crop[:, 2], height)):
        outside = (place < -side) | (place > 2 * side)
        if outside.any():
            frame = int(outside.argmax())
            raise bad(
                path,
                f"has the face of frame {frame} at {name} {place[frame]:.4g}, in a picture of "
                f"{width}x{height} pixels; need {-side} to {2 * side}",
            )
    return found


def _check_values(part: str, values: Table, path: Path) -> None:
    """Refuse coefficients of ``[frames, values]`` that no face has."""
    limit, unit = _LIMITS[part]
    wrong = np.abs(values) > limit
    if wrong.any():
        frame, column = (int(place) for place in np.argwhere(wrong)[0])
        raise bad(
            path,
            f"has the {part} value {column} of frame {frame} at {values[frame, column]:.4g}; need "
            f"at most {limit:g} {unit} either way",
        )


def _of_257(arrays: dict[str, Table], path: Path) -> Precomputed:
    coefficients = _columns("coeff", arrays, COEFFICIENTS, path)
    if "transform_params" not in arrays:
        raise bad(
            path, "holds 'coeff' without 'transform_params': where the face lies cannot be told"
        )
    transform = _columns("transform_params", arrays, TRANSFORM, path)
    if len(transform) != len(coefficients):
        raise bad(
            path,
            f"holds {len(coefficients)} frames of 'coeff' and {len(transform)} of "
            "'transform_params'",
        )
    sizes = transform[:, :2]
    if (
        (sizes != sizes[0]).any()
        or (sizes[0] < 1).any()
        or (sizes[0] > LARGEST_SIDE_PX).any()
        or (sizes[0] % 1 != 0).any()
    ):
        raise bad(
            path,
            f"needs one picture size of 1 to {LARGEST_SIDE_PX} whole pixels in the first two "
            "columns of 'transform_params', and has "
            f"{sizes.min(axis=0).tolist()} to {sizes.max(axis=0).tolist()}",
        )
    parts = {name: coefficients[:, columns] for name, columns in slices().items()}
    for name in _CONSTANT:  # frame by frame, as a median hides them
        _check_values(name, parts[name], path)
    return Precomputed(
        parts["expression"],
        np.concatenate([parts["angles"], parts["translation"]], axis=1),
        transform[:, 2:],
        (int(sizes[0, 0]), int(sizes[0, 1])),
        {name: np.median(parts[name], axis=0) for name in _CONSTANT},
    )


def _of_73(arrays: dict[str, Table], path: Path) -> Precomputed:
    if arrays["coeff_3dmm"].shape[1] == MOTION_SIZE:
        raise bad(
            path,
            f"holds 'coeff_3dmm' of {MOTION_SIZE} columns: motion that SadTalker made up, without "
            f"an alignment; need the {DESCRIPTOR} columns that it measures in a video",
        )
    values = _columns("coeff_3dmm", arrays, DESCRIPTOR, path)
    constant = {}
    if "full_3dmm" in arrays:
        first = _columns("full_3dmm", arrays, COEFFICIENTS, path)[:1]
        columns = slices()
        for name in _CONSTANT:
            _check_values(name, first[:, columns[name]], path)
            constant[name] = first[0, columns[name]]
    return Precomputed(
        values[:, :EXPRESSION_SIZE],
        values[:, EXPRESSION_SIZE:MOTION_SIZE],
        values[:, MOTION_SIZE:],
        None,
        constant,
    )


def _columns(name: str, arrays: dict[str, Table], count: int, path: Path) -> Table:
    table = arrays[name]
    if table.shape[1] != count:
        raise bad(path, f"holds {name!r} with shape {list(table.shape)}, need [frames, {count}]")
    return table


def check_count(found: int, video: int, offset: int, path: Path, clip_id: str) -> None:
    """Refuse a file that does not belong to the video frame by frame.

    Args:
        found: frames in the file.
        video: frames of the clip's video at its own rate.
        offset: frames by which the video begins before its coefficients.
        path: of the file.
        clip_id: of the clip.

    Raises:
        ClipError: BAD_COEFFICIENTS.
    """
    if found + offset == video:
        return
    difference = video - found
    if difference >= 0:
        hint = (
            "or, where the video begins that many frames before its coefficients, set the offset "
            f"to {difference}"
        )
    else:
        hint = "or give the whole video that they were computed from; no offset makes up for that"
    raise ClipError(
        Reason.BAD_COEFFICIENTS,
        f"{clip_id}: {path} has {found} frames and the video {video}, a difference of "
        f"{difference}; fit.coefficients_offset is {offset}. Compute it again from this video; "
        f"{hint}",
    )


def picture_size(found: Precomputed, source: tuple[int, int], path: Path) -> tuple[int, int]:
    """Size of the picture that the coefficients were computed from.

    Args:
        found: of the file.
        source: width and height of the clip's video.
        path: of the file.

    Raises:
        ClipError: BAD_COEFFICIENTS, the picture is no copy of the video's.
    """
    size = found.size or (SADTALKER_PX, SADTALKER_PX)
    if abs(size[0] * source[1] - size[1] * source[0]) > max(source) + max(size):
        raise bad(
            path,
            f"was computed from pictures of {size[0]}x{size[1]} pixels, the video has "
            f"{source[0]}x{source[1]}: of another shape, so they were cut out of it, and where is "
            "not known. Give the cut videos as the dataset",
        )
    return size


@dataclass(frozen=True, eq=False)
class Resampled:
    """Coefficients at the frames of a crop.

    Attributes:
        expression: [T, 64].
        pose: [T, 6].
        crop: [T, 3], ``s, tx, ty`` in the same picture as before.
        measured: [T], False before the first coefficients: there they are held.
    """

    expression: Float[NDArray[np.float64], "frames 64"]
    pose: Float[NDArray[np.float64], "frames 6"]
    crop: Float[NDArray[np.float64], "frames 3"]
    measured: Bool[NDArray[np.bool_], " frames"]


def resample(
    found: Precomputed,
    shown_s: Float[NDArray[np.float64], "frames 2"],
    at_s: Float[NDArray[np.float64], " times"],
) -> Resampled:
    """Coefficients at given times.

    A frame's coefficients hold at the middle of the time it is shown. Between two frames values
    are interpolated linearly and the head turns at a constant rate about one axis (Shoemake 1985);
    outside, the first and the last are held.

    Args:
        found: coefficients, one row for each of the last frames of ``shown_s``.
        shown_s: when each frame of the video appears and is replaced, seconds.
        at_s: ascending times.

    Raises:
        ValueError: fewer frames than coefficients.
    """
    from scipy.spatial.transform import Rotation, Slerp

    if len(shown_s) < len(found):
        raise ValueError(f"{len(found)} coefficients for {len(shown_s)} frames")
    own = shown_s[len(shown_s) - len(found) :]
    middle = own.mean(axis=1)
    times = np.clip(at_s, middle[0], middle[-1])

    def linear(values: Table) -> Table:
        return np.stack([np.interp(times, middle, column) for column in values.T], axis=1)

    angles = found.pose[:, :3]
    if len(found) > 1:
        turned = Slerp(middle, Rotation.from_euler("xyz", angles))(times).as_euler("xyz")
        # A frame's own angles where the times agree, and the turn that lies nearest to them.
        near = linear(np.unwrap(angles, axis=0))
        angles = turned + 2 * np.pi * np.round((near - turned) / (2 * np.pi))
    else:
        angles = np.repeat(angles, len(times), axis=0)
    return Resampled(
        linear(found.expression),
        np.concatenate([angles, linear(found.pose[:, 3:])], axis=1),
        linear(found.crop),
        at_s >= own[0, 0],
    )
