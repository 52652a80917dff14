from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimitra.cmdt.batch import PackedConditions
from dimitra.cmdt.checkpoint import TrainedPart
from dimitra.cmdt.chunks import seam_report
from dimitra.cmdt.conditions import Conditions
from dimitra.cmdt.model import CMDT
from dimitra.cmdt.parts import ModelPart, mouth_columns, part_columns, parts_of
from dimitra.cmdt.recursion import SamplingConfig, denoiser_of, generate_motion, generate_part
from dimitra.diffusion.samplers import Sampler
from dimitra.diffusion.schedule import linear_schedule
from dimitra.diffusion.spacing import Spacing
from dimitra.diffusion.target import Target, target_of
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


MOUTH = mouth_columns("open_head")


def part(name: ModelPart, frames: int = 10) -> TrainedPart:
    columns = part_columns("open_head", name)
    model = Counter(toy_model(len(columns), frames=frames).config)
    return TrainedPart(name, columns, 1, 500, model, MOUTH)


def first_pose() -> NDArray[np.float32]:
    return np.linspace(-1.0, 1.0, 70, dtype=np.float32)


def test_recursion_goes_on_from_the_last_pose_without_a_duplicate() -> None:
    drive = toy_clip("c", 37, 0).drive
    trained = part("pose")
    motion = generate_part(trained, drive, first_pose(), SAMPLING, "c")
    expected = first_pose()[list(trained.columns)] + np.arange(37)[:, None]
    np.testing.assert_allclose(motion, expected, atol=1e-3)


class Unmoved(CMDT):
    """Stands in for a trained model that says one value, in the units of diffusion."""

    def denoise(  # type: ignore[override]
        self, noisy: Tensor, steps: Tensor, mask: Tensor, encoded: object
    ) -> Tensor:
        return torch.full_like(noisy, 0.5)


def test_motion_comes_out_in_the_units_of_the_data() -> None:
    model = Unmoved(toy_model(6, frames=10).config)
    shift, scale = torch.linspace(-3.0, 3.0, 6), torch.linspace(0.5, 4.0, 6)
    model.shift.copy_(shift)
    model.scale.copy_(scale)
    trained = TrainedPart("pose", tuple(range(64, 70)), 1, 500, model, MOUTH)
    motion = generate_part(trained, toy_clip("c", 25, 0).drive, first_pose(), SAMPLING, "c")
    expected = (0.5 * scale + shift).numpy()
    np.testing.assert_allclose(motion, np.tile(expected, (25, 1)), atol=1e-4)


class Echo(CMDT):
    """Stands in for a trained model that keeps the noise."""

    def denoise(  # type: ignore[override]
        self, noisy: Tensor, steps: Tensor, mask: Tensor, encoded: object
    ) -> Tensor:
        return noisy


def test_every_chunk_has_noise_of_its_own() -> None:
    model = Echo(toy_model(6, frames=10).config)
    trained = TrainedPart("pose", tuple(range(64, 70)), 1, 500, model, MOUTH)
    motion = generate_part(trained, toy_clip("c", 28, 0).drive, first_pose(), SAMPLING, "c")
    chunks = [motion[start + 1 : start + 10].ravel() for start in (0, 9, 18)]
    shared = np.corrcoef(chunks)[np.triu_indices(3, 1)]
    assert np.abs(shared).max() < 0.6  # 54 values each: 0.27 is two deviations


def test_the_mouth_is_reset_at_seams_and_nothing_written_is_changed() -> None:
    drive = toy_clip("c", 19, 0).drive
    trained = part("lips")
    motion = generate_part(trained, drive, first_pose(), SAMPLING, "c")
    counts = np.concatenate([np.arange(10), np.arange(1, 10)])
    np.testing.assert_allclose(motion, first_pose()[:13] + counts[:, None], atol=1e-3)


def test_the_mouth_can_be_carried_on() -> None:
    drive = toy_clip("c", 19, 0).drive
    motion = generate_part(part("lips"), drive, first_pose(), replace(SAMPLING, mouth="carry"), "c")
    np.testing.assert_allclose(motion, first_pose()[:13] + np.arange(19)[:, None], atol=1e-3)


