"""Face-model coefficients of every crop: `python -m pipelines.fit`.

By the fit to landmarks, or by the head encoder from the picture (`fit.method`).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.clips import Clip, ClipError, Reason
from dimitra.faces.mesh import unpack
from dimitra.media.video import iterate_frames, to_rgb
from dimitra.morphable import open_head
from dimitra.morphable.fit import ClipFit, FitSettings, MeshLandmarks, checked, fit_clip
from dimitra.morphable.head_encoder import encode_clip
from dimitra.morphable.head_encoder_weights import load as load_encoder
from dimitra.shards import Members, npz_bytes, read_npz
from pipelines.jobs import Job, Resources, read_manifest, run, units_of
from pipelines.mainguard import guarded
from pipelines.params import load

logger = logging.getLogger(__name__)


BLOCK = 250
"""Frames that the encoder is shown at once: bounds the memory of long clips."""
AHEAD = 1500
"""Frames of a clip that may be decoded ahead: 300 MB at 256x256."""


@dataclass(frozen=True)
class Seen:
    """A clip read ahead.

    Attributes:
        track: what the crop stage measured.
        parts: what the crop stage wrote.
        blocks: its frames, ``[T, H, W, 3]`` RGB each; None where they are decoded one by one.
    """

    track: Mapping[str, NDArray[Any]]
    parts: Members
    blocks: list[torch.Tensor] | None


class Fitter:
    """Turns a clip's landmarks and picture into ``motion.npz``; a ``BatchWorker``.

    Args:
        params: ``method``, ``device``, ``landmarks``, ``iterations``, ``smoothness``, ``prior``,
            ``photometric``, ``max_residual_px``, ``max_bad_frames``.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._model = open_head.load()
        self._settings = FitSettings(
            iterations=params["iterations"],
            smoothness=params["smoothness"],
            prior=params["prior"],
        )
        by_picture = params["method"] == "encoder"
        self._encoder = load_encoder(device=params["device"]) if by_picture else None
        self._dense = params["landmarks"] == "mediapipe"
        self._photometric: bool = params["photometric"]
        self._max_residual_px: float = params["max_residual_px"]
        self._max_bad_frames: float = params["max_bad_frames"]

    def __call__(self, clip: Clip, parts: Members) -> Members:
        """Part ``motion.npz`` of a clip, from its ``track.npz`` and ``mp4``.

        Raises:
            ClipError: FIT_RESIDUAL, too many frames are not explained by the face model.
        """
        return self.fit(clip, self.load(clip, parts))

    def load(self, clip: Clip, parts: Members) -> Seen:  # noqa: ARG002 - by BatchWorker
        """Decode a clip of at most ``AHEAD`` frames; a longer one is decoded as it is needed."""
        track = read_npz(parts["track.npz"])
        short = self._encoder is not None and len(track["landmarks"]) <= AHEAD
        return Seen(track, parts, list(_blocks(parts["mp4"])) if short else None)

    def many(self, clips: Sequence[Clip], loaded: Sequence[Seen]) -> list[Members | ClipError]:
        """Part ``motion.npz`` of each clip, one after the other: none depends on another."""
        results: list[Members | ClipError] = []
        for clip, seen in zip(clips, loaded, strict=True):
            try:
                results.append(self.fit(clip, seen))
            except ClipError as error:
                results.append(error)
        return results

    def fit(self, clip: Clip, seen: Seen) -> Members:
        """Part ``motion.npz`` of a clip.

        Raises:
            ClipError: FIT_RESIDUAL, too many frames are not explained by the face model.
        """
        track = seen.track
        if self._encoder is None:
            fit = self._fit(track, clip.clip_id)
        else:
            landmarks = torch.from_numpy(track["landmarks"])
            frames = _blocks(seen.parts["mp4"]) if seen.blocks is None else seen.blocks
            clip_seen = encode_clip(self._encoder, self._model, frames)
            fit = checked(self._model, clip_seen, landmarks)
        residual = fit.residual_px.numpy()
        explained = residual <= self._max_residual_px
        bad = 1.0 - float(explained.mean())
        if bad > self._max_bad_frames:
            raise ClipError(
                Reason.FIT_RESIDUAL,
                f"{clip.clip_id}: in {bad:.0%} of the frames the landmarks lie more than "
                f"fit.max_residual_px = {self._max_residual_px} px from the fitted face (median "
                f"{np.median(residual):.1f} px), fit.max_bad_frames is {self._max_bad_frames:.0%}",
            )
        arrays = {
            "identity": fit.identity,
            "expression": fit.expression,
            "pose": fit.pose,
            "crop": fit.crop.expand(len(residual), 3),
            "residual_px": fit.residual_px,
            "explained": torch.from_numpy(explained),
        }
        if self._photometric:
            arrays |= self._colours(clip, seen.parts["mp4"], fit)
        return {"motion.npz": npz_bytes({name: value.numpy() for name, value in arrays.items()})}

    def _fit(self, track: Mapping[str, NDArray[Any]], clip_id: str) -> ClipFit:
        return fit_clip(
            self._model,
            torch.from_numpy(track["landmarks"]),
            torch.from_numpy(track["detected"]),
            self._settings,
            mesh_landmarks(track, clip_id) if self._dense else None,
        )

    def _colours(self, clip: Clip, mp4: bytes, fit: ClipFit) -> dict[str, torch.Tensor]:
        """Texture and illumination of a clip; nothing where they cannot be estimated."""
        from dimitra.morphable.photometric import choose_frames, fit_photometry

        chosen = choose_frames(fit.residual_px)
        wanted = set(chosen.tolist())
        pictures = enumerate(islice(iterate_frames(mp4), max(wanted) + 1))
        frames = np.stack([to_rgb(frame) for index, frame in pictures if index in wanted])
        try:
            colours = fit_photometry(
                self._model,
                frames,
                fit.identity,
                fit.expression[chosen],
                fit.pose[chosen],
                fit.crop,
            )
        except ValueError as error:
            logger.warning("%s: no texture, no illumination: %s", clip.clip_id, error)
            return {}
        return {"texture": colours.texture, "illumination": colours.illumination}


