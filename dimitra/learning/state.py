"""The state of a training between two steps: all that it needs to go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    R = TypeVar("R", bound=DataclassInstance)
else:
    R = TypeVar("R")

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class StateError(ValueError):
    """A saved state cannot be used; the message says why."""


@dataclass(frozen=True)
class StateKind(Generic[R]):
    """What the states of one training loop hold.

    Attributes:
        name: written into every file; a state of another name is refused.
        record: a row of the training curve, a dataclass of numbers.
        moments: of Adam (Kingma and Ba, 2015), those that are kept for every weight that has had a
            gradient. ``step``, a weight's own count of steps, is needed only where weights are not
            all trained from the first step on.
    """

    name: str
    record: type[R]
    moments: tuple[str, ...] = ("exp_avg", "exp_avg_sq")

    def of(
        self,
        model: nn.Module,
        averaged: Sequence[Tensor],
        optimiser: torch.optim.Optimizer,
        curve: Sequence[R],
    ) -> TrainingState[R]:
        """Copy the state of a training after a step.

        Args:
            model: in training.
            averaged: its averaged weights, in the order of its parameters; none where no average
                is taken.
            optimiser: of Adam's family.
            curve: so far.
        """
        tensors: dict[str, Tensor] = {}
        for name, weight in model.named_parameters():
            tensors[f"weights.{name}"] = _copy(weight)
            moments = optimiser.state.get(weight, {})  # none where no gradient has come yet
            for moment in self.moments:
                if moment in moments:
                    tensors[f"{moment}.{name}"] = _copy(moments[moment])
        if averaged:
            names = (name for name, _ in model.named_parameters())
            for name, average in zip(names, averaged, strict=True):
                tensors[f"averaged.{name}"] = _copy(average)
        for name in sorted(self._running(model)):
            tensors[f"running.{name}"] = _copy(model.get_buffer(name))
        return TrainingState(self, tensors, tuple(curve))

    @staticmethod
    def _running(model: nn.Module) -> set[str]:
        """Names of the buffers that training changes: the statistics of batch normalisation."""
        return {
            f"{place}.{name}" if place else name
            for place, module in model.named_modules()
            if isinstance(module, _BATCH_NORMS)
            for name, _ in module.named_buffers(recurse=False)
        }

    def decode(self, data: bytes, about: str) -> TrainingState[R]:
        """Read what ``TrainingState.to_bytes`` wrote.

        Args:
            data: one safetensors file.
            about: names the training.

        Raises:
            StateError: damaged, of another version or loop, or another training's.
        """
        try:
            length = int.from_bytes(data[:8], "little")
            metadata: dict[str, Any] = json.loads(data[8 : 8 + length])["__metadata__"]
            tensors = safetensors.torch.load(data)
            curve = tuple(self.record(*row) for row in json.loads(metadata["curve"]))
        except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
            raise StateError(f"the saved state cannot be read: {error}") from error
        if (metadata.get("format"), metadata.get("about")) != (self.name, about):
            raise StateError(f"the saved state belongs to training {metadata.get('about')!r}")
        return TrainingState(self, tensors, curve)


@dataclass(frozen=True, eq=False)
class TrainingState(Generic[R]):
    """Weights, their average, the optimiser's moments, and the curve so far.

    Random numbers need no state: they come from the seed, the step and the clips.

    Attributes:
        kind: of the loop.
        tensors: ``weights.<name>``, ``averaged.<name>``, ``running.<name>`` and each of the kind's
            moments (``exp_avg.<name>``), on the CPU.
        curve: one record for every step that was done.
    """

    kind: StateKind[R]
    tensors: dict[str, Tensor]
    curve: tuple[R, ...]

    @property
    def steps(self) -> int:
        """Steps done."""
        return len(self.curve)

    def restore(
        self, model: nn.Module, averaged: Sequence[Tensor], optimiser: torch.optim.Optimizer
    ) -> None:
        """Put the state into a model, its average and its optimiser (in place).

        Raises:
            StateError: the state is another model's.
        """
        names = {name: weight.shape for name, weight in model.named_parameters()}
        found = {name: tensor.shape for name, tensor in self._named("weights").items()}
        if names != found:
            differing = sorted(
                name for name in names.keys() | found.keys() if names.get(name) != found.get(name)
            )
            raise StateError(
                f"the saved state is another model's: {len(differing)} weights differ, for example "
                f"{differing[0]}"
            )
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.copy_(self.tensors[f"weights.{name}"])
                moments = {
                    moment: self.tensors[f"{moment}.{name}"]
                    for moment in self.kind.moments
                    if f"{moment}.{name}" in self.tensors
                }
                if moments:
                    step = moments.pop("step", torch.tensor(float(self.steps)))
                    optimiser.state[weight] = {
                        "step": step.clone(),
                        **{
                            one: value.to(weight.device, copy=True)
                            for one, value in moments.items()
                        },
                    }
            if averaged:
                for average, name in zip(averaged, names, strict=True):
                    average.copy_(self.tensors[f"averaged.{name}"])
            for name, value in self._named("running").items():
                model.get_buffer(name).copy_(value)

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights, by name."""
        return self._named("averaged")

    def _named(self, what: str) -> dict[str, Tensor]:
        prefix = f"{what}."
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }

    def to_bytes(self, about: str) -> bytes:
        """One safetensors file.

        Args:
            about: names the training; ``StateKind.decode`` compares it.
        """
        metadata = {
            "format": self.kind.name,
            "about": about,
            "curve": json.dumps([astuple(record) for record in self.curve]),
        }
        return safetensors.torch.save(self.tensors, metadata)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()
