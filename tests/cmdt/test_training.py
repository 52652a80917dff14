from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dimitra.cmdt import checkpoint
from dimitra.cmdt.dataset import Windows
from dimitra.cmdt.loss import LossWeights
from dimitra.cmdt.model import CMDT, CMDTConfig
from dimitra.cmdt.peers import Group
from dimitra.cmdt.resume import STATE, StepRecord
from dimitra.cmdt.training import (
    TrainingConfig,
    TrainingDivergedError,
    learning_rate_at,
    train,
    train_step,
)
from dimitra.diffusion.schedule import linear_schedule
from dimitra.diffusion.target import Target, target_of
from dimitra.learning.pace import StepTiming, deterministic, ema_decay_at
from dimitra.learning.state import StateError, TrainingState
from tests.cmdt.corpus import MemoryCorpus, toy_clip, toy_config, toy_corpus, toy_model

CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    steps=6,
    learning_rate=2e-3,
    grad_clip=1.0,
    ema=0.9,
    loss_weights=LossWeights(6.0, 1.0, 2.0),
    diffusion_steps=500,
    weighting="snr",
)


def run(
    config: TrainingConfig, corpus: MemoryCorpus, sizes: CMDTConfig | None = None
) -> tuple[CMDT, list[StepRecord]]:
    torch.manual_seed(0)
    model = CMDT(sizes or toy_config(6))
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
    assert rows[0] == "step,loss,diffusion,first_pose,velocity,grad_norm,learning_rate"
    assert len(rows) == 1 + CONFIG.steps


def test_the_loss_falls() -> None:
    _, curve = run(replace(CONFIG, steps=60), toy_corpus(5))
    assert [record.step for record in curve] == list(range(60))
    start = sum(record.diffusion for record in curve[:5])
    end = sum(record.diffusion for record in curve[-5:])
    assert end < 0.5 * start
    record = curve[10]
    weighted = 6.0 * record.diffusion + record.first_pose + 2.0 * record.velocity
    assert record.loss == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize("target", ["epsilon", "v"])
def test_the_loss_is_that_of_the_configured_target(target: Target) -> None:
    """At the start the model says zero, so the loss is the target's own power."""
    torch.manual_seed(0)
    model = CMDT(replace(toy_config(6), target=target))
    windows = Windows(toy_corpus(5), range(64, 70), 32, 1, 4, 500, seed=1)
    with deterministic(1):
        curve = train(
            model, windows, replace(CONFIG, steps=1, loss_space="target", weighting="uniform"), CPU
        )
    batch = windows.batch(0)
    goal = target_of(target, linear_schedule(500), batch.clean, batch.noise, batch.steps)
    assert curve[0].diffusion == pytest.approx(goal[batch.mask].square().mean().item(), rel=1e-4)


def test_errors_of_v_can_be_counted_in_the_motion() -> None:
    """At the start the model says v = 0: x_0 is then off by sqrt(1 - abar) times v."""
    torch.manual_seed(0)
    model = CMDT(replace(toy_config(6), target="v"))
    windows = Windows(toy_corpus(5), range(64, 70), 32, 1, 4, 500, seed=1)
    with deterministic(1):
        curve = train(
            model, windows, replace(CONFIG, steps=1, loss_space="x0", weighting="uniform"), CPU
        )
    batch = windows.batch(0)
    kept = (1.0 - torch.linspace(0.0002, 0.04, 500, dtype=torch.float64)).cumprod(0)
    kept = kept[batch.steps][:, None, None]
    v = kept.sqrt() * batch.noise - (1.0 - kept).sqrt() * batch.clean
    error = ((1.0 - kept) * v.square()).mean(-1)
    assert curve[0].diffusion == pytest.approx(error[batch.mask].mean().item(), rel=1e-4)


def test_the_loss_is_counted_in_normalised_motion() -> None:
    """At the start the model says zero, so the loss is the power of (motion - shift) / scale."""
    torch.manual_seed(0)
    model = toy_model(6)
    shift, scale = torch.linspace(-0.5, 0.5, 6), torch.linspace(0.2, 3.0, 6)
    model.shift.copy_(shift)
    model.scale.copy_(scale)
    windows = Windows(toy_corpus(5), range(64, 70), 32, 1, 4, 500, seed=1)
    with deterministic(1):
        curve = train(model, windows, replace(CONFIG, steps=1, weighting="uniform"), CPU)
    batch = windows.batch(0)
    power = ((batch.clean - shift) / scale).square().mean(-1)[batch.mask].mean()
    assert curve[0].diffusion == pytest.approx(power.item(), rel=1e-4)
    assert torch.equal(model.shift, shift)