def _blocks(mp4: bytes) -> Iterator[torch.Tensor]:
    frames = iterate_frames(mp4)
    while block := [to_rgb(frame) for frame in islice(frames, BLOCK)]:
        yield torch.from_numpy(np.stack(block))


def mesh_landmarks(track: Mapping[str, NDArray[Any]], clip_id: str) -> MeshLandmarks:
    """The mesh of a track, for the fit.

    Raises:
        ValueError: the track has none.
    """
    mesh = unpack(track)
    if mesh is None:
        raise ValueError(
            f"{clip_id}: fit.landmarks is mediapipe, but its track has no mesh; set "
            "crop.mesh: mediapipe, or fit.landmarks: dlib"
        )
    return MeshLandmarks(
        *(torch.from_numpy(values) for values in (mesh.points, mesh.scores, mesh.found))
    )


def make_worker(params: dict[str, Any]) -> Fitter:
    """Load the face model once for a worker process."""
    torch.set_num_threads(1)
    return Fitter(params)


def main() -> None:
    """Run the stage."""
    params = load()
    for_colours = ("numba",) if params.fit.photometric else ()
    pictures = params.fit.photometric or params.fit.method == "encoder"
    run(
        Job(
            stage="fit",
            worker="pipelines.fit:make_worker",
            params=params.fit.model_dump(exclude={"deadline_s"}),
            units=units_of(read_manifest(), [Path("data/crops")]),
            output=Path("data/motion"),
            budget=params.budgets.fit,
            deadline_s=params.fit.deadline_s,
            seed=params.seed,
            assets=("anny_head",),
            resources=Resources(gpus=1.0 if params.fit.device == "cuda" else 0.0),
            packages=(
                *(("av",) if pictures else ()),
                *for_colours,
                "numpy",
                "pillow",
                "scipy",
                "torch",
            ),
        ),
        params.ray,
        params.storage,
    )


if __name__ == "__main__":
    sys.exit(guarded(main))
