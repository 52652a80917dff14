"""Arithmetic of the motion model's benchmark; nothing is timed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.cmdt import crossing
from benchmarks.motion import costs
from benchmarks.motion.costs import TwoAttentionBlock, profile_config, synthetic_batch
from benchmarks.motion.sampling import SETTINGS, correlation, truth_of
from dimitra.cmdt.blocks import Memory
from dimitra.cmdt.model import CMDT
from dimitra.diffusion.schedule import linear_schedule
from dimitra.diffusion.spacing import spaced_steps
from tests.cmdt.corpus import toy_clip


def test_the_crossing_is_the_length_from_which_efficient_attention_stays_faster() -> None:
    rows = [
        {"frames": frames, "efficient_s": efficient, "softmax_s": softmax}
        for frames, efficient, softmax in (
            (50, 0.9, 1.0),
            (100, 1.9, 1.8),
            (200, 3.0, 4.0),
            (400, 6.0, 16.0),
            (800, 12.0, None),
        )
    ]
    assert crossing(rows) == 200
    assert crossing(rows[:2]) is None


def test_correlation_ignores_offset_and_scale() -> None:
    truth = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    assert correlation(3.0 * truth + 1.0, truth) == pytest.approx(1.0, abs=1e-5)
    assert correlation(-truth, truth) == pytest.approx(-1.0, abs=1e-5)
    assert correlation(np.zeros_like(truth), truth) == pytest.approx(0.0)


def test_synthetic_windows_fit_both_profiles() -> None:
    config = profile_config("sample", frames=20)
    data = synthetic_batch(config, 2, 20, torch.device("cpu"))
    assert data.mask.sum() == 20 + 18
    out = CMDT(config)(data.clean, data.steps, data.mask, data.conditions)
    assert out.shape == (2, 20, 51)
    paper = profile_config("paper")
    assert (paper.width, paper.layers, paper.speech_values) == (512, 8, 9216)


def test_the_block_of_two_attentions_starts_as_the_identity() -> None:
    block = TwoAttentionBlock(16, 24, 64, 4)
    stream, style = torch.randn(2, 9, 16), torch.randn(2, 64)
    full = torch.ones(2, 9, dtype=torch.bool)
    text = block.cross_attention.read(Memory(torch.randn(2, 5, 16), full[:, :5]))
    torch.testing.assert_close(block(stream, full, style, text), stream)


def test_every_setting_is_one_that_the_schedule_offers() -> None:
    for _, spacing, count in SETTINGS:
        assert len(spaced_steps(linear_schedule(500), count, spacing)) == count


def test_truth_is_found_by_clip_and_must_have_its_length(tmp_path: Path) -> None:
    clip = toy_clip("toy-id-0", 12, 0)
    assert truth_of(clip, tmp_path) is None
    (tmp_path / "toy").mkdir()
    arrays = {"expression": clip.motion[:, :64], "pose": clip.motion[:, 64:]}
    np.savez(tmp_path / "toy" / "toy-id-0.npz", **arrays)
    found = truth_of(clip, tmp_path)
    assert found is not None
    np.testing.assert_array_equal(found, clip.motion)
    assert truth_of(toy_clip("toy-id-0", 13, 0), tmp_path) is None


@pytest.mark.parametrize(("bf16", "expected"), [(False, torch.float32), (True, torch.bfloat16)])
def test_a_timed_step_runs_in_the_precision_that_it_is_named_for(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, expected: torch.dtype
) -> None:
    seen: set[torch.dtype] = set()

    class Watched(CMDT):
        def denoise(self, *given: Any, **named: Any) -> torch.Tensor:
            out = super().denoise(*given, **named)
            seen.add(out.dtype)
            return out

    monkeypatch.setattr(costs, "CMDT", Watched)
    found = costs.step_case("sample", 2, 1, torch.device("cpu"), bf16, compiled=False)
    assert seen == {expected}
    assert found["flops_per_step"] > 0
