from dataclasses import replace

import pytest
import torch

from dimitra.cmdt.conditions import Condition, Conditions
from dimitra.cmdt.model import CMDT
from tests.cmdt.corpus import FEATURES, TEXT, toy_model

FRAMES = 20


def live_model(motion: int = 13) -> CMDT:
    """A model whose zero-initialised layers were given weights, so that everything counts."""
    torch.manual_seed(0)
    model = toy_model(motion).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.normal_(std=0.2)
    return model


def conditions(motion: int = 13, batch: int = 2, tokens: int = 6) -> Conditions:
    generator = torch.Generator().manual_seed(1)

    def real(length: int) -> torch.Tensor:
        return torch.ones(batch, length, dtype=torch.bool)

    return Conditions(
        Condition(torch.randn(batch, FRAMES, 3 * FEATURES, generator=generator), real(FRAMES)),
        Condition(torch.randint(0, 42, (batch, FRAMES), generator=generator), real(FRAMES)),
        Condition(torch.randn(batch, tokens, TEXT, generator=generator), real(tokens)),
        Condition(torch.randn(batch, 1, motion, generator=generator), real(1)),
    )


def inputs(motion: int = 13, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    noisy = torch.randn(batch, FRAMES, motion, generator=torch.Generator().manual_seed(2))
    return noisy, torch.tensor([3, 400]), torch.ones(batch, FRAMES, dtype=torch.bool)


@pytest.mark.parametrize("motion", [13, 51, 6])
def test_one_class_serves_the_three_parts_and_starts_at_zero(motion: int) -> None:
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


def test_padded_frames_and_tokens_change_nothing() -> None:
    """A short window padded inside a batch gives what it gives alone."""
    model, given = live_model(), conditions()
    noisy, steps, mask = inputs()
    frames, tokens = 12, 4
    mask = mask.clone()
    mask[1, frames:] = False
    text_mask = given.text.mask.clone()
    text_mask[1, tokens:] = False
    padded = Conditions(
        Condition(given.speech.values, mask),
        Condition(given.phonemes.values, mask),
        Condition(given.text.values, text_mask),
        given.first_pose,
    )
    spoiled = given.speech.values.clone()
    spoiled[1, frames:] = float("nan")
    together = model(noisy, steps, mask, replace(padded, speech=Condition(spoiled, mask)))
    alone = Conditions(
        Condition(given.speech.values[1:, :frames], mask[1:, :frames]),
        Condition(given.phonemes.values[1:, :frames], mask[1:, :frames]),
        Condition(given.text.values[1:, :tokens], text_mask[1:, :tokens]),
        Condition(given.first_pose.values[1:], given.first_pose.mask[1:]),
    )
    expected = model(noisy[1:, :frames], steps[1:], mask[1:, :frames], alone)
    torch.testing.assert_close(together[1:, :frames], expected, atol=1e-5, rtol=1e-4)


def test_normalisation_round_trips_and_is_part_of_the_weights() -> None:
    model = toy_model(6)
    model.shift.copy_(torch.arange(6.0))
    model.scale.copy_(torch.arange(1.0, 7.0))
    motion = torch.randn(3, 6)
    torch.testing.assert_close(model.denormalise(model.normalise(motion)), motion)
    assert {"shift", "scale"} <= set(model.state_dict())


def test_too_long_a_window_is_refused() -> None:
    model = toy_model(13, frames=FRAMES - 1)
    noisy, steps, mask = inputs()
    with pytest.raises(ValueError, match="window of 20 frames, but the model takes 19"):
        model(noisy, steps, mask, conditions())
