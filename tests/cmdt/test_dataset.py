from pathlib import Path

import numpy as np
import pytest
import torch

from dimitra.cmdt.batch import PackedConditions
from dimitra.cmdt.dataset import BadClipError, ShardCorpus, Windows
from dimitra.shards import npz_bytes, write_shard
from tests.cmdt.corpus import MemoryCorpus, toy_clip, toy_corpus, toy_parts

COLUMNS = (0, 3, 69)


def windows(corpus: MemoryCorpus, seed: int = 5, batch: int = 4) -> Windows:
    return Windows(corpus, COLUMNS, 32, 1, batch, 500, seed)


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    one, two = windows(toy_corpus(6)), windows(toy_corpus(6))
    for step in (7, 0):
        two.batch(step)
    first, second = one.batch(3), two.batch(3)
    assert first.clip_ids == second.clip_ids
    for name in ("clean", "noise", "steps", "mask"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert not torch.equal(first.noise[0], windows(toy_corpus(6), seed=6).batch(3).noise[0])


def test_an_epoch_has_every_clip_once() -> None:
    stream = windows(toy_corpus(6), batch=3)
    for epoch in range(3):
        seen = [i for step in (2 * epoch, 2 * epoch + 1) for i in stream.batch(step).clip_ids]
        assert sorted(seen) == [f"c{index:03d}" for index in range(6)]


def test_windows_are_cut_from_their_clip_and_start_at_their_first_pose() -> None:
    corpus = toy_corpus(6)
    batch = windows(corpus).batch(2)
    assert 16 <= batch.clean.shape[1] <= 32
    for row, clip_id in enumerate(batch.clip_ids):
        motion = corpus.load(clip_id).motion[:, list(COLUMNS)]
        window = batch.clean[row].numpy()
        starts = [
            start
            for start in range(len(motion) - len(window) + 1)
            if np.array_equal(motion[start : start + len(window)], window)
        ]
        assert len(starts) == 1
        assert torch.equal(batch.conditions.first_pose.values[row, 0], batch.clean[row, 0])
        phonemes = corpus.load(clip_id).drive.phonemes[starts[0] :][: len(window)]
        np.testing.assert_array_equal(batch.conditions.phonemes.values[row].numpy(), phonemes)


def test_windows_are_of_many_lengths() -> None:
    """So that the last chunk of a motion, which is shorter, is not a new thing to the model."""
    stream = windows(toy_corpus(6))
    lengths = [stream.batch(step).clean.shape[1] for step in range(40)]
    assert min(lengths) < 20
    assert max(lengths) > 28


def test_padded_tokens_of_phonemes_and_text_are_masked() -> None:
    """The toy's text has five tokens in the first two seconds, then two."""
    drive = toy_clip("c", 100, 0).drive
    early, late = drive.window(0, 20, 1), drive.window(80, 12, 1)
    packed = PackedConditions.of([early, late], torch.zeros(2, 6))
    assert packed.text.mask.tolist() == [[True] * 5, [True, True, False, False, False]]
    assert packed.phonemes.mask.sum(1).tolist() == [20, 12]
    assert packed.phonemes.mask[1, :12].all()
    assert torch.equal(packed.text.values[1, :2], late.text)
    assert not packed.text.values[1, 2:].any()
    laid_out = packed.to(torch.device("cpu"))
    assert torch.equal(laid_out.text.mask, packed.text.mask)
    assert torch.equal(laid_out.speech.mask, packed.phonemes.mask)


def test_a_short_clip_is_padded_and_masked() -> None:
    corpus = MemoryCorpus([toy_clip("long", 60, 0), toy_clip("short", 9, 1)])
    batch = windows(corpus, batch=2).batch(0)
    row = batch.clip_ids.index("short")
    assert batch.mask[row].sum() == 9
    assert batch.mask[1 - row].all()
    assert not batch.clean[row, 9:].any()
    assert torch.equal(batch.conditions.speech.mask, batch.mask)


def test_shards_are_read_at_random_as_written(tmp_path: Path) -> None:
    clips = [toy_clip(f"c{index}", 30, index) for index in range(4)]
    for number in (0, 1):
        samples = {clip.clip_id: toy_parts(clip) for clip in clips[number::2]}
        write_shard(tmp_path / f"train-toy-{number:05d}.tar", samples)
    corpus = ShardCorpus(sorted(tmp_path.glob("*.tar")))
    assert corpus.clip_ids == ["c0", "c1", "c2", "c3"]
    for clip in reversed(clips):
        read = corpus.load(clip.clip_id)
        np.testing.assert_array_equal(read.motion, clip.motion)
        np.testing.assert_array_equal(read.drive.features, clip.drive.features)
        assert read.drive.rate_hz == pytest.approx(clip.drive.rate_hz)


def test_a_clip_in_two_shards_is_refused(tmp_path: Path) -> None:
    clip = toy_clip("c0", 30, 0)
    for number in (0, 1):
        write_shard(tmp_path / f"{number:05d}.tar", {"c0": toy_parts(clip)})
    with pytest.raises(ValueError, match="clip c0 .* another shard"):
        ShardCorpus(sorted(tmp_path.glob("*.tar")))


def spoiled(folder: Path, **changes: bytes | None) -> ShardCorpus:
    parts = toy_parts(toy_clip("c0", 30, 0)) | {f"{k}.npz": v for k, v in changes.items()}
    kept = {name: data for name, data in parts.items() if data is not None}
    write_shard(folder / "00000.tar", {"c0": kept})
    return ShardCorpus([folder / "00000.tar"])


@pytest.mark.parametrize("phoneme", [-1, 64, 300])
def test_a_phoneme_that_the_model_does_not_know_is_named(tmp_path: Path, phoneme: int) -> None:
    drive = toy_clip("c0", 30, 0).drive
    drive.phonemes[[7, 9]] = phoneme
    speech = npz_bytes(
        {"features": drive.features, "rate_hz": np.float32(50), "phonemes": drive.phonemes}
    )
    with pytest.raises(BadClipError, match=rf"clip c0: phoneme {phoneme} at frame 7.* 0 to 63;"):
        spoiled(tmp_path, speech=speech).load("c0")


def test_a_clip_without_a_part_or_of_unequal_lengths_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadClipError, match=r"clip c0 has no text\.npz"):
        spoiled(tmp_path, text=None).load("c0")
    motion = toy_parts(toy_clip("c0", 31, 0))["motion.npz"]
    with pytest.raises(BadClipError, match="clip c0: 31 frames of motion but 30 of phonemes"):
        spoiled(tmp_path, motion=motion).load("c0")


