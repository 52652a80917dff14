"""PSNR and SSIM against scikit-image and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dimitra.metrics.image import psnr, squared_error, ssim

PHOTO = astronaut()[:96, 150:260]
NOISE = np.random.default_rng(0).normal(0.0, 9.0, PHOTO.shape)
NOISY = np.clip(np.rint(PHOTO + NOISE), 0, 255).astype(np.uint8)
MOVED = np.roll(PHOTO, 2, axis=1)


@pytest.mark.parametrize("other", [NOISY, MOVED], ids=["noise", "shift"])
def test_both_agree_with_scikit_image(other: np.ndarray) -> None:
    assert psnr(PHOTO, other) == pytest.approx(peak_signal_noise_ratio(PHOTO, other))
    expected = structural_similarity(
        PHOTO, other, channel_axis=2, gaussian_weights=True, use_sample_covariance=False
    )
    assert ssim(PHOTO, other) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(11, 11), (11, 40), (37, 12), (256, 256)])
def test_ssim_is_scikit_images_at_every_size(shape: tuple[int, int]) -> None:
    """Noise has the least structure: what rounding could lose is lost here first."""
    draw = np.random.default_rng(sum(shape))
    one, two = draw.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    expected = structural_similarity(
        one, two, channel_axis=2, gaussian_weights=True, use_sample_covariance=False
    )
    assert ssim(one, two) == pytest.approx(expected, abs=1e-12)
    assert ssim(one[:, ::-1], two[:, ::-1]) == pytest.approx(ssim(one, two), abs=1e-12)


def test_the_squared_error_is_exact() -> None:
    black, white = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 255, np.uint8)
    assert squared_error(black, white) == squared_error(white, black) == 255**2
    assert squared_error(PHOTO, NOISY) == np.square(PHOTO.astype(float) - NOISY).mean()


def test_known_answers() -> None:
    grey, lighter = np.full((16, 16, 3), 100, np.uint8), np.full((16, 16, 3), 110, np.uint8)
    assert psnr(grey, lighter) == pytest.approx(10 * math.log10(255**2 / 100))
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 110 + c1) / (100**2 + 110**2 + c1)
    assert ssim(grey, lighter) == pytest.approx(expected)
    assert psnr(grey, grey) == math.inf
    assert ssim(PHOTO, PHOTO) == pytest.approx(1.0)


def test_pictures_must_match() -> None:
    with pytest.raises(ValueError, match=r"\[H, W, 3\]"):
        psnr(PHOTO, PHOTO[:-1])
    with pytest.raises(ValueError, match="uint8"):
        ssim(PHOTO, PHOTO.astype(np.float32))
    with pytest.raises(ValueError, match="smaller"):
        ssim(PHOTO[:8], PHOTO[:8])