def test_the_joint_model_resets_its_mouth_alone() -> None:
    drive = toy_clip("c", 19, 0).drive
    motion = generate_motion([part("all")], drive, first_pose(), SAMPLING, "c")
    separate = [part(name) for name in parts_of("separate")]
    expected = generate_motion(separate, drive, first_pose(), SAMPLING, "c")
    np.testing.assert_allclose(motion, expected, atol=1e-3)


@pytest.mark.parametrize("overlap", [1, 4])
def test_overlapping_chunks_go_on_from_the_pose_they_share(overlap: int) -> None:
    """Where both chunks agree, as when counting on, blending leaves no trace."""
    drive = toy_clip("c", 37, 0).drive
    sampling = replace(SAMPLING, overlap=overlap)
    motion = generate_part(part("pose"), drive, first_pose(), sampling, "c")
    np.testing.assert_allclose(motion, first_pose()[64:] + np.arange(37)[:, None], atol=1e-3)


def test_overlap_spreads_the_step_of_a_reset_mouth() -> None:
    drive = toy_clip("c", 60, 0).drive
    steps = []
    for overlap in (0, 8):
        sampling = replace(SAMPLING, overlap=overlap)
        motion = generate_part(part("lips", 24), drive, first_pose(), sampling, "c")
        assert len(motion) == 60
        steps.append(np.abs(np.diff(motion[:, 0])).max())
    assert steps[1] < 0.3 * steps[0]


def test_motion_is_assembled_from_the_parts() -> None:
    drive = toy_clip("c", 8, 0).drive
    motion = generate_motion(
        [part(name) for name in parts_of("separate")], drive, first_pose(), SAMPLING, "c"
    )
    assert motion.shape == (8, 70)
    assert motion.dtype == np.float32
    np.testing.assert_allclose(motion, first_pose() + np.arange(8)[:, None], atol=1e-3)
    with pytest.raises(ValueError, match="cover 13 columns"):
        generate_motion([part("lips")], drive, first_pose(), SAMPLING, "c")


def test_samples_depend_on_seed_and_clip_alone() -> None:
    torch.manual_seed(0)
    model = toy_model(6, frames=10).eval()
    torch.nn.init.normal_(model.output.weight)
    trained = TrainedPart("pose", tuple(range(64, 70)), 1, 500, model, MOUTH)
    drive = toy_clip("c", 25, 0).drive
    for sampler in ("ddim", "ancestral", "dpm_solver"):
        sampling = SamplingConfig(sampler, 5, seed=3)  # type: ignore[arg-type]
        one = generate_part(trained, drive, first_pose(), sampling, "c")
        torch.rand(7)
        assert np.array_equal(one, generate_part(trained, drive, first_pose(), sampling, "c"))
        assert not np.array_equal(one, generate_part(trained, drive, first_pose(), sampling, "d"))


def guided_part(null_probability: float) -> TrainedPart:
    torch.manual_seed(0)
    model = toy_model(6, frames=10).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.normal_(std=0.2)
    return TrainedPart("pose", tuple(range(64, 70)), 1, 500, model, MOUTH, null_probability)


def test_guidance_extrapolates_from_unheard_to_heard() -> None:
    trained = guided_part(0.1)
    window = toy_clip("c", 10, 0).drive.window(0, 10, 1)
    conditions = PackedConditions.of([window], torch.zeros(1, 6)).to(torch.device("cpu"))
    noisy, mask = torch.randn(1, 10, 6), torch.ones(1, 10, dtype=torch.bool)
    heard = denoiser_of(trained, conditions, mask)(noisy, 100)
    unheard = denoiser_of(trained, conditions.unheard(), mask)(noisy, 100)
    guided = denoiser_of(trained, conditions, mask, guidance=2.5)(noisy, 100)
    torch.testing.assert_close(guided, unheard + 2.5 * (heard - unheard))
    assert not torch.allclose(heard, unheard, atol=1e-4)


