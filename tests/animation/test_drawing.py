from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dimitra.animation import drawing
from dimitra.animation.drawing import check_size, chosen_renderer, load_renderer
from dimitra.animation.errors import AnimationError
from dimitra.animation.face import Face
from dimitra.animation.likeness import Likeness, read_likeness
from dimitra.animation.settings import read_settings
from dimitra.faces.crop import CropBox
from dimitra.render.pirender_network import PIRenderNet, PIRenderSettings
from dimitra.render.renderer_checkpoint import save
from tests.animation.toy import SAMPLE, photo

SETTINGS = read_settings(SAMPLE)
BASEL = replace(SETTINGS, fit=replace(SETTINGS.fit, face_model="bfm", method="precomputed"))
LIKENESS = Likeness(*(np.zeros(size, np.float32) for size in (80, 70, 3)))


class Windowed:
    """Draws each frame as the sum of its window; the ends repeat, as PIRender's do."""

    def render(
        self, photo: NDArray[np.uint8], motion: NDArray[np.float32], crop: NDArray[np.float32]
    ) -> Iterator[NDArray[np.uint8]]:
        assert len(crop) == len(motion) <= drawing.PIECE + 2 * drawing.WINDOW
        padded = np.pad(motion[:, 0], drawing.WINDOW, mode="edge")
        for index in range(len(motion)):
            value = padded[index : index + 2 * drawing.WINDOW + 1].sum()
            yield np.full_like(photo, round(float(value)) % 251)


@pytest.mark.parametrize("frames", [1, 20, 40, 41, 95])
def test_a_neural_renderer_sees_the_windows_of_the_whole(
    frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    motion = np.random.default_rng(0).integers(0, 99, (frames, 70)).astype(np.float32)
    picture, crop = np.zeros((4, 4, 3), np.uint8), np.zeros(3, np.float32)
    draw = drawing._neural(cast("Any", Windowed()))
    whole = np.stack(list(draw(picture, crop, LIKENESS, motion)))
    monkeypatch.setattr(drawing, "PIECE", 20)
    pieces = np.stack(list(draw(picture, crop, LIKENESS, motion)))
    assert pieces.shape == (frames, 4, 4, 3)
    assert np.array_equal(pieces, whole)


def test_a_renderer_belongs_to_a_face_model() -> None:
    assert chosen_renderer(None, SETTINGS) == chosen_renderer("mesh", SETTINGS) == "mesh"
    assert chosen_renderer("pirender", BASEL) == "pirender"
    with pytest.raises(AnimationError, match=r"mesh draws the face model open_head, but .* on bfm"):
        chosen_renderer("mesh", BASEL)
    with pytest.raises(AnimationError, match=r"render.weights names no checkpoint of PIRender"):
        load_renderer("pirender", BASEL, 256)


def test_a_renderer_of_ones_own_lies_beside_the_parameters(tmp_path: Path) -> None:
    own = replace(
        SETTINGS,
        file=tmp_path / "params.yaml",
        render=replace(SETTINGS.render, renderer="pirender", weights="trained"),
    )
    assert chosen_renderer(None, own) == "pirender"
    with pytest.raises(AnimationError, match=r"renderers/trained.*dvc repro train_renderer"):
        load_renderer("pirender", own, 64)
    small = PIRenderSettings(descriptor=8, widest=8, warp_width=4, edit_width=4)
    save(
        tmp_path / "renderers" / "trained",
        PIRenderNet(small).state_dict(),
        small,
        "open_head",
        64,
        {},
        [],
    )
    with pytest.raises(AnimationError, match=r"open_head at 64 pixels.* 128 pixels; ask for its"):
        load_renderer("pirender", own, 128)
    draw = load_renderer("pirender", own, 64)
    face = photo()[:64, :64]
    frames = list(draw(face, np.zeros(3, np.float32), LIKENESS, np.zeros((2, 70), np.float32)))
    assert [frame.shape for frame in frames] == [(64, 64, 3)] * 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_mesh_renderer_without_its_gpu_is_told() -> None:
    on_gpu = replace(SETTINGS, render=replace(SETTINGS.render, device="cuda"))
    with pytest.raises(AnimationError, match=r"sees no GPU; use cpu \(render.device\)"):
        load_renderer("mesh", on_gpu, 256)


@pytest.mark.parametrize(
    ("size", "renderer"), [(62, "mesh"), (255, "mesh"), (4096, "mesh"), (240, "pirender")]
)
def test_sizes(size: int, renderer: str) -> None:
    with pytest.raises(AnimationError, match=rf"a size of {size} pixels; the renderer {renderer}"):
        check_size(size, renderer)
    check_size(256, renderer)


def test_coefficients_that_others_computed_do_not_know_the_photo() -> None:
    face = Face(CropBox(0, 0, 256), photo()[:256, :256], np.zeros((68, 2), np.float32))
    with pytest.raises(AnimationError, match=r"fit.method is 'precomputed': .* Deng's encoder"):
        read_likeness(face, photo(), BASEL, "photo", lambda _: None)
