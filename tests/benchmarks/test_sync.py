"""The arithmetic of `benchmarks/sync.py`, and what it says where something is missing."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.sync import Embedded, figures, main, shifted
from dimitra.sync.compact import CompactConfig, CompactSyncNet
from dimitra.sync.evaluator import SyncEvaluator
from dimitra.sync.protocol import SAMPLES_PER_FRAME


@pytest.mark.parametrize("frames", [-3, 0, 4])
def test_a_moved_sound_comes_that_many_frames_earlier_and_silence_fills_up(frames: int) -> None:
    samples = np.random.default_rng(0).normal(size=30 * SAMPLES_PER_FRAME).astype(np.float32)
    moved = shifted(samples, frames)
    by = frames * SAMPLES_PER_FRAME
    for at in range(0, len(samples), 997):
        source = at + by
        expected = samples[source] if 0 <= source < len(samples) else 0.0
        assert moved[at] == expected


def test_figures_find_the_moved_sound_where_lips_are_the_sounds_own_embeddings() -> None:
    network = CompactSyncNet(CompactConfig()).eval()
    evaluator = SyncEvaluator(network, "mouth")
    clips = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        sound = rng.normal(size=80 * SAMPLES_PER_FRAME).astype(np.float32)
        loudness = np.repeat(rng.uniform(0.01, 0.3, 160), SAMPLES_PER_FRAME // 2)
        samples = (sound * loudness).astype(np.float32)
        clips.append(Embedded(f"c{seed}", evaluator.sound(samples, 80), 80, samples))
    found = figures(evaluator, clips, {"c0": "c1", "c1": "c0"})
    assert found["clips"] == 2
    assert found["offset_ok"] == found["shifted_ok"] == found["swapped_lower_ok"] == 1.0
    assert found["distance"] < 1e-3
    alone = figures(evaluator, clips[:1], {})
    assert np.isnan(alone["confidence_swapped"])


def test_a_missing_network_and_an_empty_folder_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(tmp_path)]) == 1
    assert f"{tmp_path / 'evaluators' / 'sync'} holds no network" in capsys.readouterr().err
    assert main(["--videos", str(tmp_path)]) == 1
    assert f"{tmp_path} holds no .mp4" in capsys.readouterr().err
