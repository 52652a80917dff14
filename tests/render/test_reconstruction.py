"""Losses of the renderer's training: closed forms, and a second VGG19 written as a function."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

from dimitra.render.reconstruction import (
    PerceptualLoss,
    PixelLoss,
    gradient_loss,
    gram,
    pyramid,
    region_loss,
)
from dimitra.render.vgg import Vgg19Features, read_vgg19
from dimitra.torch_file import TorchFileError

PLACES = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
"""Of the convolutions up to conv5_1 in torchvision's ``vgg19().features``."""
WIDTHS = (64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512)
DEEPER = {30: 512, 32: 512, 34: 512}


def layout() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 3
    for place, width in zip(PLACES, WIDTHS, strict=True):
        shapes[f"features.{place}.weight"] = (width, channels, 3, 3)
        shapes[f"features.{place}.bias"] = (width,)
        channels = width
    return shapes


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) * (2.0 / (9 * shape[-3])) ** 0.5
        if len(shape) == 4
        else 0.1 * torch.randn(shape, generator=generator)
        for name, shape in layout().items()
    }


def by_hand(state: dict[str, Tensor], picture: Tensor) -> list[Tensor]:
    """VGG19 by a loop over the layers' places: pool where torchvision's list has its maxima."""
    colours = torch.tensor([[0.485, 0.229], [0.456, 0.224], [0.406, 0.225]], dtype=picture.dtype)
    x = (0.5 * picture + 0.5 - colours[:, 0, None, None]) / colours[:, 1, None, None]
    found = []
    for place in range(30):
        if place in (4, 9, 18, 27):
            x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(4, 5))
        elif place in PLACES:
            bias = state[f"features.{place}.bias"].to(x)
            x = functional.conv2d(x, state[f"features.{place}.weight"].to(x), bias, padding=1)
        else:
            x = x * (x > 0)
            if place in (1, 6, 11, 20, 29):
                found.append(x)
    return found


def test_names_and_shapes_are_torchvisions() -> None:
    state = Vgg19Features().state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == layout()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_in_torchvisions_layout_gives_the_features(tmp_path: Path, suffix: str) -> None:
    state = weights()
    rest = {f"features.{place}.bias": torch.zeros(width) for place, width in DEEPER.items()}
    path = tmp_path / f"vgg19{suffix}"
    if suffix == ".pth":
        torch.save(state | rest | {"classifier.0.bias": torch.zeros(3)}, path)
    else:
        safetensors.torch.save_file(state | rest, path)
    network = read_vgg19(path).double()
    picture = torch.rand(2, 3, 32, 48, dtype=torch.float64) * 2 - 1
    for ours, theirs in zip(network(picture), by_hand(state, picture), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)  # ImageNet's mean is float32
    assert not any(one.requires_grad for one in network.parameters())


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "vgg.safetensors"
    with pytest.raises(FileNotFoundError, match="VGG19's weights"):
        read_vgg19(path)
    safetensors.torch.save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, path)
    with pytest.raises(TorchFileError, match=r"25 tensors are missing"):
        read_vgg19(path)
    state = weights() | {"features.28.bias": torch.zeros(4)}
    safetensors.torch.save_file(state, path)
    with pytest.raises(TorchFileError, match=r"features\.28\.bias is \[4\], expected \[512\]"):
        read_vgg19(path)
    path.write_bytes(b"<html>")
    with pytest.raises(TorchFileError, match="is damaged, or no safetensors"):
        read_vgg19(path)


def test_the_perceptual_loss_is_the_sum_over_layers_and_sizes() -> None:
    state = weights()
    network = Vgg19Features()
    network.load_state_dict(state)
    loss_of = PerceptualLoss(network.double())
    picture, target = (torch.rand(2, 3, 64, 64, dtype=torch.float64) * 2 - 1 for _ in range(2))
    expected, style = 0.0, 0.0
    ours, theirs = picture, target
    for size in (64, 32, 16):  # of 8 pixels nothing would reach relu5_1
        assert ours.shape[2] == size
        for a, b in zip(by_hand(state, ours), by_hand(state, theirs), strict=True):
            expected += float((a - b).abs().mean())
            if size == 64:
                g, h = (torch.einsum("bchw,bdhw->bcd", x, x) / x[0].numel() for x in (a, b))
                style += 250.0 * float((g - h).abs().mean())
        half = {"scale_factor": 0.5, "mode": "bilinear", "align_corners": False}
        ours, theirs = (functional.interpolate(x, **half) for x in (ours, theirs))  # type: ignore[arg-type]
    region = torch.ones(2, 1, 64, 64, dtype=torch.float64)
    plain = loss_of(picture, target, region, style=False)
    assert float(plain) == pytest.approx(expected, rel=1e-6)
    styled = loss_of(picture, target, region, style=True)
    assert float(styled) == pytest.approx(expected + style, rel=1e-6)


def test_the_gradient_loss_of_a_ramp_is_its_slope() -> None:
    x = torch.arange(8.0).expand(1, 3, 6, 8)
    y = torch.arange(6.0)[:, None].expand(1, 3, 6, 8)
    flat = torch.zeros(1, 3, 6, 8)
    assert float(gradient_loss(0.25 * x, flat)) == pytest.approx(0.25)
    assert float(gradient_loss(0.25 * x - 0.5 * y, flat + 3.0)) == pytest.approx(0.75)


def test_the_region_weighs_the_pixels() -> None:
    picture, target = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    picture[..., 0, 0], picture[..., 3, 3] = 1.0, 0.5
    region = torch.zeros(1, 1, 4, 4)
    assert float(region_loss(picture, target, region)) == 0.0
    region[..., 0, 0], region[..., 3, 3] = 1.0, 3.0
    assert float(region_loss(picture, target, region)) == pytest.approx((1.0 + 3 * 0.5) / 4)


def test_the_pixel_loss_of_a_constant_error() -> None:
    """Each of three sizes sees it once, the face once more; it has no gradient."""
    target = torch.rand(2, 3, 32, 32)
    region = (torch.rand(2, 1, 32, 32) > 0.5).float()
    assert len(pyramid(target, target, 8)) == 3
    loss = PixelLoss()(target + 0.1, target, region, style=True)
    assert float(loss) == pytest.approx(0.4, rel=1e-4)


def test_gram_matrices() -> None:
    features = torch.tensor([[1.0, 2.0], [3.0, 0.0]])[None, :, None]
    assert gram(features)[0].tolist() == [[5 / 4, 3 / 4], [3 / 4, 9 / 4]]
