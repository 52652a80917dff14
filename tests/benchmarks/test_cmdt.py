"""Which parts `benchmarks/cmdt.py` can measure where, and copies of shards for `loading`."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.cmdt import missing, options_of
from benchmarks.motion.loading import loading, replicate, wait_share, widened
from benchmarks.motion.settings import LEVELS, errors_by_level
from dimitra.cmdt.checkpoint import TrainedPart
from dimitra.cmdt.dataset import MotionClip, ShardCorpus, Windows
from dimitra.shards import ShardWriter, read_npz
from pipelines.params import load
from tests.cmdt.corpus import (
    FEATURES,
    TEXT,
    MemoryCorpus,
    toy_clip,
    toy_corpus,
    toy_model,
    toy_parts,
)

CPU = torch.device("cpu")


def _finished(root: Path) -> Path:
    for part in ("lips", "expression", "pose"):
        (root / "models" / part).mkdir(parents=True)
        (root / "models" / part / "config.json").write_text("{}")
    shards = root / "data" / "shards"
    for name, seed in (("train-toy-00000.tar", 0), ("test-chorus-00000.tar", 5)):
        with ShardWriter(shards / name) as writer:
            for index in range(3):
                clip = toy_clip(f"toy-id-{seed + index}", 40, seed + index)
                writer.add(clip.clip_id, toy_parts(clip))
            writer.finish()
    return root


def test_truth_is_looked_for_under_the_root_and_by_its_own_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = _finished(tmp_path / "run")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "truth" / "chorus").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    options = options_of(["--root", str(root)])
    assert options.truth == root / "truth"
    reason = missing(options, "quality")
    assert reason is not None
    assert str(root / "truth" / "chorus") in reason
    named = options_of(["--root", str(root), "--truth", "truth"])
    assert missing(named, "quality") is None
    (root / "truth" / "chorus").mkdir(parents=True)
    assert missing(options, "quality") is None
    assert missing(options, "settings") is None
    alone = missing(options_of(["--root", str(root), "--samples", "1"]), "settings")
    assert alone is not None
    assert "at least 2" in alone


def test_a_part_asks_for_what_it_reads_and_no_more(tmp_path: Path) -> None:
    root = _finished(tmp_path)
    options = options_of(["--root", str(root)])
    assert missing(options, "seams") is None
    assert missing(options, "loading") is None
    assert missing(options, "settings") is not None
    (root / "models" / "pose" / "config.json").unlink()
    reason = missing(options, "seams")
    assert reason is not None
    assert "pose" in reason
    (root / "data" / "shards" / "train-toy-00000.tar").unlink()
    reason = missing(options, "loading")
    assert reason is not None
    assert "train-*.tar" in reason


def test_errors_by_level_are_those_of_the_corpus_that_is_named() -> None:
    params = load()
    config = toy_model(6).config
    frames = params.model.model_copy(update={"frames": config.frames, "window": 1})
    sized = params.model_copy(update={"model": frames})
    trained = TrainedPart("pose", tuple(range(64, 70)), 1, 500, toy_model(6).eval(), ())
    one = errors_by_level(toy_corpus(4, seed=1), trained, sized, "train")
    two = errors_by_level(toy_corpus(4, seed=2), trained, sized, "test")
    steps = [int(500 * share) for share in LEVELS]
    assert list(one) == [f"train_t_{step}" for step in steps]
    assert list(two) == [f"test_t_{step}" for step in steps]
    assert list(one.values()) != list(two.values())


def test_copies_hold_the_same_clips_under_other_names(tmp_path: Path) -> None:
    shards = sorted((_finished(tmp_path) / "data" / "shards").glob("train-*.tar"))
    made = replicate(shards, tmp_path / "copies", 7)
    first, copies = ShardCorpus(shards), ShardCorpus(made)
    assert len(copies.clip_ids) == 9
    for clip_id in copies.clip_ids:
        own = first.load(clip_id.partition("-")[2])
        clip = copies.load(clip_id)
        np.testing.assert_array_equal(clip.motion, own.motion)
        np.testing.assert_array_equal(clip.drive.features, own.drive.features)


def test_widened_features_repeat_the_clips_own_at_the_papers_rate() -> None:
    clip = toy_clip("toy-id-0", 50, 0)
    parts = widened(toy_parts(clip), 3 * FEATURES + 2, 2 * TEXT)
    speech, text = read_npz(parts["speech.npz"]), read_npz(parts["text.npz"])
    assert float(speech["rate_hz"]) == 50.0
    assert speech["features"].shape == (100, 3 * FEATURES + 2)
    given = clip.drive.features
    middle = speech["features"][50]
    np.testing.assert_array_equal(middle[:FEATURES], given[len(given) // 2])
    np.testing.assert_array_equal(middle[FEATURES : 2 * FEATURES], middle[:FEATURES])
    assert text["tokens"].shape == (*clip.drive.text_tokens.shape[:2], 2 * TEXT)


class SlowCorpus(MemoryCorpus):
    """Clips that take 0.1 s to read."""

    def load(self, clip_id: str) -> MotionClip:
        time.sleep(0.1)
        return super().load(clip_id)


def test_a_quick_trainer_waits_for_slow_batches_and_a_slow_one_hardly() -> None:
    corpus = SlowCorpus([toy_clip(f"toy-id-{index}", 40, index) for index in range(4)])
    windows = Windows(corpus, range(6), 32, 1, 4, 500, seed=0)
    # Four threads make a batch of four clips in 0.1 s or more.
    quick, slow = (wait_share(windows, 9, pause, CPU) for pause in (0.02, 0.4))
    assert quick > 0.6
    assert slow < quick - 0.3


def test_too_few_clips_are_refused(tmp_path: Path) -> None:
    shards = sorted((_finished(tmp_path) / "data" / "shards").glob("train-*.tar"))
    with pytest.raises(ValueError, match="3 clips, but 2 x 4 are needed"):
        loading("sample", shards, 4, 2, 0.1, CPU)
