"""How far a face model's coefficients lie from landmarks that they were not made of."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.linalg import vector_norm

from dimitra.morphable.camera import aligned_to_crop, project, to_camera
from dimitra.morphable.contour import JAW
from dimitra.morphable.model import FaceModel


def inner_landmarks(
    model: FaceModel,
    identity: Float[Tensor, "80"],
    expression: Float[Tensor, "frames 64"],
    pose: Float[Tensor, "frames 6"],
    crop: Float[Tensor, "frames 3"],
    height: float = 256,
) -> Float[Tensor, "frames 51 2"]:
    """Where the landmarks inside the face lie in a picture, pixels, y down.

    Args:
        model: a face model with 68 landmarks.
        identity: of the clip.
        expression: of every frame.
        pose: of every frame.
        crop: ``s, tx, ty`` of every frame.
        height: rows of the picture; one less for coefficients of Deng's encoder (see
            ``alignment.ENCODER_SHIFT_PX``).
    """
    inner = model.subset(model.landmarks_68[JAW:])
    points = to_camera(inner.vertices(identity, expression), pose)
    return aligned_to_crop(project(points), crop, height)


def distance_px(
    points: Float[Tensor, "frames 51 2"], landmarks: Float[Tensor, "frames 68 2"]
) -> Float[Tensor, " frames"]:
    """Mean distance of a frame's points inside the face from the measured ones.

    Raises:
        ValueError: another number of frames.
    """
    if landmarks.shape != (len(points), 68, 2):
        raise ValueError(f"landmarks are {list(landmarks.shape)} beside {len(points)} frames")
    distance: Tensor = vector_norm(points - landmarks[:, JAW:].to(points), dim=-1)
    return distance.mean(dim=1)
