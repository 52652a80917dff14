"""Skin colour and light of a fitted clip, from the pixels of a few frames.

The face model's colour of a pixel is bilinear: albedo (80 texture coefficients) times light (nine
spherical harmonics a channel; Ramamoorthi and Hanrahan, 2001). Geometry and pose are held, so the
107 unknowns follow from Gauss-Newton steps on the colours of visible skin, with the model's priors
and weights that fall with the residual (Geman and McClure, 1985): hair, glasses and highlights are
no skin. How much of the brightness is skin and how much is light cannot be seen; a model that is
short of contrast would even answer with dark skin in bright light. So that split is left to the
priors: each takes a part in proportion to its variance. Deng et al. (2019) estimate the same values
with a network trained on the same image model.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from torch import Tensor

from dimitra.morphable.camera import DISTANCE, aligned_to_crop, project, to_camera
from dimitra.morphable.model import AMBIENT, FaceModel, spherical_harmonics, vertex_normals
from dimitra.render.rasterizer import Raster, rasterize

TEXTURE = 80
LIGHT = 27
COLOURED_PARTS = ("skin", "lips", "eyelids", "brows", "features")
"""Parts whose colour is measured, where the model has them: hair hides scalp, ears and neck."""
BORDER_PX = 2
"""Pixels dropped along the border of what is measured: the fit is not exact to the pixel."""
GRAZING = 0.3
"""Skin turned farther from the camera than this cosine is dropped."""
CLIPPED = 250 / 255
"""A channel from here on is saturated: the pixel is dropped."""
LEAST_PIXELS = 200
SPLIT = 0.05
"""Freedom left to the split of brightness between skin and light, standard deviations."""
STEP_TOLERANCE = 1e-3
"""A step that changes no unknown by more ends the iterations."""


@dataclass(frozen=True)
class PhotometricSettings:
    """What the estimate depends on besides the pixels.

    Attributes:
        iterations: most Gauss-Newton steps.
        noise: standard deviation of a pixel's colour about the model's, sRGB in [0, 1].
        robust: distance of colours at which a pixel keeps a quarter of its weight.
        evidence: how many independent pixels all pixels together are worth: shadows, gloss and
            misplaced features cover many neighbours.
        prior: weight of the priors.
        ambient_std: standard deviation of the constant harmonic.
        directional_std: of the other eight.
        tint_std: of a channel's harmonics about the three channels' common ones. Light is nearly
            white, so that skin keeps its hue.
        pixels: most pixels used of a frame.
    """

    iterations: int = 30
    noise: float = 0.04
    robust: float = 0.15
    evidence: float = 500.0
    prior: float = 1.0
    ambient_std: float = 0.25
    directional_std: float = 0.15
    tint_std: float = 0.03
    pixels: int = 1500


@dataclass(frozen=True)
class Photometry:
    """Estimated colours of a clip.

    Attributes:
        texture: [80], standard deviations.
        illumination: [27], three channels of nine harmonic weights.
        residual: [F], mean absolute difference of the colours used in every frame, sRGB in
            [0, 1], weighted as in the fit.
        pixels: [F], how many pixels of every frame were used.
    """

    texture: Float[Tensor, "80"]
    illumination: Float[Tensor, "27"]
    residual: Float[Tensor, " frames"]
    pixels: Int[Tensor, " frames"]


@dataclass(frozen=True)
class _Pixels:
    """Measured colours and the linear pieces that explain them."""

    colour: Float[Tensor, "pixels 3"]
    mean: Float[Tensor, "pixels 3"]
    basis: Float[Tensor, "pixels 3 80"]
    harmonics: Float[Tensor, "pixels 9"]
    frame: Int[Tensor, " pixels"]


def fit_photometry(
    model: FaceModel,
    frames: NDArray[np.uint8],
    identity: Float[Tensor, "80"],
    expression: Float[Tensor, "frames 64"],
    pose: Float[Tensor, "frames 6"],
    crop: Float[Tensor, "*frames 3"],
    settings: PhotometricSettings | None = None,
) -> Photometry:
    """Estimate one texture and one light for a clip.

    Args:
        model: a face model with colours.
        frames: [F, H, W, 3] sRGB, a few frames of the clip; four or so are enough.
        identity: of the person.
        expression: of those frames.
        pose: of those frames.
        crop: ``s, tx, ty`` of Deng's alignment, one for all frames or one a frame.
        settings: noise model and effort.

    Raises:
        ValueError: shapes do not fit, or too little skin is visible.
    """
    settings = settings or PhotometricSettings()
    count = len(frames)
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or count == 0:
        raise ValueError(f"frames are {frames.dtype} {frames.shape}, need uint8 [F > 0, H, W, 3]")
    if len(expression) != count or len(pose) != count:
        raise ValueError(
            f"{count} frames, but {len(expression)} expressions and {len(pose)} poses: give those "
            "of the same frames"
        )
    pixels = _measure(model, frames, identity, expression, pose, crop.expand(count, 3), settings)
    used = torch.bincount(pixels.frame, minlength=count)
    if int(used.sum()) < LEAST_PIXELS:
        raise ValueError(
            f"{int(used.sum())} pixels of skin are visible in {count} frames, need {LEAST_PIXELS}; "
            "does the fitted face lie in the picture?"
        )
    texture, light = _solve(pixels, settings)
    difference = pixels.colour - _colours(pixels, texture, light)
    weight = _weights(difference, settings)
    size = weight * difference.abs().mean(1)
    total = torch.zeros(count, dtype=size.dtype).index_add(0, pixels.frame, size)
    weights = torch.zeros(count, dtype=size.dtype).index_add(0, pixels.frame, weight)
    return Photometry(
        texture=texture.float(),
        illumination=light.float(),
        residual=torch.where(weights > 0, total / weights.clamp_min(1e-12), torch.nan).float(),
        pixels=used,
    )


def choose_frames(residual_px: Float[Tensor, " frames"], count: int = 4) -> Int[Tensor, " kept"]:
    """The best-fitted frame of each of ``count`` equal pieces of a clip, in order."""
    bounds = [round(float(b)) for b in np.linspace(0, len(residual_px), count + 1)]
    best = [
        low + int(residual_px[low:high].argmin()) for low, high in pairwise(bounds) if high > low
    ]
    return torch.tensor(best)


def _measure(
    model: FaceModel,
    frames: NDArray[np.uint8],
    identity: Float[Tensor, "80"],
    expression: Float[Tensor, "frames 64"],
    pose: Float[Tensor, "frames 6"],
    crop: Float[Tensor, "frames 3"],
    settings: PhotometricSettings,
) -> _Pixels:
    """Visible skin of all frames, thinned evenly to at most ``settings.pixels`` a frame."""
    height, width = frames.shape[1:3]
    names = [name for name in COLOURED_PARTS if name in model.part_names]
    coloured = model.part(*names)[model.triangles].all(dim=1).numpy()
    posed = to_camera(model.vertices(identity, expression), pose)
    normals = vertex_normals(posed, model.triangles)
    view = torch.tensor([0.0, 0.0, DISTANCE]) - posed
    facing = (normals * torch.nn.functional.normalize(view, dim=-1)).sum(-1, keepdim=True)
    places = aligned_to_crop(project(posed), crop, height)
    screen = torch.cat((places, DISTANCE - posed[..., 2:]), dim=-1).numpy()
    triangles = model.triangles.numpy()
    pieces = []
    for index, picture in enumerate(frames):
        raster = rasterize(screen[index], triangles, height, width, cull=-1)
        seen = raster.covered & coloured[raster.face]
        seen = binary_erosion(seen, np.ones((3, 3), bool), iterations=BORDER_PX)
        seen &= picture.max(axis=2) < CLIPPED * 255
        place = np.flatnonzero(seen)
        corners, share = _corners(model, raster, place)
        frontal = ((facing[index][corners][..., 0] * share).sum(1) > GRAZING).numpy()
        place = place[frontal]
        place = place[:: max(1, -(-len(place) // settings.pixels))]
        corners, share = _corners(model, raster, place)
        basis = model.texture_basis[:, corners]  # [80, P, 3 corners, 3 channels]
        pieces.append(
            _Pixels(
                colour=torch.from_numpy(picture.reshape(-1, 3)[place].astype(np.float64) / 255),
                mean=torch.einsum("pkc,pk->pc", model.mean_colour[corners], share).double(),
                basis=torch.einsum("tpkc,pk->pct", basis, share).double(),
                harmonics=torch.einsum(
                    "pkh,pk->ph", spherical_harmonics(normals[index])[corners], share
                ).double(),
                frame=torch.full((len(place),), index),
            )
        )
    return _Pixels(
        colour=torch.cat([piece.colour for piece in pieces]),
        mean=torch.cat([piece.mean for piece in pieces]),
        basis=torch.cat([piece.basis for piece in pieces]),
        harmonics=torch.cat([piece.harmonics for piece in pieces]),
        frame=torch.cat([piece.frame for piece in pieces]),
    )


def _corners(
    model: FaceModel, raster: Raster, place: NDArray[np.int64]
) -> tuple[Int[Tensor, "pixels 3"], Float[Tensor, "pixels 3"]]:
    """The three vertices that each pixel lies between, and their shares."""
    face = torch.from_numpy(raster.face.ravel()[place].astype(np.int64))
    return model.triangles[face], torch.from_numpy(raster.barycentric.reshape(-1, 3)[place])


def _light(pixels: _Pixels, light: Float[Tensor, "27"]) -> Float[Tensor, "pixels 3"]:
    """Light that every pixel receives, by channel."""
    ambient = torch.zeros(9, dtype=light.dtype)
    ambient[0] = AMBIENT
    return pixels.harmonics @ (light.reshape(3, 9) + ambient).T


def _albedo(pixels: _Pixels, texture: Float[Tensor, "80"]) -> Float[Tensor, "pixels 3"]:
    return pixels.mean + pixels.basis @ texture


def _colours(
    pixels: _Pixels, texture: Float[Tensor, "80"], light: Float[Tensor, "27"]
) -> Float[Tensor, "pixels 3"]:
    return _albedo(pixels, texture) * _light(pixels, light)


def _weights(
    difference: Float[Tensor, "pixels 3"], settings: PhotometricSettings
) -> Float[Tensor, " pixels"]:
    """Robust weight of every pixel's squared residual, 0 to 1."""
    return (1.0 + difference.square().sum(1) / settings.robust**2) ** -2


