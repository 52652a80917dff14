"""The Basel model's coefficients from files that others have computed, one ``.mat`` a clip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.assets import asset_path
from dimitra.clips import Clip, ClipError, Reason
from dimitra.datasets.original import check_unchanged, sha256_of
from dimitra.faces.crop import rescale, to_crop
from dimitra.media.container import MediaLimits
from dimitra.media.frame_times import frame_times
from dimitra.morphable import bfm
from dimitra.morphable.alignment import ENCODER_SHIFT_PX, align, displacement_px, in_crop
from dimitra.morphable.deng import STANDARD_POINTS
from dimitra.morphable.precomputed import (
    Precomputed,
    Resampled,
    check_count,
    picture_size,
    read,
    resample,
)
from dimitra.morphable.residual import distance_px, inner_landmarks
from dimitra.shards import Members, npz_bytes, read_npz
from pipelines.fitters.verdict import judge
from pipelines.runtime.units import Unit
from pipelines.stores.work_cache import digest_of

_HASHERS = 8
"""Files hashed at a time: enough to keep a disk busy."""


def places(folder: Path, clip: Clip) -> Iterator[Path]:
    """Where a clip's file may lie: at its video's path, or under its id.

    A video of which several clips are cut has one path, so there only the id counts.
    """
    if clip.start_s == 0.0 and clip.end_s is None:
        yield folder / clip.dataset / PurePosixPath(clip.path).with_suffix(".mat")
    yield folder / f"{clip.clip_id}.mat"


def file_of(folder: Path, clip: Clip) -> Path | None:
    """A clip's file; None where there is none.

    Raises:
        ClipError: BAD_COEFFICIENTS, there are two.
    """
    found = [path for path in places(folder, clip) if path.exists()]
    if len(found) > 1:
        raise ClipError(
            Reason.BAD_COEFFICIENTS,
            f"{clip.clip_id} has two files of coefficients, {found[0]} and {found[1]}; remove one",
        )
    return found[0] if found else None


def with_files(units: Sequence[Unit], folder: Path) -> tuple[Unit, ...]:
    """Units with their clips' files, whose bytes enter the unit's key and no other's."""
    with ThreadPoolExecutor(_HASHERS) as threads:
        clips = [clip for unit in units for clip in unit.clips]
        digests = dict(zip(clips, threads.map(lambda c: _digest(folder, c), clips), strict=True))
    result = []
    for unit in units:
        known = [(clip, *digests[clip]) for clip in unit.clips]
        result.append(
            replace(
                unit,
                digest=digest_of([[clip.clip_id, sha256] for clip, _, sha256 in known]),
                inputs=tuple(path for _, paths, _ in known for path in paths),
            )
        )
    return tuple(result)


def _digest(folder: Path, clip: Clip) -> tuple[tuple[Path, ...], str]:
    """A clip's files, and the sha256 of the one that is right or why there is none."""
    try:
        path = file_of(folder, clip)
        return ((), "") if path is None else ((path,), sha256_of([path]))
    except ClipError as error:
        paths = tuple(path for path in places(folder, clip) if path.is_file())
        return paths, str(error.reason)


class PrecomputedFitter:
    """Turns a clip's file of coefficients into ``motion.npz``; a ``Worker``.

    Args:
        params: ``coefficients``, ``coefficients_offset``, ``face_model_weights``,
            ``max_residual_px``, ``max_bad_frames``, ``limits``, ``roots`` (dataset to folder),
            ``fps`` and ``size`` of the crops.

    Raises:
        MissingAssetError: the Basel model is asked for and not here.
        FaceModelFileError: its file cannot be used.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        weights = params["face_model_weights"]
        self._model = None if weights is None else bfm.read(asset_path(weights))
        self._folder = Path(params["coefficients"])
        self._offset: int = params["coefficients_offset"]
        self._roots = {name: Path(path) for name, path in params["roots"].items()}
        self._limits = MediaLimits(**params["limits"])
        self._fps: int = params["fps"]
        self._size: int = params["size"]
        self._max_residual_px: float = params["max_residual_px"]
        self._max_bad_frames: float = params["max_bad_frames"]

    def __call__(self, clip: Clip, parts: Members) -> Members:
        """Part ``motion.npz`` of a clip, from its ``track.npz``, its video's clock and its file.

        Raises:
            ClipError: MISSING_FILE, BAD_COEFFICIENTS, FIT_RESIDUAL, or what the video's decoder
                raises.
        """
        path = file_of(self._folder, clip)
        if path is None:
            looked = " nor ".join(str(place) for place in places(self._folder, clip))
            raise ClipError(
                Reason.MISSING_FILE, f"{clip.clip_id}: there is neither {looked}; compute it, or "
                "set fit.method: deng"
            )  # fmt: skip
        found = read(path)
        source = (clip.width, clip.height)
        size = picture_size(found, source, path)
        root = self._roots[clip.dataset]
        check_unchanged(root, clip)
        shown_s = frame_times(root / clip.path, clip.start_s, clip.end_s, self._limits)
        check_count(len(found), len(shown_s), self._offset, path, clip.clip_id)
        track = read_npz(parts["track.npz"])
        frames = len(track["landmarks"])
        at_s = clip.start_s + (np.arange(frames) + 0.5) / self._fps
        values = resample(found, shown_s, at_s)
        crop = in_crop(
            torch.from_numpy(values.crop),
            size,
            source,
            torch.from_numpy(track["transform"]),
            self._size,
        )
        arrays: dict[str, NDArray[Any]] = {
            **found.constant,
            "expression": values.expression,
            "pose": values.pose,
            "crop": crop.numpy(),
        }
        arrays |= self._checked(found, values, crop, size, source, track, clip.clip_id)
        floats = {
            name: value if value.dtype == np.bool_ else value.astype(np.float32)
            for name, value in arrays.items()
        }
        return {"motion.npz": npz_bytes(floats)}

    def _checked(
        self,
        found: Precomputed,
        values: Resampled,
        crop: torch.Tensor,
        size: tuple[int, int],
        source: tuple[int, int],
        track: Mapping[str, NDArray[Any]],
        clip_id: str,
    ) -> dict[str, NDArray[Any]]:
        """Distances from the crop's landmarks, and the frames in which they are small enough.

        Raises:
            ClipError: FIT_RESIDUAL, in too many frames they are not.
        """
        landmarks = torch.from_numpy(track["landmarks"]).double()
        standard = torch.tensor(STANDARD_POINTS, dtype=torch.float64)
        apart = displacement_px(crop, align(landmarks, standard, self._size)).numpy()
        explained = judge(
            apart,
            self._max_residual_px,
            self._max_bad_frames,
            clip_id,
            "the file aligns the face more than {limit} from where the crop's landmarks do",
        )
        result: dict[str, NDArray[Any]] = {"alignment_px": apart}
        identity = found.constant.get("identity")
        if self._model is not None and identity is not None:
            points = inner_landmarks(
                self._model,
                torch.from_numpy(identity).float(),
                torch.from_numpy(values.expression).float(),
                torch.from_numpy(values.pose).float(),
                torch.from_numpy(values.crop).float(),
                size[1] - ENCODER_SHIFT_PX,
            )
            here = to_crop(rescale(points.numpy(), size, source), track["transform"])
            residual = distance_px(torch.from_numpy(here), landmarks).numpy()
            result["residual_px"] = residual
            explained &= judge(residual, self._max_residual_px, self._max_bad_frames, clip_id)
        return result | {"explained": explained & values.measured}
