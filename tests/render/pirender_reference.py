"""PIRender a second time, from its description: its tensors as a table, its pictures by formula.

Nothing here knows the modules of ``dimitra.render``: the table is written from the layers of
the public ``config/face.yaml``, the formulas from the paper's figures and the public code.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from torch import Tensor
from torch.nn import functional

from dimitra.render.pirender_network import PIRenderNet, PIRenderSettings

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]

WARP = {256: (32, 64, 128, 256, 256, 256), 512: (32, 64, 128, 256, 512, 512)}
"""Channels of the warping net at 1, 1/2, ... 1/32 of the resolution."""
EDIT = {256: (64, 128, 256, 256), 512: (64, 128, 256, 512)}
"""Channels of the editing net at 1, 1/2, 1/4, 1/8."""
SMALL = PIRenderSettings(descriptor=12, widest=24, warp_width=4, edit_width=8)


def published(variant: int) -> Shapes:
    """Names and shapes of ``net_G_ema`` of the 256 or the 512 variant."""
    shapes: Shapes = {}

    def layer(name: str, *shape: int, out: int | None = None) -> None:
        shapes[f"{name}.weight"] = shape
        shapes[f"{name}.bias"] = (shape[0] if out is None else out,)

    def adain(name: str, channels: int) -> None:
        layer(f"{name}.mlp_shared.0", 128, variant)
        layer(f"{name}.mlp_gamma", channels, 128)
        layer(f"{name}.mlp_beta", channels, 128)

    def norm(name: str, channels: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (channels, 1, 1)

    layer("mapping_net.first.0", variant, 73, 7)
    for i in range(3):
        layer(f"mapping_net.encoder{i}.1", variant, variant, 3)

    warp, glass = WARP[variant], "warpping_net.hourglass"
    layer(f"{glass}.encoder.input_layer", 32, 3, 7, 7)
    for i in range(5):
        name = f"{glass}.encoder.encoder{i}"
        layer(f"{name}.conv_0", warp[i + 1], warp[i], 4, 4)
        layer(f"{name}.conv_1", warp[i + 1], warp[i + 1], 3, 3)
        adain(f"{name}.norm_0", warp[i])
        adain(f"{name}.norm_1", warp[i + 1])
    for i, channels in ((4, warp[5]), (3, 2 * warp[4]), (2, 2 * warp[3])):
        name = f"{glass}.decoder.decoder{i}"
        layer(f"{name}.conv_0", warp[i], channels, 3, 3)
        layer(f"{name}.conv_1", warp[i], warp[i], 3, 3)
        layer(f"{name}.conv_s", channels, warp[i], 3, 3, out=warp[i])  # transposed
        adain(f"{name}.norm_0", channels)
        adain(f"{name}.norm_1", warp[i])
        adain(f"{name}.norm_s", channels)
    norm("warpping_net.flow_out.0", 256)
    layer("warpping_net.flow_out.2", 2, 256, 7, 7)

    edit = EDIT[variant]
    layer("editing_net.encoder.first.model.0", 64, 6, 7, 7)
    norm("editing_net.encoder.first.model.1", 64)
    for i in range(3):
        layer(f"editing_net.encoder.down{i}.model.0", edit[i + 1], edit[i], 3, 3)
        norm(f"editing_net.encoder.down{i}.model.1", edit[i + 1])
        layer(f"editing_net.decoder.up{i}.model.0", edit[i], edit[i + 1], 3, 3)
        norm(f"editing_net.decoder.up{i}.model.1", edit[i])
        layer(f"editing_net.decoder.jump{i}.model.0", edit[i], edit[i], 3, 3)
        norm(f"editing_net.decoder.jump{i}.model.1", edit[i])
        for k in (0, 1):
            name = f"editing_net.decoder.res{i}.res{k}"
            for part in (1, 2):
                layer(f"{name}.conv{part}", edit[i + 1], edit[i + 1], 3, 3)
                adain(f"{name}.norm{part}", edit[i + 1])
    layer("editing_net.decoder.final.model.0", 3, 64, 7, 7)
    return shapes


def network(settings: PIRenderSettings = SMALL, seed: int = 0) -> PIRenderNet:
    """A network with seeded weights, none of them trivial, whose flow is some pixels."""
    generator = torch.Generator().manual_seed(seed)
    net = PIRenderNet(settings).requires_grad_(requires_grad=False).eval()
    for name, value in net.state_dict().items():
        fan = value[0].numel() if value.ndim > 1 else 25
        value.normal_(0.0, fan**-0.5, generator=generator)
        if value.shape[1:] == (1, 1):
            value.normal_(1.0 if name.endswith("weight") else 0.0, 0.3, generator=generator)
    net.warpping_net.flow_out[2].weight.mul_(2.0)
    return net


def pictures(state: State, photo: Tensor, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Picture, moved photo and flow of photos [B, 3, H, W] and windows [B, 73, 27]."""
    z = _descriptor(state, window)
    flow = _flow(state, photo, z)
    moved = torch.stack([_moved(p, f) for p, f in zip(photo, flow, strict=True)])
    return _edited(state, torch.cat([photo, moved], dim=1), z), moved, flow


def _leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.1 * x)


