from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dimitra.animation.features import write_features
from dimitra.speech.grid import GridEncoder


class Mixing:
    """A network whose every vector depends on all samples of its block."""

    stride, field, dim, normalised = 384, 895, 3, False

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        count = 1 + (len(samples) - self.field) // self.stride
        local = [
            samples[k * self.stride : k * self.stride + self.field].sum() for k in range(count)
        ]
        mean = np.full(count, samples.mean())
        return np.stack([np.array(local), mean, np.arange(count)], axis=1).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.3, 9.0, 84.0, 85.0, 200.0, 317.7])
@pytest.mark.parametrize("overlap_s", [0.0, 3.0, 5.0])
def test_pieces_give_what_the_whole_gives(tmp_path: Path, seconds: float, overlap_s: float) -> None:
    samples = np.random.default_rng(1).normal(size=round(seconds * 16_000)).astype(np.float32)
    encoder = GridEncoder(Mixing(), 10.0, overlap_s)
    told: list[tuple[int, int]] = []
    pieces = write_features(
        encoder,
        samples,
        10.0,
        overlap_s,
        tmp_path / "features",
        lambda done, all_: told.append((done, all_)),
        whole=False,
    )
    expected = encoder.encode(samples).astype(np.float16)
    assert np.array_equal(pieces, expected)
    assert told[-1] == (len(expected), len(expected))