def test_a_large_gradient_is_cut_to_its_limit() -> None:
    """Plain descent with rate 1 moves the weights by as much as the gradient is long."""
    torch.manual_seed(0)
    model = toy_model(6)
    config = replace(CONFIG, learning_rate=1.0, grad_clip=0.01, steps=10)
    batch = Windows(toy_corpus(5), range(64, 70), 32, 1, 4, 500, seed=1).batch(0)
    before = torch.nn.utils.parameters_to_vector(model.parameters()).clone()
    step = config.steps // 10  # the rate is at its peak
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    record, _ = train_step(model, model, batch, linear_schedule(500), optimiser, step, config)
    moved = torch.nn.utils.parameters_to_vector(model.parameters()) - before
    assert record.grad_norm > 10 * config.grad_clip
    assert record.learning_rate == pytest.approx(1.0)
    assert moved.norm().item() == pytest.approx(config.grad_clip, rel=1e-3)


def test_errors_are_weighed_by_the_level_of_their_window() -> None:
    """At the start the model says zero, so the loss is the clean motion's power, weighed."""
    torch.manual_seed(0)
    windows = Windows(
        toy_corpus(5), range(64, 70), 32, 1, 4, 500, seed=5
    )  # levels 28, 446, 102, 282
    with deterministic(1):
        curve = train(CMDT(toy_config(6)), windows, replace(CONFIG, steps=1), CPU)
    batch = windows.batch(0)
    betas = torch.linspace(0.0002, 0.04, 500, dtype=torch.float64)
    kept = (1.0 - betas).cumprod(0)
    weights = (kept / (1.0 - kept)).clamp(1.0, 5.0)
    weights = (weights / weights.mean())[batch.steps]
    assert weights.unique().numel() > 1
    weighed = batch.clean.square().mean(-1) * weights[:, None]
    assert curve[0].diffusion == pytest.approx(weighed[batch.mask].mean().item(), rel=1e-4)


def test_bad_values_stop_training_and_name_the_clips() -> None:
    clip = toy_clip("spoiled", 40, 0)
    clip.motion[:, 66] = float("nan")
    with pytest.raises(TrainingDivergedError, match=r"step 0: the loss is nan.*spoiled"):
        run(CONFIG, MemoryCorpus([clip]))


