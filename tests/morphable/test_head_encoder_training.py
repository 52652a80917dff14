from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from dimitra.morphable import open_head
from dimitra.morphable.head_encoder import WINDOW_DM, HeadEncoder, HeadEstimate
from dimitra.morphable.head_encoder_training import (
    REGIONS,
    SHAPE_DM,
    HeadSet,
    Objective,
    TrainingSettings,
    check,
    random_windows,
    train,
)
from dimitra.sample.heads import draw_heads


@pytest.fixture(scope="module")
def model():
    return open_head.load()


@pytest.fixture(scope="module")
def heads(model):
    drawn = draw_heads(model, 11, 0, 48, 96)
    labels = {
        field.name: torch.from_numpy(getattr(drawn, field.name))
        for field in fields(drawn)
        if field.name != "images"
    }
    return HeadSet(drawn.images, **labels)


def _truth(heads, count):
    return HeadEstimate(
        heads.identity[:count],
        heads.expression[:count],
        heads.angles[:count],
        torch.zeros(count, 2),
        torch.zeros(count),
    )


def test_the_shape_loss_is_the_weighted_distance_of_the_vertices(model, heads):
    true = _truth(heads, 4)
    noise = torch.Generator().manual_seed(0)
    seen = replace(
        true,
        identity=true.identity + 0.3 * torch.randn(4, 80, generator=noise),
        expression=true.expression + 0.3 * torch.randn(4, 64, generator=noise),
    )
    error = model.vertices(seen.identity, seen.expression) - model.vertices(
        true.identity, true.expression
    )
    weights = torch.zeros(len(model.mean))
    for name, weight in REGIONS.items():
        weights[model.part(name).bool()] = weight
    squared = (error.square().sum(-1) * weights).sum(1) / weights.sum() / SHAPE_DM**2
    change = (seen.expression - true.expression) / heads.expression.std(0).clamp_min(0.05)
    at_rest = Objective(model, heads)(true, true)
    wanted = (squared + 1e-3).sqrt() - 1e-3**0.5 + 2 * change.square().mean(1)
    torch.testing.assert_close(
        Objective(model, heads)(seen, true) - at_rest, wanted, rtol=1e-4, atol=1e-4
    )


def test_windows_and_what_is_said_of_them_lead_back_to_the_label(heads):
    picks = torch.arange(48)
    windows, true = random_windows(heads, picks, torch.Generator().manual_seed(1))
    origin = windows[:, :2] + true.origin * windows[:, 2:]
    torch.testing.assert_close(origin, heads.origin, rtol=0, atol=1e-3)
    scale = windows[:, 2] * true.scale.exp() / WINDOW_DM
    torch.testing.assert_close(scale, heads.scale, rtol=1e-5, atol=0)
    assert float(true.scale.min()) < -0.2
    assert float(true.scale.abs().min()) < 0.02


def test_training_learns_and_repeats_itself(model, heads):
    settings = TrainingSettings(steps=30, batch=16, warmup=5, seed=4)
    losses: list[float] = []
    first = train(model, heads, settings, watch=lambda _, loss: losses.append(loss))
    second = train(model, heads, settings)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    result = check(first, model, heads)
    assert len(result.correlation) == 64
    assert result.mouth_dm > 0


def test_a_perfect_encoder_has_no_errors(model, heads):
    class Perfect(HeadEncoder):
        def forward(self, windows):
            picks = torch.arange(len(windows))
            return _truth(heads, len(picks))

    result = check(Perfect(4).eval(), model, heads)
    assert result.rotation_deg < 0.1
    assert result.mouth_dm < 1e-6
    assert min(result.correlation[:13]) > 0.999


def test_too_few_heads_are_refused(model, heads):
    with pytest.raises(ValueError, match="48 heads are fewer than a batch of 64"):
        train(model, heads, TrainingSettings(steps=1))


def test_the_loss_is_computed_where_the_estimates_are(model, heads):
    """On the meta device, which like a GPU refuses to mix with the CPU."""
    there = HeadEstimate(*(value.to("meta") for value in vars(_truth(heads, 4)).values()))
    assert Objective(model, heads, "meta")(there, there).device.type == "meta"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_a_gpu_learns(model, heads):
    losses: list[float] = []
    settings = TrainingSettings(steps=30, batch=16, warmup=5, seed=4)
    train(model, heads, settings, HeadEncoder().cuda(), lambda _, loss: losses.append(loss))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
