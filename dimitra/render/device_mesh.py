"""The mesh renderer in torch: whole batches of frames on a device.

It draws what ``mesh.MeshRenderer`` draws. What happens once for a photo is that renderer's own, on
the processor; then head and photo lie on the device, motion goes up and frames come down.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from dimitra.exact_arithmetic import exact_arithmetic
from dimitra.morphable.model import FaceModel
from dimitra.render.device_composite import compose
from dimitra.render.device_light import light_inside
from dimitra.render.device_portrait import (
    DeviceHead,
    DevicePortrait,
    upload_head,
    upload_portrait,
)
from dimitra.render.device_raster import interpolate, rasterize
from dimitra.render.device_vertices import Vertices, move
from dimitra.render.head import prepare_head
from dimitra.render.mesh import BLOCK, MeshRenderer, check_motion
from dimitra.render.portrait import prepare_portrait

PIXELS_AT_ONCE = 16 * 256 * 256
"""Pixels of the frames that are drawn together, which bounds the memory."""


class DeviceError(ValueError):
    """The mesh renderer cannot run on the device that was asked for."""


class DeviceMeshRenderer:
    """Renders motion with the face model's mesh on a device, as ``MeshRenderer`` does without one.

    A frame's bytes depend neither on the batch nor on the other frames: vertices are moved in
    blocks of one length, the last one filled up, and every pixel is drawn by itself.

    Args:
        model: the face model that the coefficients belong to.
        device: ``cpu`` or ``cuda``.
        batch: frames drawn at once; by default as many as have ``PIXELS_AT_ONCE``.

    Raises:
        DeviceError: torch sees no GPU.
        ValueError: ``batch`` is less than 1.
    """

    def __init__(
        self, model: FaceModel, device: torch.device | str, batch: int | None = None
    ) -> None:
        self._device = torch.device(device)
        if self._device.type == "cuda" and not torch.cuda.is_available():
            raise DeviceError(
                f"device {device}: torch {torch.__version__} sees no GPU; use cpu (render.device)"
            )
        if batch is not None and batch < 1:
            raise ValueError(f"a batch of {batch} frames; at least 1 is needed")
        self._batch = batch
        self._head = prepare_head(model)
        self._uploaded = upload_head(self._head, self._device)

    def render(
        self,
        photo: NDArray[np.uint8],
        identity: NDArray[np.float32],
        crop: NDArray[np.float32],
        reference: NDArray[np.float32],
        motion: NDArray[np.float32],
    ) -> Iterator[NDArray[np.uint8]]:
        """Move a photo; arguments, frames and errors are those of ``MeshRenderer.render``."""
        check_motion(motion, reference)
        prepared = prepare_portrait(self._head, photo, identity, reference, crop)
        portrait = upload_portrait(self._head, prepared, identity, self._device)
        batch = self._batch or max(1, PIXELS_AT_ONCE // prepared.size**2)
        for start in range(0, len(motion), BLOCK):
            block = motion[start : start + BLOCK]
            filled = np.concatenate([block, np.repeat(block[-1:], BLOCK - len(block), axis=0)])
            with exact_arithmetic():
                moving = torch.from_numpy(filled).to(self._device, torch.float32)
                vertices = move(self._uploaded, portrait, moving)
            for first in range(0, len(block), batch):
                last = min(first + batch, len(block))
                with exact_arithmetic():
                    frames = _draw(self._uploaded, portrait, vertices.some(first, last)).cpu()
                yield from frames.numpy()


def _draw(
    head: DeviceHead, portrait: DevicePortrait, vertices: Vertices
) -> UInt8[Tensor, "frames side side 3"]:
    side = portrait.photo.size
    warped = rasterize(vertices.nodes, portrait.cells, side, side)
    under = interpolate(warped, portrait.cells, portrait.nodes)
    drawn = rasterize(vertices.points, head.triangles, 2 * side, 2 * side, cull=-1)
    scale = 2.0 * portrait.photo.scale
    light = light_inside(drawn, head.triangles, head.mouth, head.tooth, scale)
    return compose(drawn, head.triangles, vertices, light, under, portrait)


def mesh_renderer(model: FaceModel, device: str) -> MeshRenderer | DeviceMeshRenderer:
    """The mesh renderer for ``cpu`` or ``cuda``.

    Raises:
        DeviceError: torch sees no GPU.
    """
    return MeshRenderer(model) if device == "cpu" else DeviceMeshRenderer(model, device)
