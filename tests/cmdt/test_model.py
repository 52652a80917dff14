from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given as given_cases
from hypothesis import settings
from hypothesis import strategies as st

from dimitra.cmdt.attention import AttentionKind
from dimitra.cmdt.conditions import CONDITIONS, Condition, ConditionName, Conditions
from dimitra.cmdt.model import CMDT, CMDTConfig
from tests.cmdt.corpus import FEATURES, TEXT, toy_config, toy_model

FRAMES = 20


def live_model(motion: int = 13, **changes: Any) -> CMDT:
    """A model whose zero-initialised layers were given weights, so that everything counts."""
    torch.manual_seed(0)
    model = CMDT(replace(toy_config(motion), **changes)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.normal_(std=0.2)
    return model


def conditions(motion: int = 13, batch: int = 2, tokens: int = 6) -> Conditions:
    generator = torch.Generator().manual_seed(1)

    def real(length: int) -> torch.Tensor:
        return torch.ones(batch, length, dtype=torch.bool)

    speech = torch.randn(batch, FRAMES, 3 * FEATURES, generator=generator)
    phonemes = torch.randint(0, 42, (batch, FRAMES), generator=generator)
    text = torch.randn(batch, tokens, TEXT, generator=generator)
    pose = torch.randn(batch, 1, motion, generator=generator)
    return Conditions(
        Condition("speech", speech, real(FRAMES)),
        Condition("phonemes", phonemes, real(FRAMES)),
        Condition("text", text, real(tokens)),
        Condition("first_pose", pose, real(1)),
    )


def inputs(motion: int = 13, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    noisy = torch.randn(batch, FRAMES, motion, generator=torch.Generator().manual_seed(2))
    return noisy, torch.tensor([3, 400]), torch.ones(batch, FRAMES, dtype=torch.bool)


@pytest.mark.parametrize("motion", [13, 51, 6, 70])
def test_one_class_serves_all_parts_and_starts_at_zero(motion: int) -> None:
    noisy, steps, mask = inputs(motion)
    out = toy_model(motion)(noisy, steps, mask, conditions(motion))
    assert torch.equal(out, torch.zeros(2, FRAMES, motion))


@pytest.mark.parametrize("name", ["speech", "phonemes", "text", "first_pose"])
def test_every_condition_matters_and_can_be_dropped(name: str) -> None:
    model, given = live_model(), conditions()
    noisy, steps, mask = inputs()
    full = model(noisy, steps, mask, given)
    condition: Condition = getattr(given, name)
    flipped = condition.values.flip(0)
    changed = replace(given, **{name: replace(condition, values=flipped)})
    assert not torch.allclose(model(noisy, steps, mask, changed), full, atol=1e-4)
    dropped = replace(given, **{name: condition.dropped()})
    dropped_too = replace(given, **{name: replace(condition, values=flipped).dropped()})
    out = model(noisy, steps, mask, dropped)
    assert torch.isfinite(out).all()
    torch.testing.assert_close(out, model(noisy, steps, mask, dropped_too))


def test_time_matters() -> None:
    model = live_model()
    noisy, steps, mask = inputs()
    first = model(noisy, steps, mask, conditions())
    assert not torch.allclose(first, model(noisy, steps + 50, mask, conditions()), atol=1e-4)


def cut(condition: Condition, length: int) -> Condition:
    """The first sample, ``length`` tokens of it."""
    return Condition(condition.encoder, condition.values[:1, :length], condition.mask[:1, :length])


@settings(max_examples=25, deadline=None)
@given_cases(
    frames=st.integers(1, FRAMES),
    tokens=st.integers(0, 6),
    kind=st.sampled_from(["efficient", "softmax"]),
    junk=st.sampled_from([0.0, 1e4, float("nan")]),
)
def test_padding_in_a_batch_changes_nothing(
    frames: int, tokens: int, kind: AttentionKind, junk: float
) -> None:
    """A clip's output in a batch of longer ones, whatever fills the padding, is its own alone."""
    model, full = live_model(attention=kind), conditions()
    noisy, steps, mask = inputs()
    lengths = {"speech": frames, "phonemes": frames, "text": tokens, "first_pose": 1}

    def padded(condition: Condition) -> Condition:
        real, values = condition.mask.clone(), condition.values.clone()
        real[0, lengths[condition.encoder] :] = False
        if values.is_floating_point():
            values[0, lengths[condition.encoder] :] = junk
        return Condition(condition.encoder, values, real)

    noisy, mask = noisy.clone(), mask.clone()
    noisy[0, frames:] = junk
    mask[0, frames:] = False
    together = model(noisy, steps, mask, full.map(padded))
    alone = full.map(lambda condition: cut(condition, lengths[condition.encoder]))
    expected = model(noisy[:1, :frames], steps[:1], mask[:1, :frames], alone)
    torch.testing.assert_close(together[:1, :frames], expected, atol=2e-5, rtol=1e-4)
    unpadded = model(*inputs(), full)
    torch.testing.assert_close(together[1], unpadded[1], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_any_set_of_conditions_can_be_configured(count: int) -> None:
    """A model without a condition has no weight for it and does not look at it."""
    whole = sum(weight.numel() for weight in live_model().parameters())
    noisy, steps, mask = inputs()
    for names in combinations(CONDITIONS, count):
        model, given = live_model(conditions=names), conditions()
        assert sum(weight.numel() for weight in model.parameters()) < whole
        assert set(model.encoders) == set(names)
        out = model(noisy, steps, mask, given)
        for name in CONDITIONS:
            condition: Condition = getattr(given, name)
            flipped = replace(condition, values=condition.values.flip(0))
            changed = model(noisy, steps, mask, replace(given, **{name: flipped}))
            assert torch.allclose(changed, out, atol=1e-4) == (name not in names)


def test_wrong_conditions_are_refused() -> None:
    for names in (("speech", "speech"), ("speech", "gaze")):
        with pytest.raises(ValueError, match="expected some of speech, phonemes, text, first_pose"):
            replace(toy_config(6), conditions=names)


def test_what_is_heard_is_dropped_sample_by_sample() -> None:
    model, given = live_model(), conditions()
    noisy, steps, mask = inputs()
    mixed = model(noisy, steps, mask, given.unheard(torch.tensor([True, False])))
    heard, unheard = (model(noisy, steps, mask, c) for c in (given, given.unheard()))
    torch.testing.assert_close(mixed[0], unheard[0])
    torch.testing.assert_close(mixed[1], heard[1])
    assert not torch.allclose(heard[0], unheard[0], atol=1e-4)
    assert given.unheard().first_pose.mask.all()


@pytest.mark.parametrize("kind", ["efficient", "softmax"])
def test_the_model_is_one_graph_and_runs_in_bf16(kind: AttentionKind) -> None:
    """Nothing in it stops torch.compile; half precision changes the output by a few percent."""
    model, given = live_model(attention=kind, layers=1), conditions()
    expected = model(*inputs(), given)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*inputs(), given), expected)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(*inputs(), given).float()
    assert (half - expected).abs().max() < 0.05 * expected.abs().max()


def test_every_weight_gets_a_gradient() -> None:
    """None is left out of a training step, as distributed training needs."""
    for kind in ("efficient", "softmax"):
        model = live_model(attention=kind)
        model(*inputs(), conditions()).square().sum().backward()
        missing = [name for name, weight in model.named_parameters() if weight.grad is None]
        assert not missing


def weights_of(conditions: tuple[ConditionName, ...]) -> int:
    """Of the expression model at the widths of the released code (conf/paper.yaml)."""
    config = CMDTConfig(
        motion=51,
        frames=100,
        speech_values=9 * 1024,
        text_values=512,
        width=512,
        speech_hidden=2048,
        feed_forward=1024,
        encoder_feed_forward=2048,
        layers=8,
        heads=8,
        encoder_layers=4,
        encoder_heads=4,
        dropout=0.0,
        conditions=conditions,
    )
    with torch.device("meta"):
        return sum(weight.numel() for weight in CMDT(config).parameters())


def test_with_its_two_conditions_the_model_has_the_released_code_s_size() -> None:
    """docs/cmdt.md has the sum line by line: 122.2 million."""

    def linear(inputs: int, outputs: int) -> int:
        return (inputs + 1) * outputs

    def norm(width: int) -> int:
        return 2 * width

    stylisation = linear(2048, 1024) + norm(512) + linear(512, 512)
    attention = 3 * linear(512, 512) + stylisation
    feed_forward = linear(512, 1024) + linear(1024, 512) + stylisation
    block = norm(512) + attention + 2 * norm(512) + attention + feed_forward
    block += linear(1024, 512) + norm(512)
    layer = 4 * linear(512, 512) + linear(512, 2048) + linear(2048, 512) + 2 * norm(512)
    audio = linear(9216, 2048) + linear(2048, 512) + linear(512, 512) + 4 * layer + norm(512)
    pose = linear(51, 512) + norm(512)
    pools = 2 * linear(512, 2048)
    time = linear(512, 2048) + linear(2048, 2048)
    ends = linear(51, 512) + linear(512, 51) + 100 * 512
    released = 8 * block + audio + pose + pools + time + ends
    assert released == 122_202_675

    query_and_key = 2 * linear(512, 512) + norm(512)  # of the first pose: no influence, not built
    pool_biases = 2 * 2048
    assert weights_of(("speech", "first_pose")) == released - 8 * query_and_key - pool_biases
    assert weights_of(CONDITIONS) == 200_225_843


def test_normalisation_round_trips_and_is_part_of_the_weights() -> None:
    model = toy_model(6)
    model.shift.copy_(torch.arange(6.0))
    model.scale.copy_(torch.arange(1.0, 7.0))
    motion = torch.randn(3, 6)
    torch.testing.assert_close(model.denormalise(model.normalise(motion)), motion)
    assert {"shift", "scale"} <= set(model.state_dict())


def test_the_first_pose_is_normalised_as_the_motion_is() -> None:
    """A model of other units, given the pose in those units, is the same model."""
    model, given = live_model(6), conditions(6)
    expected = model(*inputs(6), given)
    model.shift.copy_(torch.linspace(-1.0, 1.0, 6))
    model.scale.copy_(torch.linspace(0.5, 3.0, 6))
    pose = given.first_pose
    there = replace(given, first_pose=replace(pose, values=model.denormalise(pose.values)))
    torch.testing.assert_close(model(*inputs(6), there), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model(*inputs(6), given), expected, atol=1e-3)


def test_speech_that_is_not_heard_adds_nothing_to_the_frames() -> None:
    model, given = live_model(), conditions()
    heard, unheard = (model.encode(c).speech for c in (given, given.unheard()))
    assert heard is not None
    assert unheard is not None
    assert heard.any(dim=2).all()
    assert not unheard.any()


def test_the_order_of_phonemes_matters() -> None:
    """Attention alone knows no order: the encoder's positions tell it."""
    model, given = live_model(), conditions()
    turned = replace(given.phonemes, values=given.phonemes.values.flip(1))
    noisy, steps, mask = inputs()
    one, two = (model(noisy, steps, mask, c) for c in (given, replace(given, phonemes=turned)))
    assert not torch.allclose(one, two, atol=1e-3)


def test_too_long_a_window_is_refused() -> None:
    model = toy_model(13, frames=FRAMES - 1)
    noisy, steps, mask = inputs()
    with pytest.raises(ValueError, match="window of 20 frames, but the model takes 19"):
        model(noisy, steps, mask, conditions())


def test_frames_start_as_sinusoids_where_asked_and_other_weights_stay() -> None:
    torch.manual_seed(0)
    normal = CMDT(toy_config(6)).state_dict()
    torch.manual_seed(0)
    sinusoid = CMDT(replace(toy_config(6), positions="sinusoid")).state_dict()
    frames = sinusoid.pop("frame_embedding")
    assert not torch.equal(frames, normal.pop("frame_embedding"))
    torch.testing.assert_close(frames[:, 0], torch.arange(len(frames)).float().cos())
    torch.testing.assert_close(frames.square().sum(1), torch.full((len(frames),), 16.0))
    for name, value in normal.items():
        assert torch.equal(value, sinusoid[name])
