"""PSNR and SSIM: how far a picture is from another, pixel by pixel and patch by patch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.compiled import compiled

PEAK = 255.0
WINDOW_SIGMA, WINDOW_RADIUS = 1.5, 5
"""Gaussian window of 11x11 pixels (Wang et al. 2004, section III-C)."""
K1, K2 = 0.01, 0.03
"""Of Wang et al. 2004: constants are ``(K1 * PEAK)^2`` and ``(K2 * PEAK)^2``."""

_SIDE = 2 * WINDOW_RADIUS + 1
_COLOURS = 3


def _checked(first: NDArray[Any], second: NDArray[Any]) -> None:
    if first.shape != second.shape or first.ndim != 3 or first.shape[2] != _COLOURS:
        raise ValueError(f"pictures {first.shape} and {second.shape} must both be [H, W, 3]")
    if first.dtype != np.uint8 or second.dtype != np.uint8:
        raise ValueError(f"pictures are {first.dtype} and {second.dtype}, but uint8 is needed")


def squared_error(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Mean squared error over colours and pixels, exact until the division.

    Args:
        first: [H, W, 3].
        second: [H, W, 3].

    Raises:
        ValueError: shapes or types differ.
    """
    _checked(first, second)
    return int(_squares(_rows(first), _rows(second))) / first.size


def psnr_of(error: float) -> float:
    """Peak signal-to-noise ratio in dB, ``10 log10(255^2 / error)``; infinity without an error.

    Args:
        error: mean squared error.
    """
    return math.inf if error == 0.0 else 10.0 * math.log10(PEAK**2 / error)


def psnr(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of two pictures in dB; infinity for equal ones.

    Args:
        first: [H, W, 3].
        second: [H, W, 3].

    Raises:
        ValueError: shapes or types differ.
    """
    return psnr_of(squared_error(first, second))


def ssim(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Structural similarity (Wang et al. 2004, equation 13), the mean over colours and pixels.

    Windows that reach over the border are left out, as in the authors' code. It is scikit-image's
    ``structural_similarity`` with ``channel_axis=2``, ``gaussian_weights=True`` and
    ``use_sample_covariance=False``, to rounding, in double precision.

    Args:
        first: [H, W, 3].
        second: [H, W, 3].

    Raises:
        ValueError: shapes or types differ, or the pictures are smaller than a window.
    """
    _checked(first, second)
    if min(first.shape[:2]) < _SIDE:
        raise ValueError(f"pictures of {first.shape[:2]} pixels are smaller than {_SIDE}x{_SIDE}")
    return float(
        _similarity(_rows(first), _rows(second), _half_window(), (K1 * PEAK) ** 2, (K2 * PEAK) ** 2)
    )


def _rows(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """``[H, W * 3]``: the values of a row, colours beside each other."""
    return np.ascontiguousarray(picture).reshape(len(picture), -1)


def _half_window() -> NDArray[np.float64]:
    """Weights of the window along one axis from its border to its middle, ``[6]``."""
    away = np.arange(-WINDOW_RADIUS, WINDOW_RADIUS + 1)
    weights = np.exp(-0.5 * (away / WINDOW_SIGMA) ** 2)
    return np.asarray((weights / weights.sum())[: WINDOW_RADIUS + 1])


@compiled
def _squares(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> np.int64:
    """Sum of the squared differences of ``[H, N]``."""
    total = np.int64(0)
    for i in range(first.shape[0]):
        for j in range(first.shape[1]):
            apart = np.int64(first[i, j]) - np.int64(second[i, j])
            total += apart * apart
    return total


@compiled
def _weigh(
    values: NDArray[np.float64], step: int, half: NDArray[np.float64], into: NDArray[np.float64]
) -> None:
    """Window the values ``[N]`` along an axis whose neighbours lie ``step`` apart, ``[M]``.

    Each tap is a view: an index without a sum is known to be in range, and the loop one of vectors.
    """
    v0, v1, v2, v3 = values, values[step:], values[2 * step :], values[3 * step :]
    v4, v5, v6 = values[4 * step :], values[5 * step :], values[6 * step :]
    v7, v8, v9, v10 = (
        values[7 * step :],
        values[8 * step :],
        values[9 * step :],
        values[10 * step :],
    )
    w0, w1, w2, w3, w4, w5 = half[0], half[1], half[2], half[3], half[4], half[5]
    for i in range(len(into)):
        into[i] = (
            w5 * v5[i]
            + w4 * (v4[i] + v6[i])
            + w3 * (v3[i] + v7[i])
            + w2 * (v2[i] + v8[i])
            + w1 * (v1[i] + v9[i])
            + w0 * (v0[i] + v10[i])
        )


@compiled
def _similarity(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    half: NDArray[np.float64],
    c1: float,
    c2: float,
) -> float:
    """Mean of Wang's equation 13 over ``[H, W * 3]``.

    The window is separable: down the columns, then along the row. The last 11 rows of both
    pictures, of the sum of their squares and of their product are at hand, twice, so that 11 of
    them always follow each other: all of it fits into the processor's cache.
    """
    height, width = first.shape
    inner = width - (_SIDE - 1) * _COLOURS
    recent = np.empty((4, 2 * _SIDE * width))
    column = np.empty(width)
    mean = np.empty((4, inner))
    total = np.float64(0.0)
    for row in range(height):
        for place in (row % _SIDE * width, (row % _SIDE + _SIDE) * width):
            for i in range(width):
                x, y = np.float64(first[row, i]), np.float64(second[row, i])
                recent[0, place + i] = x
                recent[1, place + i] = y
                recent[2, place + i] = x * x + y * y
                recent[3, place + i] = x * y
        if row < _SIDE - 1:
            continue
        oldest = (row + 1) % _SIDE * width
        for k in range(4):
            _weigh(recent[k, oldest:], width, half, column)
            _weigh(column, _COLOURS, half, mean[k])
        for i in range(inner):
            x, y = mean[0, i], mean[1, i]
            product, squares = x * y, x * x + y * y
            covariance, variances = mean[3, i] - product, mean[2, i] - squares
            total += ((2.0 * product + c1) * (2.0 * covariance + c2)) / (
                (squares + c1) * (variances + c2)
            )
    return float(total / ((height - _SIDE + 1) * inner))
