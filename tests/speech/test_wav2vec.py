"""wav2vec 1.0: seeded networks in fairseq's checkpoint layout, against the formulas in NumPy."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dimitra.speech.errors import WeightsError
from dimitra.speech.grid import GridEncoder
from dimitra.speech.wav2vec import Wav2Vec, Wav2VecNetwork, Wav2VecSettings
from tests.speech.signals import boats

EXTRACTOR = ((6, 10, 5), (6, 8, 4), (6, 4, 2), (6, 4, 2), (6, 4, 2), (6, 1, 1), (6, 1, 1))
AGGREGATOR = ((6, 2, 1), (5, 3, 1), (5, 4, 1))
ARGS = {
    "conv_feature_layers": str(list(EXTRACTOR)),
    "conv_aggregator_layers": str(list(AGGREGATOR)),
    "skip_connections_agg": True, "skip_connections_feat": False, "residual_scale": 0.5,
    "log_compression": True, "agg_zero_pad": False, "no_conv_bias": False, "aggregator": "cnn",
    "non_affine_group_norm": False, "project_features": "none", "fp16": True, "lr": [1e-6],
}  # fmt: skip
"""Of wav2vec_large.pt, with fewer channels and layers."""


def weights(**changes: Any) -> dict[str, torch.Tensor]:
    """Random weights under fairseq's names, the head that training alone uses included."""
    torch.manual_seed(5)
    settings = Wav2VecSettings(extractor=EXTRACTOR, aggregator=AGGREGATOR, **changes)
    state = Wav2Vec(settings).state_dict()
    tensors = {name: torch.randn_like(value) * 0.5 for name, value in state.items()}
    head = {"wav2vec_predictions.project_to_steps.weight": torch.zeros(5, 6, 1, 12)}
    return tensors | head


def save(path: Path, tensors: dict[str, torch.Tensor], **changes: Any) -> Path:
    torch.save(
        {
            "args": argparse.Namespace(**(ARGS | changes)),
            "model": {name: value.half() for name, value in tensors.items()},
            "optimizer_history": [{"optimizer_name": "FairseqAdam", "num_updates": 1}],
            "extra_state": {"epoch": 3, "val_loss": 0.5},
        },
        path,
    )
    return path


def group_norm(x: NDArray[Any], weight: NDArray[Any], bias: NDArray[Any]) -> NDArray[Any]:
    """One group: mean and variance over channels and time."""
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight[:, None] + bias[:, None]


def convolve(x: NDArray[Any], weight: NDArray[Any], stride: int) -> NDArray[Any]:
    kernel = weight.shape[2]
    starts = range(0, x.shape[1] - kernel + 1, stride)
    return np.stack([np.einsum("oik,ik->o", weight, x[:, s : s + kernel]) for s in starts], axis=1)


def formulas(tensors: dict[str, torch.Tensor], samples: NDArray[np.float32], pad: str) -> Any:
    """``c`` by Schneider et al. 2019 and fairseq's options, in float64."""
    t = {name: value.half().double().numpy() for name, value in tensors.items()}
    x = samples[None].astype(np.float64)
    for layer, (_, _, stride) in enumerate(EXTRACTOR):
        name = f"feature_extractor.conv_layers.{layer}"
        x = convolve(x, t[f"{name}.0.weight"], stride)
        x = np.maximum(group_norm(x, t[f"{name}.2.weight"], t[f"{name}.2.bias"]), 0)
    x = np.log(np.abs(x) + 1)
    for layer, (_, kernel, stride) in enumerate(AGGREGATOR):
        name = f"feature_aggregator.conv_layers.{layer}"
        padded = np.pad(x, ((0, 0), (kernel - 1, 0)), mode=pad)  # type: ignore[call-overload]
        y = convolve(padded, t[f"{name}.1.weight"], stride) + t[f"{name}.1.bias"][:, None]
        y = np.maximum(group_norm(y, t[f"{name}.3.weight"], t[f"{name}.3.bias"]), 0)
        project = t.get(f"feature_aggregator.residual_proj.{layer}.weight")
        before = x if project is None else project[:, :, 0] @ x
        x = (y + before) * np.sqrt(0.5)
    return x.T