def _prior(pixels: _Pixels, settings: PhotometricSettings) -> Float[Tensor, "107 107"]:
    """Inverse covariance of the unknowns: texture, then light channel by channel."""
    common = torch.full((9,), settings.directional_std**2, dtype=torch.float64)
    common[0] = settings.ambient_std**2
    shared = torch.kron(torch.ones(3, 3, dtype=torch.float64), torch.diag(common))
    light = shared + settings.tint_std**2 * torch.eye(LIGHT, dtype=torch.float64)
    precision = torch.eye(TEXTURE + LIGHT, dtype=torch.float64)
    precision[TEXTURE:, TEXTURE:] = torch.linalg.inv(light)
    # Relative changes of mean albedo and mean light, each over its variance, are to be equal.
    skin = pixels.basis.mean((0, 1)) / pixels.mean.mean()
    ambient = torch.zeros(3, 9, dtype=torch.float64)
    ambient[:, 0] = 1.0 / (3.0 * AMBIENT)
    skin_variance = skin.square().sum()
    ambient_variance = (settings.ambient_std / AMBIENT) ** 2
    split = torch.cat((skin / skin_variance, -ambient.flatten() / ambient_variance))
    size = 1.0 / skin_variance + 1.0 / ambient_variance
    precision += torch.outer(split, split) / (size * SPLIT**2)
    return settings.prior * precision


