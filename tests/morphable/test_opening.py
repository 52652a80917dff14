import pytest
import torch

from dimitra.morphable import open_head
from dimitra.morphable.opening import LOWER_LIP, UPPER_LIP, closed_opening, opening_direction


def test_it_is_the_height_between_the_inner_lips_less_that_at_rest():
    model = open_head.load()
    generator = torch.Generator().manual_seed(0)
    identity = torch.randn(80, generator=generator)
    expression = torch.randn(6, 64, generator=generator)
    points = model.landmarks(identity, torch.cat([torch.zeros(1, 64), expression]))
    height = points[:, UPPER_LIP, 1] - points[:, LOWER_LIP, 1]
    found = expression.double().numpy() @ opening_direction(model)
    assert torch.allclose(torch.from_numpy(found).float(), height[1:] - height[0], atol=1e-5)


def test_an_open_jaw_opens_it_and_closed_lips_do_not():
    model = open_head.load()
    assert model.units_to_expression is not None
    units = model.units_to_expression.double().numpy() @ opening_direction(model)
    height = dict(zip(model.unit_names, units, strict=True))
    assert height["jawOpen"] == max(height.values())
    assert height["jawOpen"] > 0.05
    assert height["mouthClose"] < 0.0


def test_resting_lips_are_parted_and_closed_ones_are_below_the_bound():
    model = open_head.load()
    bound = closed_opening(model)
    points = model.landmarks(torch.zeros(80), torch.zeros(1, 64))[0]
    gap = float(points[UPPER_LIP, 1] - points[LOWER_LIP, 1])
    width = float((points[48] - points[54]).norm())
    assert bound == pytest.approx(0.03 * width - gap, abs=1e-5)
    assert bound < 0.0 < gap  # at rest the opening is 0
