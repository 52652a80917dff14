"""PIRender's network out of a published checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dimitra.render.pirender_network import (
    EDIT_LEVELS,
    WARP_DOWN,
    PIRenderNet,
    PIRenderSettings,
)
from dimitra.torch_file import TorchFileError, check_state, read_torch_file

CHECKPOINT_KEY = "net_G_ema"
"""The weights' moving average; ``net_G`` beside it is the last step of the training."""
WRAPPER = "module."
"""In front of every name where a network was saved inside torch's data parallelism."""
_WIDTHS = {
    "descriptor": "mapping_net.first.0.weight",
    "warp_width": "warpping_net.hourglass.encoder.input_layer.weight",
    "edit_width": "editing_net.encoder.first.model.0.weight",
}
_WIDEST = (
    f"warpping_net.hourglass.encoder.encoder{WARP_DOWN - 1}.conv_1.weight",
    f"editing_net.encoder.down{EDIT_LEVELS - 1}.model.0.weight",
)


class PIRenderError(ValueError):
    """PIRender cannot be had: the message names the file and the tensor, or the device."""


def read_network(path: Path) -> PIRenderNet:
    """The network with a checkpoint's weights, for evaluation; widths are the checkpoint's own.

    Args:
        path: a checkpoint as PIRender's trainer saves it, such as
            ``epoch_00190_iteration_000400000_checkpoint.pt``, of the 256 or the 512 variant. Of
            its entries only ``net_G_ema`` is read, and nothing pickled in it is executed.

    Raises:
        FileNotFoundError: there is no such file.
        PIRenderError: unreadable, no ``net_G_ema``, or a tensor that is missing, unknown or
            of another shape.
    """
    state = _read(path)
    try:
        settings = settings_of(state)
    except PIRenderError as error:
        raise PIRenderError(f"{path}: {CHECKPOINT_KEY}: {error}") from None
    with torch.device("meta"):
        network = PIRenderNet(settings)
    try:
        check_state(path, network.state_dict(), state)
    except TorchFileError as error:
        raise PIRenderError(f"{error} (PIRender's face model)") from None
    network.load_state_dict(
        {name: value.to(torch.float32) for name, value in state.items()}, assign=True
    )
    return network.eval().requires_grad_(requires_grad=False)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; place PIRender's checkpoint there")
    try:
        contents = read_torch_file(path, repr(CHECKPOINT_KEY))
    except TorchFileError as error:
        raise PIRenderError(str(error)) from None
    if not isinstance(contents, Mapping) or not isinstance(contents.get(CHECKPOINT_KEY), Mapping):
        keys = sorted(map(str, contents)) if isinstance(contents, Mapping) else type(contents)
        raise PIRenderError(f"{path}: no {CHECKPOINT_KEY!r} in it, but {keys}")
    state: dict[str, Any] = {
        str(name).removeprefix(WRAPPER): value for name, value in contents[CHECKPOINT_KEY].items()
    }
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise PIRenderError(f"{path}: {name} is {type(value).__name__}, expected a tensor")
    return state


def settings_of(state: Mapping[str, Tensor]) -> PIRenderSettings:
    """Widths of the network with these tensors, from the layers that have them as their output.

    Raises:
        PIRenderError: one of these layers is missing.
    """
    names = (*_WIDTHS.values(), *_WIDEST)
    missing = [name for name in names if name not in state or not state[name].ndim]
    if missing:
        raise PIRenderError(f"no {missing[0]} in it; is it PIRender's face model?")
    widths = {key: len(state[name]) for key, name in _WIDTHS.items()}
    return PIRenderSettings(**widths, widest=max(len(state[name]) for name in _WIDEST))