def test_a_gradient_that_is_no_number_stops_training_and_names_the_clips(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Spoiled(torch.autograd.Function):
        """The same value, and a gradient that is infinite."""

        @staticmethod
        def forward(ctx: object, value: torch.Tensor) -> torch.Tensor:
            return value.clone()

        @staticmethod
        def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
            return gradient * float("inf")

    forward = CMDT.forward
    monkeypatch.setattr(
        CMDT, "forward", lambda self, *args, **kw: Spoiled.apply(forward(self, *args, **kw))
    )
    with pytest.raises(TrainingDivergedError, match=r"step 0: the loss is \d.*norm (inf|nan).*toy"):
        run(CONFIG, MemoryCorpus([toy_clip("toy", 40, 0)]))


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


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_resumed_training_is_the_unbroken_one(dropout: float) -> None:
    config = replace(CONFIG, steps=9)
    sizes = replace(toy_config(6), dropout=dropout)
    unbroken, curve = run(config, toy_corpus(5), sizes)
    states: list[TrainingState[StepRecord]] = []
    torch.manual_seed(0)
    windows = Windows(toy_corpus(5), range(64, 70), 32, 1, 4, 500, seed=1)
    with deterministic(1):
        train(CMDT(sizes), windows, config, CPU, save_every=4, on_state=states.append)
    assert [state.steps for state in states] == [4, 8, 9]
    saved = [STATE.decode(state.to_bytes("key"), "key") for state in states]
    for state in saved:
        torch.manual_seed(99)  # other first weights: the state must bring its own
        model = CMDT(sizes)
        with deterministic(1):
            again = train(model, windows, config, CPU, resumed=state)
        assert again == curve
        for name, value in unbroken.state_dict().items():
            assert torch.equal(model.state_dict()[name], value), name
    assert (curve == run(config, toy_corpus(5))[1]) == (dropout == 0.0)
    assert saved[-1].averaged().keys() == dict(unbroken.named_parameters()).keys()
    for name, value in saved[-1].averaged().items():
        assert torch.equal(value, unbroken.state_dict()[name])


def test_a_state_of_another_training_is_refused() -> None:
    states: list[TrainingState[StepRecord]] = []
    windows = Windows(toy_corpus(5), range(64, 70), 32, 1, 4, 500, seed=1)
    train(toy_model(6), windows, replace(CONFIG, steps=1), CPU, on_state=states.append)
    data = states[0].to_bytes("key")
    with pytest.raises(StateError, match="belongs to training 'key'"):
        STATE.decode(data, "other")
    for damaged in (data[: len(data) // 2], b"", b"\xff" * 64):
        with pytest.raises(StateError, match="cannot be read"):
            STATE.decode(damaged, "key")
    with pytest.raises(StateError, match=r"another model's: .* weights differ, for example"):
        train(toy_model(6, width=16), windows, CONFIG, CPU, resumed=states[0])


def test_batches_made_ahead_change_nothing() -> None:
    curves = []
    for ahead in (0, 1, 3):
        torch.manual_seed(0)
        windows = Windows(toy_corpus(5), range(64, 70), 32, 1, 4, 500, seed=1)
        with deterministic(1):
            curves.append(train(toy_model(6), windows, CONFIG, CPU, ahead=ahead))
    assert curves[0] == curves[1] == curves[2]


def test_every_step_says_how_long_it_took_and_waited() -> None:
    timings: list[StepTiming] = []
    windows = Windows(toy_corpus(5), range(64, 70), 32, 1, 4, 500, seed=1)
    train(toy_model(6), windows, CONFIG, CPU, lambda _, timing: timings.append(timing))
    assert len(timings) == CONFIG.steps
    for step, timing in enumerate(timings):
        assert 0 <= timing.wait_s <= timing.step_s
        assert timing.frames == int(windows.batch(step).mask.sum())


@pytest.mark.parametrize("peers", [2, 3, 4])
def test_shares_of_a_batch_are_the_batch(peers: int) -> None:
    windows = Windows(toy_corpus(5), range(64, 70), 32, 1, 4, 500, seed=1)
    whole = windows.batch(3)
    for rank in range(peers):
        share = windows.batch(3, rank, peers)
        rows = list(range(rank, 4, peers))
        assert share.clip_ids == tuple(whole.clip_ids[row] for row in rows)
        length = share.clean.shape[1]
        assert torch.equal(share.clean, whole.clean[rows, :length])
        assert torch.equal(share.noise, whole.noise[rows, :length])
        assert torch.equal(share.steps, whole.steps[rows])
        assert torch.equal(share.keys, whole.keys[rows])
        assert torch.equal(share.mask, whole.mask[rows, :length])


def test_more_processes_than_windows_are_refused() -> None:
    windows = Windows(toy_corpus(5), range(64, 70), 32, 1, 4, 500, seed=1)
    with pytest.raises(ValueError, match="5 processes cannot share a batch of 4 windows"):
        train(toy_model(6), windows, CONFIG, CPU, peers=Group(0, 5))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_bfloat16_on_a_gpu_learns_like_float32() -> None:
    ends = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        windows = Windows(toy_corpus(5), range(64, 70), 32, 1, 4, 500, seed=1)
        config = replace(CONFIG, steps=60, precision=precision)
        curve = train(toy_model(6), windows, config, torch.device("cuda"))
        ends[precision] = sum(record.diffusion for record in curve[-10:])
    assert ends["bfloat16"] == pytest.approx(ends["float32"], rel=0.1)


def test_bfloat16_stays_near_float32_on_the_cpu() -> None:
    full, curve = run(CONFIG, toy_corpus(5))
    half, rounded = run(replace(CONFIG, precision="bfloat16"), toy_corpus(5))
    assert full.output.weight.dtype == half.output.weight.dtype == torch.float32
    assert curve != rounded
    assert [r.diffusion for r in rounded] == pytest.approx([r.diffusion for r in curve], rel=0.05)
