"""The face model fitted to one photo: who it is, and the pose and expression it shows.

The open head is fitted to landmarks whatever ``fit.method`` says: the head encoder has seen drawn
heads alone, and is lost on photos (docs/decisions/0016-animate.md has the numbers).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.animation.errors import AnimationError
from dimitra.animation.face import Face, cut
from dimitra.animation.notices import Notify
from dimitra.animation.settings import FitSettings, Settings
from dimitra.assets import AssetError, asset_path
from dimitra.faces.crop import rescale
from dimitra.faces.mediapipe import MediaPipeError, MediaPipeLandmarker
from dimitra.morphable import deng, deng_clip, open_head
from dimitra.morphable.coefficients import ANGLES
from dimitra.morphable.fit import FitSettings as LandmarkFitSettings
from dimitra.morphable.fit import MeshLandmarks, fit_clip

MEDIAPIPE = "mediapipe_landmarker"
MESH_SCALE = 2
"""MediaPipe's mesh is measured on the crop at twice its size, as in the stage ``crop``."""
TURNED_DEG, PROFILE_DEG = 25.0, 45.0
"""Yaw from which the far cheek is guesswork, and from which there is none."""


@dataclass(frozen=True, eq=False)
class Likeness:
    """Coefficients of a photo.

    Attributes:
        identity: [80].
        motion: [70], expression and pose that the photo shows: the first frame of any motion.
        crop: [3], Deng's alignment in the pixels of ``Face.picture``.
    """

    identity: NDArray[np.float32]
    motion: NDArray[np.float32]
    crop: NDArray[np.float32]

    def at(self, ratio: float) -> NDArray[np.float32]:
        """The alignment in a picture that is ``ratio`` times as large."""
        return self.crop * np.array([1.0 / ratio, ratio, ratio], np.float32)


def read_likeness(
    face: Face, photo: NDArray[np.uint8], settings: Settings, name: str, notify: Notify
) -> Likeness:
    """Fit the face model to a face.

    Args:
        face: of the photo.
        photo: [H, W, 3] RGB.
        settings: which face model, and the effort.
        name: of the photo, for messages.
        notify: is told what the fit had to do without.

    Raises:
        AnimationError: the face model does not explain the face, or it is seen from the side.
        AssetError: weights are missing.
    """
    fit = settings.fit
    likeness = (
        _open_head(face, photo, fit, name, notify)
        if fit.face_model == "open_head"
        else _basel(face, fit)
    )
    check_view(float(np.degrees(likeness.motion[ANGLES][1])), name, notify)
    return likeness


def check_view(yaw_deg: float, name: str, notify: Notify) -> None:
    """Refuse a profile, and warn of a head that is turned far.

    Raises:
        AnimationError: it is turned by more than ``PROFILE_DEG``.
    """
    turned = abs(yaw_deg)
    if turned > PROFILE_DEG:
        raise AnimationError(
            f"{name} shows the face in profile (turned by {turned:.0f} degrees, the limit is "
            f"{PROFILE_DEG:.0f}); use a photo in which the person looks at the camera"
        )
    if turned > TURNED_DEG:
        notify(
            f"the head in {name} is turned by {turned:.0f} degrees: the cheek that it hides is "
            "taken from the other one; a frontal photo gives a better video"
        )


def _open_head(
    face: Face, photo: NDArray[np.uint8], fit: FitSettings, name: str, notify: Notify
) -> Likeness:
    found = fit_clip(
        open_head.load(),
        torch.from_numpy(face.landmarks[None]),
        None,
        LandmarkFitSettings(iterations=fit.iterations, smoothness=fit.smoothness, prior=fit.prior),
        _mesh(face, photo, notify),
    )
    residual = float(found.residual_px[0])
    if residual > fit.max_residual_px:
        raise AnimationError(
            f"the face in {name} cannot be read: its landmarks lie {residual:.1f} pixels from the "
            f"fitted face, fit.max_residual_px is {fit.max_residual_px}; use a photo without "
            "anything before the face"
        )
    return Likeness(
        found.identity.numpy(),
        torch.cat([found.expression[0], found.pose[0]]).numpy(),
        found.crop.numpy(),
    )


def _mesh(face: Face, photo: NDArray[np.uint8], notify: Notify) -> MeshLandmarks | None:
    """MediaPipe's landmarks of the face; None where it does not run here or sees no face."""
    size = len(face.picture)
    try:
        answer = MediaPipeLandmarker(asset_path(MEDIAPIPE)).measure(
            cut(photo, face.box, size * MESH_SCALE)
        )
    except (AssetError, MediaPipeError) as error:
        notify(
            f"the face is fitted to 68 landmarks in place of MediaPipe's 478, which are better: "
            f"{error}"
        )
        return None
    if answer is None:
        notify("MediaPipe sees no face: the face is fitted to dlib's 68 landmarks")
        return None
    points, scores = answer
    large = size * MESH_SCALE
    small = rescale(points, (large, large), (size, size))
    return MeshLandmarks(
        torch.from_numpy(small[None]),
        torch.from_numpy(scores[None].copy()),
        torch.ones(1, dtype=torch.bool),
    )


def _basel(face: Face, fit: FitSettings) -> Likeness:
    """By Deng's encoder, also where the models learnt from coefficients that others computed."""
    if fit.encoder_weights is None:
        raise AnimationError(
            f"fit.method is {fit.method!r}: a photo has no coefficients yet, so Deng's encoder is "
            "needed; set fit.encoder_weights: deng_epoch_20 (docs/morphable.md)"
        )
    encoder = deng.load(asset_path(fit.encoder_weights), fit.device)
    found = deng_clip.encode_clip(
        encoder,
        [torch.from_numpy(face.picture[None])],
        torch.from_numpy(face.landmarks[None]),
        torch.ones(1, dtype=torch.bool),
    )
    return Likeness(
        found.identity.numpy(),
        torch.cat([found.expression[0], found.pose[0]]).numpy(),
        found.crop[0].numpy(),
    )
