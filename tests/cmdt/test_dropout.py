from dataclasses import replace

import numpy as np
import pytest
import torch

from dimitra.cmdt.dropout import KEYS, Dropout, key, number, scrambled
from dimitra.cmdt.model import CMDT
from tests.cmdt.corpus import toy_config

SHARE = 0.1


def noise(index: int, keys: torch.Tensor, length: int = 100, channels: int = 64) -> torch.Tensor:
    layer = Dropout(SHARE)
    layer.number = index
    key(layer, keys)
    return layer(torch.ones(len(keys), length, channels))


def test_the_hash_is_a_bijection_that_python_integers_agree_with() -> None:
    numbers = torch.cat([torch.arange(2**16), torch.arange(KEYS - 2**16, KEYS)])
    found = scrambled(numbers)
    assert len(found.unique()) == len(numbers)
    assert int(found.min()) >= 0
    assert int(found.max()) < KEYS
    for given, got in zip(numbers[::999].tolist(), found[::999].tolist(), strict=True):
        x = given ^ (given >> 16)
        x = x * 0x21F0AAAD % 2**32
        x ^= x >> 15
        x = x * 0x735A2D97 % 2**32
        assert got == x ^ (x >> 15)


def test_the_share_is_dropped_and_the_mean_kept() -> None:
    keys = torch.randint(0, KEYS, (20,), generator=torch.Generator().manual_seed(0))
    drawn = noise(0, keys)
    assert drawn.unique().tolist() == pytest.approx([0.0, 1.0 / 0.9])
    spread = (SHARE * 0.9 / drawn.numel()) ** 0.5
    assert abs(float((drawn == 0).double().mean()) - SHARE) < 4 * spread


def test_windows_layers_and_neighbours_are_independent() -> None:
    """Correlations within four deviations of what independent draws have; keys in a row, too."""
    keys = torch.arange(20)
    one = (noise(0, keys) == 0).double().numpy()
    pairs = {
        "layer": (one, (noise(1, keys) == 0).double().numpy()),
        "window": (one[:-1], one[1:]),
        "frame": (one[:, :-1], one[:, 1:]),
        "channel": (one[..., :-1], one[..., 1:]),
    }
    for name, (left, right) in pairs.items():
        found = np.corrcoef(left.ravel(), right.ravel())[0, 1]
        assert abs(found) < 4 / left.size**0.5, name


def test_a_window_is_dropped_alike_whatever_stands_beside_it() -> None:
    keys = torch.tensor([7, 1234567, KEYS - 1])
    whole = noise(3, keys)
    assert torch.equal(noise(3, keys[1:2], length=60)[0], whole[1, :60])
    assert not torch.equal(whole[0], whole[1])


def test_every_layer_of_a_model_has_its_own_number_and_no_weight() -> None:
    model = CMDT(replace(toy_config(6), dropout=SHARE))
    layers = [module for module in model.modules() if isinstance(module, Dropout)]
    assert [layer.number for layer in layers] == list(range(len(layers)))
    assert {layer.share for layer in layers} == {SHARE}
    assert not any(isinstance(module, torch.nn.Dropout) for module in model.modules())
    assert model.state_dict().keys() == CMDT(toy_config(6)).state_dict().keys()
    number(model)
    assert [layer.number for layer in layers] == list(range(len(layers)))


def test_without_training_or_share_nothing_is_dropped_and_keys_are_asked_for() -> None:
    values = torch.ones(2, 3, 4)
    assert Dropout(0.0)(values) is values
    assert Dropout(0.5).eval()(values) is values
    with pytest.raises(RuntimeError, match="without keys"):
        Dropout(0.5)(values)
