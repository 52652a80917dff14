"""The training on a small world in which sound and mouth follow one signal."""

import dataclasses

import numpy as np
import pytest
import torch

from dimitra.sync import compact
from dimitra.sync.compact import CompactConfig
from dimitra.sync.evaluator import SyncEvaluator, TooShortError, score_of
from dimitra.sync.training import (
    SyncClip,
    SyncTraining,
    SyncTrainingError,
    contrastive_loss,
    draw,
    train,
)

CONFIG = SyncTraining(steps=60, clips=3, windows=10, learning_rate=2e-3)


def clip(number, frames=120):
    random = np.random.default_rng(number)
    opening = np.convolve(random.uniform(0, 1, frames + 4), np.ones(5) / 5, "valid")
    opening = (opening - opening.min()) / np.ptp(opening)
    mouths = np.full((frames, 40, 40, 3), 150, np.uint8)
    for picture, share in zip(mouths, opening, strict=True):
        half = 1 + int(share * 12)
        picture[20 - half : 20 + half, 10:30] = 30
    rows = np.repeat(opening, 4)[:, None] * 5 + random.normal(0, 0.3, (frames * 4, 13))
    return SyncClip(f"c{number}", mouths, rows.astype(np.float32), frames * 640)


def embed(network, item):
    windows = item.windows
    frames = np.arange(windows)[:, None] + np.arange(5)
    from dimitra.sync.protocol import sound_windows

    with torch.no_grad():
        lips = network.lips(torch.from_numpy(item.mouths[frames])).numpy()
        sound = network.sound(torch.from_numpy(sound_windows(item.mfcc, windows))).numpy()
    return lips, sound


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    return train([clip(n) for n in range(4)], CompactConfig(4, 16), CONFIG, seed=5)


def test_it_finds_the_offset_of_unseen_clips(trained):
    network, curve = trained
    assert len(curve) == CONFIG.steps
    assert curve[-1].loss < 0.8 * curve[0].loss
    for number in (10, 11, 12):
        lips, sound = embed(network, clip(number))
        assert score_of(lips, sound).offset == 0
        assert score_of(lips[7:], sound[:-7]).offset == -7
        assert score_of(lips[:-7], sound[7:]).offset == 7


def test_same_seed_same_bytes_and_another_seed_others(tmp_path, trained):
    again, _ = train([clip(n) for n in (3, 1, 0, 2)], CompactConfig(4, 16), CONFIG, seed=5)
    short = dataclasses.replace(CONFIG, steps=2)
    other, _ = train([clip(n) for n in range(4)], CompactConfig(4, 16), short, seed=6)
    for name, network in (("a", trained[0]), ("b", again), ("c", other)):
        compact.save(tmp_path / name, network, {"seed": 5})
    one, two, three = ((tmp_path / n / compact.WEIGHTS).read_bytes() for n in "abc")
    assert one == two != three
    lips, sound = embed(compact.load(tmp_path / "a"), clip(10))
    np.testing.assert_array_equal(lips, embed(trained[0], clip(10))[0])
    np.testing.assert_allclose(np.linalg.norm(sound, axis=1), 1.0, atol=1e-5)


def test_draws_follow_from_seed_step_and_clip():
    first = draw(clip(0), CONFIG, 1, 2)
    again = draw(clip(0), CONFIG, 1, 2)
    other = draw(clip(0), CONFIG, 1, 3)
    assert first[0].shape == (10, 5, 36, 36, 3)
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def test_the_loss_in_closed_form():
    lips = torch.eye(4)
    loss, accuracy = contrastive_loss(lips, lips, torch.tensor(3.0))
    # own distance 0, three others at squared distance 2: log(1 + 3 exp(-6))
    assert float(loss) == pytest.approx(np.log1p(3 * np.exp(-6)), abs=1e-6)
    assert accuracy == 1.0


def test_bad_input_is_named():
    with pytest.raises(SyncTrainingError, match=r"none of 1 training clips has 20 windows"):
        train([clip(0, frames=20)], CompactConfig(4, 16), CONFIG, seed=0)
    bad = clip(1)
    bad.mfcc[:] = np.nan
    with pytest.raises(SyncTrainingError, match=r"step 0: the loss is nan, on the clips c1"):
        train([bad], CompactConfig(4, 16), CONFIG, seed=0)


def test_short_clips_are_refused_by_the_evaluator(trained):
    evaluator = SyncEvaluator(trained[0], "mouth")
    with pytest.raises(TooShortError, match="30 windows.*needs 31"):
        evaluator.sound(np.zeros(35 * 640, np.float32), 35)
    points = np.random.default_rng(0).uniform(60, 120, (40, 68, 2))
    frames = list(np.random.default_rng(1).integers(0, 255, (40, 256, 256, 3), np.uint8))
    lips = evaluator.lips(frames, points, np.ones(40, bool))
    assert lips.shape == (35, 16)


def test_no_network_says_what_trains_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pipelines\.train_sync"):
        compact.load(tmp_path)
