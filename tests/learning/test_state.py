from dataclasses import dataclass

import pytest
import torch
from torch import nn

from dimitra.learning.state import StateError, StateKind, TrainingState


@dataclass(frozen=True)
class Row:
    step: int
    loss: float


KIND = StateKind("toy-1", Row)


class Net(nn.Module):
    """A normalised layer, and one that is used from the third step on."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(3, width)
        self.norm = nn.BatchNorm1d(width)
        self.late = nn.Linear(width, width)
        self.register_buffer("constant", torch.ones(1))

    def forward(self, values: torch.Tensor, step: int) -> torch.Tensor:
        hidden = self.norm(self.first(values))
        return self.late(hidden) if step >= 2 else hidden


def run(
    kind: StateKind[Row], until: int, state: TrainingState[Row] | None = None
) -> tuple[TrainingState[Row], Net]:
    torch.manual_seed(0 if state is None else 9)
    net = Net()
    optimiser = torch.optim.AdamW(net.parameters(), 0.01)
    averaged = [weight.detach().clone() for weight in net.parameters()]
    curve: list[Row] = []
    if state is not None:
        state.restore(net, averaged, optimiser)
        curve = list(state.curve)
    for step in range(len(curve), until):
        values = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        loss = net(values, step).square().mean() + net.first.weight.sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, list(net.parameters()), 0.5)
        curve.append(Row(step, float(loss.detach())))
    return kind.of(net, averaged, optimiser, curve), net


@pytest.mark.parametrize("stop", [1, 3])
def test_weights_averages_moments_and_running_statistics_go_on(stop: int) -> None:
    """Also a layer whose own count of steps began later, where the kind keeps that count."""
    kind = StateKind("toy-1", Row, ("exp_avg", "exp_avg_sq", "step"))
    whole, net = run(kind, 6)
    broken, _ = run(kind, stop)
    read = kind.decode(broken.to_bytes("a"), "a")
    assert (read.steps, read.curve) == (stop, broken.curve)
    again, other = run(kind, 6, read)
    assert again.curve == whole.curve
    assert again.tensors.keys() == whole.tensors.keys()
    for name, value in whole.tensors.items():
        assert torch.equal(again.tensors[name], value), name
    for name, value in net.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    assert "running.norm.running_mean" in whole.tensors
    assert not any("constant" in name for name in whole.tensors)
    assert whole.averaged().keys() == dict(net.named_parameters()).keys()


def test_a_state_is_a_copy_and_may_lack_averages() -> None:
    state, net = run(KIND, 2)
    before = state.tensors["weights.first.weight"].clone()
    with torch.no_grad():
        net.first.weight.add_(1.0)
    assert torch.equal(state.tensors["weights.first.weight"], before)
    bare = KIND.of(net, (), torch.optim.Adam(net.parameters()), [])
    assert not bare.averaged()
    assert not any(name.startswith("exp_avg") for name in bare.tensors)


def test_another_s_states_are_refused() -> None:
    state, _ = run(KIND, 1)
    data = state.to_bytes("a")
    with pytest.raises(StateError, match="belongs to training 'a'"):
        KIND.decode(data, "b")
    with pytest.raises(StateError, match="belongs to training 'a'"):
        StateKind("toy-2", Row).decode(data, "a")
    for damaged in (b"", data[:-9], b"\xff" * 64):
        with pytest.raises(StateError, match="cannot be read"):
            KIND.decode(damaged, "a")
    wide = Net(5)
    with pytest.raises(StateError, match=r"another model's: \d weights differ, for example first"):
        state.restore(wide, (), torch.optim.Adam(wide.parameters()))
