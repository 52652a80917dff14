import math

import numpy as np
import pytest
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio

from dimitra.metrics.fidelity import fidelity
from dimitra.metrics.image import psnr, ssim

FACE = astronaut()[:64, 200:264]


def test_one_pair_is_that_of_pictures() -> None:
    noisy = np.clip(FACE + np.random.default_rng(0).integers(-9, 10, FACE.shape), 0, 255)
    noisy = noisy.astype(np.uint8)
    found = fidelity([(FACE, noisy)])
    assert found is not None
    assert found.psnr == pytest.approx(psnr(FACE, noisy))
    assert found.ssim == ssim(FACE, noisy)


def test_the_error_is_averaged_before_the_logarithm() -> None:
    """One frame off by 10, one equal: as if all were off by sqrt(50)."""
    grey = np.full((32, 32, 3), 100, np.uint8)
    found = fidelity([(grey, grey), (grey, grey + np.uint8(10))])
    assert found is not None
    both = np.concatenate([grey, grey]), np.concatenate([grey, grey + np.uint8(10)])
    assert found.psnr == pytest.approx(10 * math.log10(255**2 / 50))
    assert found.psnr == pytest.approx(peak_signal_noise_ratio(*both, data_range=255))
    assert found.frames == 2


def test_equal_videos_have_no_error_and_none_has_no_number() -> None:
    found = fidelity([(FACE, FACE)] * 2)
    assert found is not None
    assert found.psnr == math.inf
    assert found.ssim == pytest.approx(1.0)
    assert fidelity([]) is None
    with pytest.raises(ValueError, match="must both be"):
        fidelity([(FACE, FACE[:32])])
