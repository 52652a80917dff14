"""PIRender's network against its published layout and a second implementation."""

from __future__ import annotations

import pytest
import torch

from dimitra.render.pirender_layers import AdaIN
from dimitra.render.pirender_network import SETTINGS_512, PIRenderNet, PIRenderSettings, warp
from tests.render.pirender_reference import SMALL, network, pictures, published

VARIANTS = {256: PIRenderSettings(), 512: SETTINGS_512}


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_and_shapes_are_those_of_the_published_checkpoint(variant: int) -> None:
    with torch.device("meta"):
        net = PIRenderNet(VARIANTS[variant])
    state = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    assert state == published(variant)


def test_sizes_and_some_tensors_by_hand() -> None:
    with torch.device("meta"):
        net = PIRenderNet()
    counts = {
        name: (sum(p.numel() for p in part.parameters()), len(part.state_dict()))
        for name, part in net.named_children()
    }
    assert counts == {
        # 256 x 73 x 7 + 3 x 256 x 256 x 3, and 256 biases each
        "mapping_net": (130_816 + 256 + 3 * (196_608 + 256), 8),
        "warpping_net": (12_707_138, 158),
        "editing_net": (9_090_307, 138),
    }
    state = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    expected = {
        "mapping_net.encoder2.1.weight": (256, 256, 3),
        "warpping_net.hourglass.encoder.encoder0.conv_0.weight": (64, 32, 4, 4),
        "warpping_net.hourglass.encoder.encoder4.norm_1.mlp_shared.0.weight": (128, 256),
        "warpping_net.hourglass.decoder.decoder4.conv_s.weight": (256, 256, 3, 3),
        "warpping_net.hourglass.decoder.decoder3.norm_s.mlp_gamma.weight": (512, 128),
        "warpping_net.hourglass.decoder.decoder2.conv_0.weight": (128, 512, 3, 3),
        "warpping_net.hourglass.decoder.decoder2.conv_s.weight": (512, 128, 3, 3),
        "warpping_net.flow_out.0.weight": (256, 1, 1),
        "editing_net.encoder.down2.model.0.weight": (256, 256, 3, 3),
        "editing_net.decoder.res0.res1.norm1.mlp_beta.bias": (128,),
        "editing_net.decoder.up0.model.0.weight": (64, 128, 3, 3),
        "editing_net.decoder.final.model.0.weight": (3, 64, 7, 7),
    }
    assert {name: state[name] for name in expected} == expected
    assert not [name for name in state if "encoder5" in name or "decoder1." in name]


def test_pictures_agree_with_a_second_implementation() -> None:
    net = network().double()
    generator = torch.Generator().manual_seed(1)
    photo = 2.0 * torch.rand(2, 3, 64, 96, generator=generator, dtype=torch.float64) - 1.0
    window = torch.randn(2, 73, 27, generator=generator, dtype=torch.float64)
    ours = net(photo, window)
    picture, moved, flow = pictures(net.state_dict(), photo, window)
    assert flow.shape == (2, 2, 16, 24)
    assert flow.abs().max() > 2.0  # pixels: leaves the photo in places
    assert picture.std() > 0.1
    torch.testing.assert_close(ours.flow, flow, atol=1e-9, rtol=0)
    torch.testing.assert_close(ours.warped, moved, atol=1e-9, rtol=0)
    torch.testing.assert_close(ours.picture, picture, atol=1e-9, rtol=0)


def test_adain_takes_mean_and_deviation_from_the_descriptor() -> None:
    torch.manual_seed(0)
    layer = AdaIN(5, 7)
    x, z = 3.0 + 2.0 * torch.randn(2, 5, 16, 16), torch.randn(2, 7)
    out = layer(x, z)
    hidden = layer.mlp_shared(z)
    deviation = (1.0 + layer.mlp_gamma(hidden)).abs()
    torch.testing.assert_close(out.mean(dim=(2, 3)), layer.mlp_beta(hidden), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(dim=(2, 3), correction=0), deviation, atol=1e-4, rtol=0)
    # Brightness and contrast of a channel have no part in it.
    torch.testing.assert_close(layer(10.0 * x + 4.0, z), out, atol=1e-4, rtol=0)


def test_the_dead_branch_has_no_part_in_the_picture() -> None:
    net = network()
    photo, window = torch.rand(1, 3, 64, 64), torch.randn(1, 73, 27)
    before = net(photo, window).picture
    dead = [
        (name, value)
        for name, value in net.state_dict().items()
        if name.startswith("editing_net.decoder.res") and (".conv1." in name or ".norm1." in name)
    ]
    assert len(dead) == 6 * (2 + 6)
    for _, value in dead:
        value.fill_(torch.nan)
    assert torch.equal(net(photo, window).picture, before)
    names = {name for name, _ in dead}
    alive = next(
        v for n, v in net.state_dict().items() if "res2.res0.conv2" in n and n not in names
    )
    alive.mul_(1.5)
    assert not torch.equal(net(photo, window).picture, before)


def test_a_flow_of_zero_shrinks_the_photo_about_its_middle() -> None:
    ramp = torch.linspace(-1.0, 1.0, 256)
    photo = torch.stack([ramp.expand(256, 256), ramp.expand(256, 256).T, torch.ones(256, 256)])
    moved = warp(photo[None], torch.zeros(1, 2, 64, 64))[0]
    centred = torch.arange(256) - 127.5
    inside = slice(4, 252)
    expected = (64 / 63 * centred / 127.5)[inside]
    torch.testing.assert_close(moved[0, 100, inside], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[1, inside, 100], expected, atol=1e-5, rtol=0)


def test_a_flow_moves_the_photo_by_its_own_pixels() -> None:
    photo = torch.linspace(-1.0, 1.0, 256).expand(1, 3, 256, 256)
    flow = torch.zeros(1, 2, 64, 64)
    still = warp(photo, flow)
    flow[:, 0] = 3.0
    inside = slice(8, 232)
    shift = (warp(photo, flow) - still)[..., inside, inside] * 127.5
    torch.testing.assert_close(shift, torch.full_like(shift, 3.0 * 256 / 63), atol=1e-3, rtol=0)
    far = torch.full((1, 2, 64, 64), 100.0)
    assert warp(photo, far).abs().max() == 0.0


def test_wrong_shapes_are_named() -> None:
    with torch.device("meta"):
        net = PIRenderNet(SMALL)
    window = torch.zeros(1, 73, 27)
    with pytest.raises(ValueError, match=r"\[1, 3, 240, 256\].*multiples of 32"):
        net(torch.zeros(1, 3, 240, 256), window)
    with pytest.raises(ValueError, match=r"\[1, 70, 27\], expected \[1, 73, 27\]"):
        net(torch.zeros(1, 3, 64, 64), torch.zeros(1, 70, 27))
