"""Texture and light, estimated from renders whose texture and light are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimitra.morphable import open_head
from dimitra.morphable.camera import DISTANCE, aligned_to_crop, project, to_camera
from dimitra.morphable.model import FaceModel, shading, vertex_normals
from dimitra.morphable.photometric import (
    PhotometricSettings,
    Photometry,
    choose_frames,
    fit_photometry,
)
from dimitra.render.rasterizer import interpolate, rasterize

_FRAMES, _SIZE = 3, 256


@dataclass(frozen=True)
class _Scene:
    texture: Tensor
    illumination: Tensor
    identity: Tensor
    expression: Tensor
    pose: Tensor
    crop: Tensor
    frames: NDArray[np.uint8]
    normals: Tensor


def _scene(model: FaceModel, seed: int) -> _Scene:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    texture = 0.7 * normal(80)
    light = torch.zeros(3, 9)
    light[:] = torch.cat((0.12 * normal(1), 0.12 * normal(8)))
    light = (light + 0.02 * normal(3, 9)).flatten()
    identity, expression = 0.7 * normal(80), 0.4 * normal(_FRAMES, 64)
    pose = torch.cat((0.15 * normal(_FRAMES, 3), torch.zeros(_FRAMES, 3)), dim=1)
    crop = torch.tensor([0.9, 128.0, 128.0])
    posed = to_camera(model.vertices(identity, expression), pose)
    normals = vertex_normals(posed, model.triangles)
    places = aligned_to_crop(project(posed), crop.expand(_FRAMES, 3))
    screen = torch.cat((places, DISTANCE - posed[..., 2:]), dim=-1).numpy()
    colours = model.colours(texture, light, normals).clamp(0, 1).numpy()
    triangles = model.triangles.numpy()
    frames = []
    for place, colour in zip(screen, colours, strict=True):
        raster = rasterize(place, triangles, _SIZE, _SIZE, cull=-1)
        image = interpolate(raster, triangles, colour, background=0.5)
        frames.append(np.rint(255 * image).astype(np.uint8))
    return _Scene(texture, light, identity, expression, pose, crop, np.stack(frames), normals)


def _estimate(
    model: FaceModel,
    scene: _Scene,
    frames: NDArray[np.uint8] | None = None,
    settings: PhotometricSettings | None = None,
) -> Photometry:
    return fit_photometry(
        model,
        scene.frames if frames is None else frames,
        scene.identity,
        scene.expression,
        scene.pose,
        scene.crop,
        settings,
    )


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return open_head.load()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_known_texture_and_light_come_back(model: FaceModel, seed: int) -> None:
    scene = _scene(model, seed)
    # The render is exactly the model's, so that every pixel is evidence of its own.
    found = _estimate(model, scene, settings=PhotometricSettings(evidence=4500.0))
    skin = model.part("skin", "lips", "eyelids") & (scene.normals[0, :, 2] > 0.4)
    lit = model.colours(found.texture, found.illumination, scene.normals[0])[skin]
    true_lit = model.colours(scene.texture, scene.illumination, scene.normals[0])[skin]
    assert (lit - true_lit).abs().mean() < 0.015
    # Lightness is shared between skin and light; each alone comes back up to that factor.
    albedo, true_albedo = model.albedo(found.texture)[skin], model.albedo(scene.texture)[skin]
    factor = (true_albedo / albedo).median()
    assert 0.75 < factor < 1.35
    unexplained = (albedo * factor - true_albedo).square().mean().sqrt()
    assert unexplained < 0.5 * (model.mean_colour[skin] - true_albedo).square().mean().sqrt()
    light = shading(found.illumination, scene.normals[0])[skin].mean(1)
    true_light = shading(scene.illumination, scene.normals[0])[skin].mean(1)
    assert torch.corrcoef(torch.stack((light, true_light)))[0, 1] > 0.9
    assert bool((found.residual < 0.015).all())
    assert bool((found.pixels > 500).all())


def test_the_same_pixels_give_the_same_bytes(model: FaceModel) -> None:
    scene = _scene(model, 1)
    first, second = _estimate(model, scene), _estimate(model, scene)
    assert torch.equal(first.texture, second.texture)
    assert torch.equal(first.illumination, second.illumination)


def test_something_before_the_face_pulls_little(model: FaceModel) -> None:
    scene = _scene(model, 2)
    covered = scene.frames.copy()
    covered[:, 60:105, 90:130] = (20, 230, 20)
    clean, found = _estimate(model, scene), _estimate(model, scene, covered)
    skin = model.part("skin") & (scene.normals[0, :, 2] > 0.4)
    lit = model.colours(found.texture, found.illumination, scene.normals[0])[skin]
    expected = model.colours(clean.texture, clean.illumination, scene.normals[0])[skin]
    assert (lit - expected).abs().median() < 0.02


def test_contrast_beyond_the_model_is_not_taken_for_dark_skin(model: FaceModel) -> None:
    scene = _scene(model, 1)
    skin = model.part("skin")
    contrast = 128 + 1.5 * (scene.frames.astype(np.float64) - 128)
    harsh = np.rint(contrast.clip(0, 249)).astype(np.uint8)
    clean, found = _estimate(model, scene), _estimate(model, scene, harsh)
    change = model.albedo(found.texture)[skin].mean() - model.albedo(clean.texture)[skin].mean()
    assert abs(change) < 0.1


def test_one_frame_is_enough(model: FaceModel) -> None:
    scene = _scene(model, 3)
    found = fit_photometry(
        model,
        scene.frames[:1],
        scene.identity,
        scene.expression[:1],
        scene.pose[:1],
        scene.crop[None],
    )
    assert float(found.residual[0]) < 0.015


def test_best_frames_are_spread_over_the_clip() -> None:
    residual = torch.tensor([3.0, 1.0, 2.0, 5.0, 4.0, 9.0, 7.0, 8.0])
    assert choose_frames(residual, 4).tolist() == [1, 2, 4, 6]
    assert choose_frames(residual[:2], 4).tolist() == [0, 1]


def test_a_face_outside_the_picture_is_told(model: FaceModel) -> None:
    scene = _scene(model, 1)
    with pytest.raises(ValueError, match="0 pixels of skin"):
        fit_photometry(
            model,
            scene.frames,
            scene.identity,
            scene.expression,
            scene.pose,
            torch.tensor([0.9, 2000.0, 128.0]),
        )
    with pytest.raises(ValueError, match="3 frames, but 2 expressions"):
        fit_photometry(
            model, scene.frames, scene.identity, scene.expression[:2], scene.pose, scene.crop
        )