def _solve(
    pixels: _Pixels, settings: PhotometricSettings
) -> tuple[Float[Tensor, "80"], Float[Tensor, "27"]]:
    """Texture and light of the measured colours."""
    prior = _prior(pixels, settings)
    state = torch.zeros(TEXTURE + LIGHT, dtype=torch.float64)
    worth = min(1.0, settings.evidence / len(pixels.colour)) / settings.noise**2
    for step_number in range(settings.iterations):
        texture, light = state[:TEXTURE], state[TEXTURE:]
        difference = pixels.colour - _colours(pixels, texture, light)
        # In the first step every pixel counts: a dark or bright picture is no outlier.
        first = step_number == 0
        weight = worth * (1.0 if first else _weights(difference, settings))
        weight = torch.as_tensor(weight, dtype=torch.float64).expand(len(difference))
        jacobian = _jacobian(pixels, texture, light)
        weighted = (jacobian * weight[:, None, None]).flatten(0, 1)
        hessian = weighted.T @ jacobian.flatten(0, 1) + prior
        gradient = weighted.T @ difference.flatten() - prior @ state
        step = torch.linalg.solve(hessian, gradient)
        state = state + step
        if float(step.abs().max()) < STEP_TOLERANCE:
            break
    return state[:TEXTURE], state[TEXTURE:]


def _jacobian(
    pixels: _Pixels, texture: Float[Tensor, "80"], light: Float[Tensor, "27"]
) -> Float[Tensor, "pixels 3 107"]:
    """Derivatives of the colours by texture and light."""
    by_light = _albedo(pixels, texture)[..., None] * pixels.harmonics[:, None]
    jacobian = pixels.colour.new_zeros(len(pixels.colour), 3, TEXTURE + LIGHT)
    jacobian[..., :TEXTURE] = pixels.basis * _light(pixels, light)[..., None]
    for channel in range(3):
        columns = slice(TEXTURE + 9 * channel, TEXTURE + 9 * channel + 9)
        jacobian[:, channel, columns] = by_light[:, channel]
    return jacobian
