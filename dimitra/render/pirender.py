"""The neural renderer of the paper: PIRender (Ren et al. 2021) drives a photo with coefficients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimitra.morphable.coefficients import ANGLES, MOTION_SIZE
from dimitra.morphable.deng_coefficients import CROP_SIZE, descriptors, windows
from dimitra.render.pirender_network import STRIDE, PIRenderNet
from dimitra.render.pirender_weights import PIRenderError, read_network

BATCH = 16
"""Frames that a GPU draws at once."""


class PIRenderer:
    """Renders motion with PIRender's network.

    On a CPU in float32 and one frame at a time, so that a frame's bytes depend on its window alone;
    on a GPU in bfloat16 and in batches, the last one filled up, for the same reason.

    Args:
        network: moved to the device and set to evaluation.
        device: ``cpu`` or ``cuda``.
        batch: frames drawn at once on a GPU.

    Raises:
        PIRenderError: torch sees no GPU.
    """

    def __init__(
        self, network: PIRenderNet, device: torch.device | str = "cpu", batch: int = BATCH
    ) -> None:
        self._device = torch.device(device)
        if self._device.type == "cuda" and not torch.cuda.is_available():
            raise PIRenderError(
                f"device {device}: torch {torch.__version__} sees no GPU; use cpu (render.device)"
            )
        self._network = network.to(self._device).eval()
        self._batch = 1 if self._device.type == "cpu" else batch

    def render(
        self,
        photo: NDArray[np.uint8],
        motion: NDArray[np.float32],
        crop: NDArray[np.float32],
    ) -> Iterator[NDArray[np.uint8]]:
        """Drive a photo.

        Args:
            photo: [S, S, 3] RGB, S a multiple of 32: the size that the weights were trained at.
            motion: [T, 70], of the face model that the weights were trained on (Basel for the
                published ones): expression, angles, translation.
            crop: [T, 3], Deng's alignment ``s, tx, ty`` in the photo's pixels.

        Yields:
            T frames [S, S, 3] uint8.

        Raises:
            ValueError: an array has the wrong shape, or a value is not finite.
        """
        _check(photo, motion, crop)
        source = torch.from_numpy(np.ascontiguousarray(photo)).permute(2, 0, 1)[None]
        source = (source.to(self._device, torch.float32) / 127.5) - 1.0
        driving = windows(descriptors(*(torch.from_numpy(a).float() for a in (motion, crop))))
        for start in range(0, len(driving), self._batch):
            block = driving[start : start + self._batch]
            yield from self._draw(source, block)[: len(block)].numpy()

    def _draw(self, source: Tensor, block: Tensor) -> Tensor:
        """Frames [B, S, S, 3] uint8 on the CPU, B the size of a full batch."""
        filling = block[-1:].expand(self._batch - len(block), -1, -1)
        batch = torch.cat([block, filling]).to(self._device)
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if self._device.type == "cuda":
                stack.enter_context(torch.autocast("cuda", torch.bfloat16))
                stack.enter_context(
                    torch.backends.cudnn.flags(
                        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
                    )
                )
            picture = self._network(source.expand(len(batch), -1, -1, -1), batch).picture
        return to_bytes(picture).cpu()


def load(path: Path, device: torch.device | str = "cpu", batch: int = BATCH) -> PIRenderer:
    """The renderer with a checkpoint's weights.

    Raises:
        FileNotFoundError: there is no such file.
        PIRenderError: it does not hold PIRender's network, or there is no such device.
    """
    return PIRenderer(read_network(path), device, batch)


def to_bytes(picture: Tensor) -> Tensor:
    """Pictures [B, 3, H, W] in -1..1 as [B, H, W, 3] uint8, rounded."""
    levels = (picture.clamp(-1.0, 1.0) + 1.0) * 127.5
    return levels.round().to(torch.uint8).permute(0, 2, 3, 1)


def limit_angles(motion: NDArray[np.float32], limit_rad: float) -> NDArray[np.float32]:
    """Motion [T, 70] whose angles stay within ``limit_rad`` of frame 0 around each axis.

    Dimitra's released code limits them to 0.2 rad before it renders: PIRender has seen few large
    turns and blurs them. It changes what was generated: not for metrics.
    """
    limited = motion.copy()
    first = motion[:1, ANGLES]
    limited[:, ANGLES] = np.clip(motion[:, ANGLES], first - limit_rad, first + limit_rad)
    return limited


def _check(
    photo: NDArray[np.uint8], motion: NDArray[np.float32], crop: NDArray[np.float32]
) -> None:
    side = photo.shape[0]
    if photo.shape != (side, side, 3) or photo.dtype != np.uint8 or side % STRIDE or not side:
        raise ValueError(
            f"photo is {photo.dtype} {photo.shape}, expected uint8 [S, S, 3], S a multiple of "
            f"{STRIDE} px"
        )
    if motion.ndim != 2 or motion.shape[1] != MOTION_SIZE or not len(motion):
        raise ValueError(f"motion is {motion.shape}, expected [T > 0, {MOTION_SIZE}]")
    if crop.shape != (len(motion), CROP_SIZE):
        raise ValueError(f"crop is {crop.shape}, expected [{len(motion)}, {CROP_SIZE}]")
    for name, values in (("motion", motion), ("crop", crop)):
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise ValueError(f"{name} of frame {bad[0]} is not finite")
