from pathlib import Path

import numpy as np
import pytest
import torch

from dimitra.assets import asset_path
from dimitra.speech.g2p import GraphemesToPhones


@pytest.fixture(scope="module")
def network() -> GraphemesToPhones:
    return GraphemesToPhones(asset_path("g2p_en"))


@pytest.mark.parametrize(
    ("word", "phones"),
    [("dimitra", "D IH M IY T R AH"), ("zelensky", "Z IH L EH N S K IY"), ("привет", ""), ("", ""),
     ("anthropic", "AE N TH R AH P IH K")],
)  # fmt: skip
def test_words(network: GraphemesToPhones, word: str, phones: str) -> None:
    assert network(word) == tuple(phones.split())


def test_the_unit_is_torchs(network: GraphemesToPhones) -> None:
    w = network._weights
    unit = torch.nn.GRUCell(256, 256, dtype=torch.float64)
    names = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh"}
    unit.load_state_dict({own: torch.from_numpy(w[f"enc_{name}"]) for own, name in names.items()})
    generator = np.random.default_rng(0)
    x, state = generator.normal(size=(2, 256))
    with torch.no_grad():
        expected = unit(torch.from_numpy(x[None]), torch.from_numpy(state[None]))[0].numpy()
    np.testing.assert_allclose(network._step("enc", x, state), expected, atol=1e-12)


def test_other_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", fc_w=np.zeros((3, 4)))
    with pytest.raises(ValueError, match="run `dimitra assets fetch g2p_en`"):
        GraphemesToPhones(tmp_path / "other.npz")
