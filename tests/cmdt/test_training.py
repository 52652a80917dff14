from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dimitra.cmdt import checkpoint
from dimitra.cmdt.dataset import Windows
from dimitra.cmdt.model import CMDT
from dimitra.cmdt.training import (
    StepRecord,
    TrainingConfig,
    TrainingDivergedError,
    deterministic,
    ema_decay_at,
    learning_rate_at,
    train,
)
from dimitra.diffusion.schedule import linear_schedule
from dimitra.diffusion.target import Target, target_of
from tests.cmdt.corpus import MemoryCorpus, toy_clip, toy_config, toy_corpus, toy_model

CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    steps=6,
    learning_rate=2e-3,
    grad_clip=1.0,
    ema=0.9,
    loss_weight=6.0,
    first_pose_weight=1.0,
    diffusion_steps=500,
)


def run(config: TrainingConfig, corpus: MemoryCorpus) -> tuple[CMDT, list[StepRecord]]:
    torch.manual_seed(0)
    model = toy_model(6)
    windows = Windows(corpus, range(64, 70), 32, 1, 4, config.diffusion_steps, seed=1)
    with deterministic(1):
        curve = train(model, windows, config, CPU)
    return model, curve


def test_a_repeat_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        model, curve = run(CONFIG, toy_corpus(5))
        trained = checkpoint.TrainedPart(
            "pose", tuple(range(64, 70)), 1, 500, model, tuple(range(13))
        )
        checkpoint.save(tmp_path / name, trained, CONFIG, 1, curve)
    for file in (checkpoint.WEIGHTS, checkpoint.CONFIG, checkpoint.CURVE):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    read = checkpoint.load(tmp_path / "one")
    assert (read.part, read.columns, read.speech_window) == ("pose", tuple(range(64, 70)), 1)
    for name, value in model.state_dict().items():
        assert torch.equal(read.model.state_dict()[name], value)
    rows = (tmp_path / "one" / checkpoint.CURVE).read_text().splitlines()
    assert rows[0] == "step,loss,diffusion,first_pose,grad_norm,learning_rate"
    assert len(rows) == 1 + CONFIG.steps


def test_the_loss_falls() -> None:
    _, curve = run(replace(CONFIG, steps=60), toy_corpus(5))
    assert [record.step for record in curve] == list(range(60))
    start = sum(record.diffusion for record in curve[:5])
    end = sum(record.diffusion for record in curve[-5:])
    assert end < 0.5 * start
    record = curve[10]
    assert record.loss == pytest.approx(6.0 * record.diffusion + record.first_pose, rel=1e-5)


@pytest.mark.parametrize("target", ["epsilon", "v"])
def test_the_loss_is_that_of_the_configured_target(target: Target) -> None:
    """At the start the model says zero, so the loss is the target's own power."""
    torch.manual_seed(0)
    model = CMDT(replace(toy_config(6), target=target))
    windows = Windows(toy_corpus(5), range(64, 70), 32, 1, 4, 500, seed=1)
    with deterministic(1):
        curve = train(model, windows, replace(CONFIG, steps=1, loss_space="target"), CPU)
    batch = windows.batch(0)
    goal = target_of(target, linear_schedule(500), batch.clean, batch.noise, batch.steps)
    assert curve[0].diffusion == pytest.approx(goal[batch.mask].square().mean().item(), rel=1e-4)


def test_bad_values_stop_training_and_name_the_clips() -> None:
    clip = toy_clip("spoiled", 40, 0)
    clip.motion[:, 66] = float("nan")
    with pytest.raises(TrainingDivergedError, match=r"step 0: the loss is nan.*spoiled"):
        run(CONFIG, MemoryCorpus([clip]))


def test_the_averaged_weights_are_kept() -> None:
    last, _ = run(replace(CONFIG, ema=0.0), toy_corpus(5))
    averaged, _ = run(CONFIG, toy_corpus(5))
    assert not torch.equal(last.output.weight, averaged.output.weight)
    assert ema_decay_at(0, 0.99) == pytest.approx(0.1)
    assert ema_decay_at(10_000, 0.99) == 0.99


def test_learning_rate_rises_then_falls_to_zero() -> None:
    config = replace(CONFIG, steps=100)
    rates = [learning_rate_at(step, config) for step in range(100)]
    assert max(rates) == pytest.approx(config.learning_rate)
    assert rates.index(max(rates)) in {4, 5}
    assert rates[0] == pytest.approx(config.learning_rate / 5)
    assert rates[-1] < 0.001 * config.learning_rate


def test_a_missing_model_says_how_to_train_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m pipelines\.train --part lips"):
        checkpoint.load(tmp_path / "lips")
