"""The open head's coefficients: by the fit to landmarks, or by the head encoder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.clips import Clip, ClipError
from dimitra.faces.mesh import unpack
from dimitra.media.video import iterate_frames, to_rgb
from dimitra.morphable import open_head
from dimitra.morphable.fit import ClipFit, FitSettings, MeshLandmarks, checked, fit_clip
from dimitra.morphable.head_encoder import encode_clip
from dimitra.morphable.head_encoder_weights import load as load_encoder
from dimitra.shards import Members, npz_bytes
from pipelines.fitters.frames import Seen, see
from pipelines.fitters.verdict import judge, one_by_one

logger = logging.getLogger(__name__)


class OpenHeadFitter:
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
        return see(parts, decode=self._encoder is not None)

    def many(self, clips: Sequence[Clip], loaded: Sequence[Seen]) -> list[Members | ClipError]:
        """Part ``motion.npz`` of each clip."""
        return one_by_one(self.fit, clips, loaded)

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
            clip_seen = encode_clip(self._encoder, self._model, seen.frames())
            fit = checked(self._model, clip_seen, landmarks)
        residual = fit.residual_px.numpy()
        explained = judge(residual, self._max_residual_px, self._max_bad_frames, clip.clip_id)
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