def _conv(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    padding = (weight.shape[-1] - stride) // 2 if stride > 1 else weight.shape[-1] // 2
    return functional.conv2d(x, weight, state[f"{name}.bias"], stride=stride, padding=padding)


def _double(state: State, name: str, x: Tensor) -> Tensor:
    """Transposed convolution of stride 2: the input between zeros, convolved with the mirror."""
    weight = state[f"{name}.weight"]
    spread = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    spread[:, :, ::2, ::2] = x
    return functional.conv2d(
        spread, weight.transpose(0, 1).flip(2, 3), state[f"{name}.bias"], padding=1
    )


def _adain(state: State, name: str, x: Tensor, z: Tensor) -> Tensor:
    def linear(part: str, v: Tensor) -> Tensor:
        return v @ state[f"{name}.{part}.weight"].T + state[f"{name}.{part}.bias"]

    hidden = linear("mlp_shared.0", z).clamp(min=0)
    gamma, beta = (linear(part, hidden)[..., None, None] for part in ("mlp_gamma", "mlp_beta"))
    centred = x - x.mean(dim=(2, 3), keepdim=True)
    variance = (centred**2).mean(dim=(2, 3), keepdim=True)
    return centred / (variance + 1e-5).sqrt() * (1 + gamma) + beta


def _layer_norm(state: State, name: str, x: Tensor) -> Tensor:
    centred = x - x.mean(dim=(1, 2, 3), keepdim=True)
    variance = (centred**2).mean(dim=(1, 2, 3), keepdim=True)
    return centred / (variance + 1e-5).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]


def _descriptor(state: State, window: Tensor) -> Tensor:
    x = functional.conv1d(
        window, state["mapping_net.first.0.weight"], state["mapping_net.first.0.bias"]
    )
    for i in range(3):
        weight, bias = (state[f"mapping_net.encoder{i}.1.{part}"] for part in ("weight", "bias"))
        taps = torch.stack([_leaky(x)[..., k : x.shape[-1] - 6 + k] for k in (0, 3, 6)])
        x = torch.einsum("kbit,oik->bot", taps, weight) + bias[:, None] + x[..., 3:-3]
    assert x.shape[-1] == 3
    return x.mean(dim=-1)


def _flow(state: State, photo: Tensor, z: Tensor) -> Tensor:
    glass = "warpping_net.hourglass"
    levels = [_conv(state, f"{glass}.encoder.input_layer", photo)]
    for i in range(5):
        name, x = f"{glass}.encoder.encoder{i}", levels[-1]
        x = _conv(state, f"{name}.conv_0", _leaky(_adain(state, f"{name}.norm_0", x, z)), stride=2)
        levels.append(_conv(state, f"{name}.conv_1", _leaky(_adain(state, f"{name}.norm_1", x, z))))
    x = levels.pop()
    for i in (4, 3, 2):
        name = f"{glass}.decoder.decoder{i}"
        side = _double(state, f"{name}.conv_s", _leaky(_adain(state, f"{name}.norm_s", x, z)))
        x = _conv(state, f"{name}.conv_0", _leaky(_adain(state, f"{name}.norm_0", x, z)))
        x = side + _double(state, f"{name}.conv_1", _leaky(_adain(state, f"{name}.norm_1", x, z)))
        x = torch.cat([x, levels.pop()], dim=1)
    x = _leaky(_layer_norm(state, "warpping_net.flow_out.0", x))
    return _conv(state, "warpping_net.flow_out.2", x)


def _moved(photo: Tensor, flow: Tensor) -> Tensor:
    """One photo [3, H, W] read where a flow [2, h, w] says, zero outside."""
    (high, wide), (rows, columns) = photo.shape[1:], flow.shape[1:]
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    # The first and last position of the grid lie on the photo's edges, half a pixel out.
    fields = [
        (x + flow[0].numpy()) * wide / (columns - 1) - 0.5,
        (y + flow[1].numpy()) * high / (rows - 1) - 0.5,
    ]
    fine = np.mgrid[:high, :wide].astype(np.float64)
    at = [(fine[0] + 0.5) * rows / high - 0.5, (fine[1] + 0.5) * columns / wide - 0.5]
    right, down = (map_coordinates(field, at, order=1, mode="nearest") for field in fields)

    def read(channel: NDArray[np.float64]) -> NDArray[np.float64]:
        return map_coordinates(channel, [down, right], order=1, mode="grid-constant", cval=0.0)

    return torch.from_numpy(np.stack([read(channel) for channel in photo.numpy()]))


def _edited(state: State, both: Tensor, z: Tensor) -> Tensor:
    def block(name: str, x: Tensor) -> Tensor:
        x = _conv(state, f"editing_net.{name}.model.0", x)
        return _leaky(_layer_norm(state, f"editing_net.{name}.model.1", x))

    levels = [block("encoder.first", both)]
    for i in range(3):
        x = block(f"encoder.down{i}", levels[-1])
        levels.append((x[..., ::2, :] + x[..., 1::2, :]).unfold(-1, 2, 2).sum(-1) / 4)
    x = levels.pop()
    for i in (2, 1, 0):
        for k in (0, 1):
            name = f"editing_net.decoder.res{i}.res{k}"
            x = x + _adain(state, f"{name}.norm2", _conv(state, f"{name}.conv2", x), z)
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        x = block(f"decoder.up{i}", x) + block(f"decoder.jump{i}", levels.pop())
    return torch.tanh(_conv(state, "editing_net.decoder.final.model.0", x))


def checkpoint(net: PIRenderNet, path: Path, wrapper: str = "") -> Path:
    """Save a network as PIRender's trainer does; its last step differs from its average."""
    last = {f"module.{name}": value + 1.0 for name, value in net.state_dict().items()}
    parameters = [torch.nn.Parameter(value.clone()) for value in net.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-4, betas=(0.5, 0.999))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=300_000, gamma=0.2)
    contents = {
        "net_G": last,
        "net_G_ema": {f"{wrapper}{name}": value for name, value in net.state_dict().items()},
        "opt_G": optimizer.state_dict(),
        "sch_G": scheduler.state_dict(),
        "current_epoch": 190,
        "current_iteration": 400_000,
    }
    torch.save(contents, path)
    return path
