"""PSNR and SSIM: how far a picture is from another, pixel by pixel and patch by patch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

PEAK = 255.0
WINDOW_SIGMA, WINDOW_RADIUS = 1.5, 5
"""Gaussian window of 11x11 pixels (Wang et al. 2004, section III-C)."""
K1, K2 = 0.01, 0.03
"""Of Wang et al. 2004: constants are ``(K1 * PEAK)^2`` and ``(K2 * PEAK)^2``."""


def _checked(first: NDArray[Any], second: NDArray[Any]) -> None:
    if first.shape != second.shape or first.ndim != 3 or first.shape[2] != 3:
        raise ValueError(f"pictures {first.shape} and {second.shape} must both be [H, W, 3]")
    if first.dtype != np.uint8 or second.dtype != np.uint8:
        raise ValueError(f"pictures are {first.dtype} and {second.dtype}, but uint8 is needed")


def psnr(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB, ``10 log10(255^2 / mean squared error)``.

    Args:
        first: [H, W, 3].
        second: [H, W, 3].

    Returns:
        dB; infinity for equal pictures.

    Raises:
        ValueError: shapes or types differ.
    """
    _checked(first, second)
    error = float(np.square(first.astype(np.float64) - second).mean())
    return math.inf if error == 0.0 else 10.0 * math.log10(PEAK**2 / error)


def ssim(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Structural similarity (Wang et al. 2004, equation 13), the mean over colours and pixels.

    Windows that reach over the border are left out, as in the authors' code.

    Args:
        first: [H, W, 3].
        second: [H, W, 3].

    Raises:
        ValueError: shapes or types differ, or the pictures are smaller than a window.
    """
    _checked(first, second)
    side = 2 * WINDOW_RADIUS + 1
    if min(first.shape[:2]) < side:
        raise ValueError(f"pictures of {first.shape[:2]} pixels are smaller than {side}x{side}")
    x, y = first.astype(np.float64), second.astype(np.float64)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        reach = (WINDOW_RADIUS, WINDOW_RADIUS, 0)
        blurred = gaussian_filter(values, (WINDOW_SIGMA, WINDOW_SIGMA, 0.0), radius=reach)
        inner = slice(WINDOW_RADIUS, -WINDOW_RADIUS)
        return np.asarray(blurred[inner, inner])

    mx, my = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    value = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(value.mean())