def test_a_cache_too_small_for_a_clip_changes_no_batch(tmp_path: Path) -> None:
    clips = [toy_clip(f"c{index}", 60, index) for index in range(5)]
    write_shard(tmp_path / "00000.tar", {clip.clip_id: toy_parts(clip) for clip in clips})
    one, two = (
        Windows(ShardCorpus([tmp_path / "00000.tar"], cache), COLUMNS, 32, 1, 4, 500, 5).batch(3)
        for cache in (0, 1 << 20)
    )
    assert torch.equal(one.clean, two.clean)
    assert torch.equal(one.conditions.speech.values, two.conditions.speech.values)
    assert torch.equal(one.conditions.text.values, two.conditions.text.values)


def test_no_shards_are_refused() -> None:
    with pytest.raises(ValueError, match="no clips"):
        ShardCorpus([])


def test_some_windows_are_unheard_and_nothing_else_changes() -> None:
    corpus = toy_corpus(6)
    plain = windows(corpus)
    some = Windows(corpus, COLUMNS, 32, 1, 4, 500, 5, null_probability=0.5)
    heard = []
    for step in range(20):
        one, two = plain.batch(step), some.batch(step)
        assert torch.equal(one.noise, two.noise)
        assert torch.equal(one.clean, two.clean)
        assert torch.equal(one.conditions.first_pose.mask, two.conditions.first_pose.mask)
        rows = two.conditions.speech.mask.any(dim=1)
        for name in ("phonemes", "text"):
            assert torch.equal(getattr(two.conditions, name).mask.any(dim=1), rows)
        heard += rows.tolist()
    assert 0.3 < sum(heard) / len(heard) < 0.7
