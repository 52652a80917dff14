"""Drawing motion with the face of a photo, by the renderer of one's choice, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dimitra.animation.errors import AnimationError
from dimitra.animation.likeness import Likeness
from dimitra.animation.models import OWN_RENDERER, TRAINED
from dimitra.animation.settings import RENDERERS, Settings
from dimitra.assets import asset_path
from dimitra.morphable import open_head
from dimitra.render import pirender
from dimitra.render.device_mesh import DeviceError, mesh_renderer
from dimitra.render.pirender_network import STRIDE
from dimitra.render.renderer_checkpoint import load as load_trained

MIN_SIZE, MAX_SIZE = 64, 2048
PIECE = 500
"""Frames whose descriptors PIRender holds at once."""
WINDOW = 13
"""Frames on each side that PIRender looks at."""


class Renderer(Protocol):
    """Draws motion [T, 70] with the face of a photo [S, S, 3], as T frames [S, S, 3] uint8."""

    def __call__(
        self,
        photo: NDArray[np.uint8],
        crop: NDArray[np.float32],
        likeness: Likeness,
        motion: NDArray[np.float32],
    ) -> Iterator[NDArray[np.uint8]]: ...


def chosen_renderer(name: str | None, settings: Settings) -> str:
    """The renderer: given, or that of the parameters.

    Raises:
        AnimationError: there is no such one, or it draws another face model.
    """
    chosen = settings.render.renderer if name is None else name
    if chosen not in RENDERERS:
        raise AnimationError(f"no renderer is called {chosen!r}; there are {', '.join(RENDERERS)}")
    if chosen == "pirender" and settings.render.weights == TRAINED:
        return chosen  # it says itself which face model it draws
    if RENDERERS[chosen] != settings.fit.face_model:
        raise AnimationError(
            f"the renderer {chosen} draws the face model {RENDERERS[chosen]}, but the models were "
            f"trained on {settings.fit.face_model} ({settings.file}); use the renderer "
            f"{next(key for key, model in RENDERERS.items() if model == settings.fit.face_model)}"
        )
    return chosen


def check_size(size: int, renderer: str) -> None:
    """Refuse sides that a renderer or H.264 cannot have.

    Raises:
        AnimationError: naming what is allowed.
    """
    multiple = STRIDE if renderer == "pirender" else 2
    if not MIN_SIZE <= size <= MAX_SIZE or size % multiple:
        raise AnimationError(
            f"a size of {size} pixels; the renderer {renderer} takes multiples of {multiple} from "
            f"{MIN_SIZE} to {MAX_SIZE}"
        )


def load_renderer(name: str, settings: Settings, size: int) -> Renderer:
    """A renderer with its weights.

    Args:
        name: of the renderer.
        settings: name the weights, or say that they were trained: ``renderers/trained`` beside the
            parameter file.
        size: side of the video, pixels.

    Raises:
        AnimationError: PIRender's weights are not named, or were trained for something else; or the
            mesh renderer is to draw on a GPU, and there is none.
        AssetError: they are missing.
        PIRenderError: they are another network's, or there is no GPU.
    """
    if name == "mesh":
        return _mesh(settings.render.device)
    if settings.render.weights is None:
        raise AnimationError(
            f"{settings.file}: render.weights names no checkpoint of PIRender (docs/render.md)"
        )
    if settings.render.weights == TRAINED:
        return _neural(_trained(settings, size))
    return _neural(pirender.load(asset_path(settings.render.weights), settings.render.device))


def _trained(settings: Settings, size: int) -> pirender.PIRenderer:
    folder = settings.file.parent / OWN_RENDERER
    try:
        trained = load_trained(folder)
    except FileNotFoundError as error:
        raise AnimationError(str(error)) from None
    if (trained.face_model, trained.size) != (settings.fit.face_model, size):
        raise AnimationError(
            f"the renderer in {folder} draws {trained.face_model} at {trained.size} pixels, but "
            f"the motion is of {settings.fit.face_model} and the video {size} pixels; ask for its "
            "size, or train one of this size (docs/renderer_training.md)"
        )
    return pirender.PIRenderer(trained.network, settings.render.device)


def _mesh(device: str) -> Renderer:
    try:
        renderer = mesh_renderer(open_head.load(), device)
    except DeviceError as error:
        raise AnimationError(str(error)) from None

    def draw(
        photo: NDArray[np.uint8],
        crop: NDArray[np.float32],
        likeness: Likeness,
        motion: NDArray[np.float32],
    ) -> Iterator[NDArray[np.uint8]]:
        return renderer.render(photo, likeness.identity, crop, likeness.motion, motion)

    return draw


def _neural(renderer: pirender.PIRenderer) -> Renderer:
    def draw(
        photo: NDArray[np.uint8],
        crop: NDArray[np.float32],
        likeness: Likeness,  # noqa: ARG001 - by Renderer
        motion: NDArray[np.float32],
    ) -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(motion), PIECE):
            low, high = max(0, start - WINDOW), min(len(motion), start + PIECE + WINDOW)
            piece = motion[low:high]
            drawn = renderer.render(photo, piece, np.tile(crop, (len(piece), 1)))
            for index, frame in enumerate(drawn, start=low):
                if start <= index < start + PIECE:
                    yield frame

    return draw