def test_guidance_needs_a_model_trained_for_it() -> None:
    drive = toy_clip("c", 8, 0).drive
    with pytest.raises(ValueError, match=r"part pose was never trained without speech"):
        generate_part(guided_part(0.0), drive, first_pose(), replace(SAMPLING, guidance=2.0), "c")


@pytest.mark.parametrize("target", ["epsilon", "v"])
def test_other_targets_give_the_same_motion_from_equal_knowledge(target: Target) -> None:
    """A model that says the noise, or the velocity, of counting on by one counts on by one."""
    schedule = linear_schedule(500)

    class Other(Counter):
        def denoise(  # type: ignore[override]
            self, noisy: Tensor, steps: Tensor, mask: Tensor, encoded: Tensor
        ) -> Tensor:
            clean = super().denoise(noisy, steps, mask, encoded)
            signal, spread = schedule.weights_of(steps, clean)
            noise = (noisy - signal * clean) / spread
            return target_of(target, schedule, clean, noise, steps)

    config = replace(toy_model(6, frames=10).config, target=target)
    trained = TrainedPart("pose", tuple(range(64, 70)), 1, 500, Other(config), MOUTH)
    motion = generate_part(trained, toy_clip("c", 19, 0).drive, first_pose(), SAMPLING, "c")
    np.testing.assert_allclose(motion, first_pose()[64:] + np.arange(19)[:, None], atol=2e-3)


class Wandering(CMDT):
    """The exact denoiser of a stationary random walk of unit variance that starts at the condition.

    ``x_i = RHO x_(i-1) + noise`` is Markov, so motion drawn chunk by chunk from the last pose has
    the distribution of motion drawn at once. Given the first pose p, the walk is Gaussian with mean
    ``RHO^i p`` and covariance ``RHO^|i-j| - RHO^(i+j)``.
    """

    RHO = 0.9

    def encode(self, conditions: Conditions) -> Tensor:  # type: ignore[override]
        return conditions.first_pose.values.double()

    def denoise(  # type: ignore[override]
        self, noisy: Tensor, steps: Tensor, mask: Tensor, encoded: Tensor
    ) -> Tensor:
        frames = torch.arange(noisy.shape[1], dtype=torch.float64)
        mean = self.RHO ** frames[None, :, None] * encoded
        apart, along = (frames[:, None] - frames).abs(), frames[:, None] + frames
        spread = self.RHO**apart - self.RHO**along
        kept = linear_schedule(500).alpha_bar_of(int(steps[0]))
        seen = kept * spread + (1.0 - kept) * torch.eye(len(frames), dtype=torch.float64)
        gain = kept**0.5 * torch.linalg.solve(seen, spread).T
        return (mean + gain @ (noisy.double() - kept**0.5 * mean)).float()


@pytest.mark.parametrize(
    ("sampler", "count", "spacing", "spread"),
    [
        ("dpm_solver", 20, "log_snr", 0.05),
        # 50 steps with the smaller of the two variances lose some of the walk's own
        ("ancestral", 50, "leading", 0.2),
    ],
)
def test_seams_are_no_larger_than_the_inside_with_an_exact_denoiser(
    sampler: Sampler, count: int, spacing: Spacing, spread: float
) -> None:
    trained = TrainedPart(
        "pose", tuple(range(64, 70)), 1, 500, Wandering(toy_model(6, frames=16).config), MOUTH
    )
    sampling = SamplingConfig(sampler, count, 0, spacing)
    drive = toy_clip("c", 91, 0).drive
    motions = [
        generate_part(trained, drive, first_pose(), sampling, f"clip {number}")
        for number in range(12)
    ]
    report = seam_report(motions, 16)
    assert report is not None
    assert report.seams == 12 * 5
    assert report.seam_step == pytest.approx(report.inside_step, rel=0.1)
    assert report.seam_bend == pytest.approx(report.inside_bend, rel=0.1)
    step = (2.0 * (1.0 - Wandering.RHO) * 2.0 / np.pi) ** 0.5
    assert report.inside_step == pytest.approx(step, rel=spread)
