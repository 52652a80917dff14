import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimitra.cmdt.checkpoint import TrainedPart
from dimitra.cmdt.conditions import Conditions
from dimitra.cmdt.model import CMDT
from dimitra.cmdt.recursion import SamplingConfig, chunk_bounds, generate_motion, generate_part
from dimitra.morphable.coefficients import PARTS, Part, part_indices
from tests.cmdt.corpus import toy_clip, toy_model

SAMPLING = SamplingConfig("ddim", 5, seed=3)


class Counter(CMDT):
    """Stands in for a trained model: each chunk counts on by one from its first pose."""

    def encode(self, conditions: Conditions) -> Tensor:  # type: ignore[override]
        return conditions.first_pose.values

    def denoise(  # type: ignore[override]
        self, noisy: Tensor, steps: Tensor, mask: Tensor, encoded: Tensor
    ) -> Tensor:
        return encoded + torch.arange(noisy.shape[1])[None, :, None]


def part(name: Part, frames: int = 10) -> TrainedPart:
    columns = tuple(part_indices("open_head")[name])
    model = Counter(toy_model(len(columns), frames=frames).config)
    return TrainedPart(name, columns, 1, 500, model)


@pytest.mark.parametrize(("frames", "longest"), [(1, 10), (10, 10), (11, 10), (137, 10), (200, 2)])
def test_chunks_cover_every_frame_and_share_one_at_each_seam(frames: int, longest: int) -> None:
    bounds = chunk_bounds(frames, longest)
    assert (bounds[0][0], bounds[-1][1]) == (0, frames)
    assert all(end - start <= longest for start, end in bounds)
    assert all(one[1] - 1 == two[0] for one, two in itertools.pairwise(bounds))
    lengths = [end - start for start, end in bounds]
    assert max(lengths) - min(lengths) <= 1


def first_pose() -> NDArray[np.float32]:
    return np.linspace(-1.0, 1.0, 70, dtype=np.float32)


def test_recursion_goes_on_from_the_last_pose_without_a_duplicate() -> None:
    drive = toy_clip("c", 37, 0).drive
    trained = part("pose")
    motion = generate_part(trained, drive, first_pose(), SAMPLING, "c")
    expected = first_pose()[list(trained.columns)] + np.arange(37)[:, None]
    np.testing.assert_allclose(motion, expected, atol=1e-3)


def test_the_mouth_is_reset_at_seams_and_nothing_written_is_changed() -> None:
    drive = toy_clip("c", 19, 0).drive
    trained = part("lips")
    motion = generate_part(trained, drive, first_pose(), SAMPLING, "c")
    counts = np.concatenate([np.arange(10), np.arange(1, 10)])
    np.testing.assert_allclose(motion, first_pose()[:13] + counts[:, None], atol=1e-3)


def test_motion_is_assembled_from_the_parts() -> None:
    drive = toy_clip("c", 8, 0).drive
    motion = generate_motion([part(name) for name in PARTS], drive, first_pose(), SAMPLING, "c")
    assert motion.shape == (8, 70)
    assert motion.dtype == np.float32
    np.testing.assert_allclose(motion, first_pose() + np.arange(8)[:, None], atol=1e-3)
    with pytest.raises(ValueError, match="cover 13 columns"):
        generate_motion([part("lips")], drive, first_pose(), SAMPLING, "c")


def test_samples_depend_on_seed_and_clip_alone() -> None:
    torch.manual_seed(0)
    model = toy_model(6, frames=10).eval()
    torch.nn.init.normal_(model.output.weight)
    trained = TrainedPart("pose", tuple(range(64, 70)), 1, 500, model)
    drive = toy_clip("c", 25, 0).drive
    for sampler in ("ddim", "ancestral"):
        sampling = SamplingConfig(sampler, 5, seed=3)  # type: ignore[arg-type]
        one = generate_part(trained, drive, first_pose(), sampling, "c")
        torch.rand(7)
        assert np.array_equal(one, generate_part(trained, drive, first_pose(), sampling, "c"))
        assert not np.array_equal(one, generate_part(trained, drive, first_pose(), sampling, "d"))