@pytest.mark.parametrize(("zero_pad", "pad"), [(False, "edge"), (True, "constant")])
def test_features_are_the_formulas(tmp_path: Path, zero_pad: bool, pad: str) -> None:
    tensors = weights()
    path = save(tmp_path / "wav2vec.pt", tensors, agg_zero_pad=zero_pad)
    network = Wav2VecNetwork.load(path)
    assert (network.field, network.stride, network.dim) == (465, 160, 5)
    samples = boats().samples[10_000:14_000]
    found = network(samples)
    assert found.shape == (1 + (4000 - 465) // 160, 5)
    np.testing.assert_allclose(found, formulas(tensors, samples, pad), atol=1e-5)


def test_the_grid_gives_100_hz(tmp_path: Path) -> None:
    encoder = GridEncoder(Wav2VecNetwork.load(save(tmp_path / "w.pt", weights())), 2.0, 1.0)
    assert encoder.rate_hz == 100.0
    samples = boats().samples
    features = encoder.encode(samples)
    assert features.shape == (-(-len(samples) // 160), 5)
    assert encoder.encode(samples).tobytes() == features.tobytes()


def test_the_aggregator_is_causal() -> None:
    """Group norms aside (they see the whole block), c at t depends on z up to t."""
    settings = Wav2VecSettings(extractor=EXTRACTOR, aggregator=AGGREGATOR)
    aggregator = Wav2Vec(settings).feature_aggregator
    for layer in aggregator.conv_layers:
        layer[3] = torch.nn.Identity()
    z = torch.randn(1, 6, 40)
    changed = z.clone()
    changed[:, :, 25:] += 1
    with torch.inference_mode():
        before, after = aggregator(z), aggregator(changed)
    assert torch.equal(before[..., :25], after[..., :25])
    assert not torch.equal(before[..., 25], after[..., 25])


def test_the_default_is_the_large_model() -> None:
    """32.5 million weights (fairseq, examples/wav2vec), the prediction head included."""
    with torch.device("meta"):
        model = Wav2Vec()
    head = 512 * 512 * 12 + 512
    assert sum(p.numel() for p in model.parameters()) + head == pytest.approx(32.5e6, abs=0.1e6)
    names = set(model.state_dict())
    assert "feature_extractor.conv_layers.6.2.bias" in names
    assert "feature_aggregator.conv_layers.11.1.weight" in names
    assert not any("residual_proj" in name for name in names)


def test_the_plain_layout_loads_too(tmp_path: Path) -> None:
    tensors = {name: value.half() for name, value in weights().items()}
    torch.save({"task_cfg": {}, "model_cfg": ARGS, "model_weight": tensors}, tmp_path / "plain.pt")
    plain = Wav2VecNetwork.load(tmp_path / "plain.pt")
    own = Wav2VecNetwork.load(save(tmp_path / "own.pt", weights()))
    samples = boats().samples[:3000]
    np.testing.assert_array_equal(plain(samples), own(samples))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"aggregator": "gru"}, "aggregator 'gru'"),
        ({"vq_type": "gumbel"}, "vq_type 'gumbel'"),
        ({"activation": "gelu"}, "activation 'gelu'"),
        ({"conv_feature_layers": "__import__('os')"}, "conv_feature_layers .*expected a list"),
        ({"conv_feature_layers": "[(6, 0, 1)]"}, "at least 1"),
        ({"conv_aggregator_layers": "[(6, 2, 1), (5, 3, 1)]"}, "not part of it: .*conv_layers.2"),
        ({"no_conv_bias": True}, "not part of it: .*1.bias"),
    ],
)
def test_another_network_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = save(tmp_path / "other.pt", weights(), **changes)
    with pytest.raises(WeightsError, match=message) as caught:
        Wav2VecNetwork.load(path)
    assert "other.pt" in str(caught.value)


def test_a_missing_weight_is_named(tmp_path: Path) -> None:
    name = "feature_aggregator.conv_layers.1.1.weight"
    tensors = {key: value for key, value in weights().items() if key != name}
    with pytest.raises(WeightsError, match=f"missing: {name}"):
        Wav2VecNetwork.load(save(tmp_path / "w.pt", tensors))


class _Meter:
    pass


def test_other_python_objects_are_refused(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace(**ARGS), "model": _Meter()}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="_Meter"):
        Wav2VecNetwork.load(tmp_path / "w.pt")
    torch.save({"state": 1}, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=r"holds \['state'\]"):
        Wav2VecNetwork.load(tmp_path / "w.pt")
    with pytest.raises(FileNotFoundError, match="none.pt"):
        Wav2VecNetwork.load(tmp_path / "none.pt")
