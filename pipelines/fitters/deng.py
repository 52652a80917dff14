"""The Basel model's coefficients by Deng's encoder, from the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dimitra.assets import asset_path
from dimitra.clips import Clip, ClipError, Reason
from dimitra.morphable import bfm, deng
from dimitra.morphable.alignment import ENCODER_SHIFT_PX
from dimitra.morphable.deng_clip import encode_clip
from dimitra.morphable.residual import distance_px, inner_landmarks
from dimitra.shards import Members, npz_bytes
from pipelines.fitters.frames import Seen, see
from pipelines.fitters.verdict import judge, one_by_one


class DengFitter:
    """Turns a clip's picture and landmarks into ``motion.npz``; a ``BatchWorker``.

    The network sees a clip's frames in blocks that are the clip's own, so its answers do not
    depend on the clips beside it, to the last bit.

    Args:
        params: ``face_model_weights``, ``encoder_weights``, ``device``, ``max_residual_px``,
            ``max_bad_frames``.

    Raises:
        MissingAssetError: the encoder's weights or the Basel model are not here.
        FaceModelFileError: the Basel model's file cannot be used.
        DengWeightsError: the checkpoint is not the encoder's.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        if params["device"] == "cuda":
            torch.backends.cudnn.allow_tf32 = False  # coefficients in single precision
            torch.backends.cudnn.deterministic = True
        self._model = bfm.read(asset_path(params["face_model_weights"]))
        self._encoder = deng.load(asset_path(params["encoder_weights"]), params["device"])
        self._max_residual_px: float = params["max_residual_px"]
        self._max_bad_frames: float = params["max_bad_frames"]

    def __call__(self, clip: Clip, parts: Members) -> Members:
        """Part ``motion.npz`` of a clip, from its ``track.npz`` and ``mp4``; see ``fit``."""
        return self.fit(clip, self.load(clip, parts))

    def load(self, clip: Clip, parts: Members) -> Seen:  # noqa: ARG002 - by BatchWorker
        """Decode a clip, unless it is long."""
        return see(parts, decode=True)

    def many(self, clips: Sequence[Clip], loaded: Sequence[Seen]) -> list[Members | ClipError]:
        """Part ``motion.npz`` of each clip."""
        return one_by_one(self.fit, clips, loaded)

    def fit(self, clip: Clip, seen: Seen) -> Members:
        """Part ``motion.npz`` of a clip.

        Raises:
            ClipError: FIT_RESIDUAL, too many frames are not explained by the face model, or the
                landmarks are none of a face.
        """
        landmarks = torch.from_numpy(seen.track["landmarks"])
        detected = torch.from_numpy(seen.track["detected"])
        try:
            found = encode_clip(self._encoder, seen.frames(), landmarks, detected)
        except deng.AlignmentError as error:
            raise ClipError(Reason.FIT_RESIDUAL, f"{clip.clip_id}: {error}") from None
        points = inner_landmarks(
            self._model,
            found.identity,
            found.expression,
            found.pose,
            found.crop,
            found.height - ENCODER_SHIFT_PX,
        )
        residual = distance_px(points, landmarks).numpy()
        arrays = {
            "identity": found.identity,
            "texture": found.texture,
            "illumination": found.illumination,
            "expression": found.expression,
            "pose": found.pose,
            "crop": found.crop,
        }
        return {
            "motion.npz": npz_bytes(
                {name: value.numpy() for name, value in arrays.items()}
                | {
                    "residual_px": residual,
                    "explained": judge(
                        residual, self._max_residual_px, self._max_bad_frames, clip.clip_id
                    ),
                }
            )
        }
