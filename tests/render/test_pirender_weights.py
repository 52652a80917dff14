"""Checkpoints in the published layout, with seeded weights in place of the published ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from dimitra.render.pirender_network import SETTINGS_512, PIRenderNet, PIRenderSettings
from dimitra.render.pirender_weights import PIRenderError, read_network, settings_of
from tests.render.pirender_reference import SMALL, checkpoint, network


@pytest.mark.parametrize("wrapper", ["", "module."])
def test_the_average_of_a_checkpoint_is_read(tmp_path: Path, wrapper: str) -> None:
    saved = network()
    path = checkpoint(saved, tmp_path / "epoch_00190_iteration_000400000_checkpoint.pt", wrapper)
    read = read_network(path)
    assert read.settings == SMALL
    assert not read.training
    assert not any(p.requires_grad for p in read.parameters())
    assert read.state_dict().keys() == saved.state_dict().keys()
    for name, value in saved.state_dict().items():
        assert torch.equal(read.state_dict()[name], value)


@pytest.mark.parametrize("settings", [PIRenderSettings(), SETTINGS_512])
def test_widths_of_the_published_variants_are_found(settings: PIRenderSettings) -> None:
    with torch.device("meta"):
        state = PIRenderNet(settings).state_dict()
    assert settings_of(state) == settings


def test_the_whole_published_size_loads(tmp_path: Path) -> None:
    saved = network(PIRenderSettings())
    path = tmp_path / "alone.pt"
    torch.save({"net_G_ema": saved.state_dict()}, path)
    assert path.stat().st_size == pytest.approx(4 * 22_519_109, rel=0.01)
    read = read_network(path)
    assert sum(p.numel() for p in read.parameters()) == 22_519_109
    assert torch.equal(
        read.editing_net.decoder.final.model[0].weight,
        saved.editing_net.decoder.final.model[0].weight,
    )


def test_what_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with pytest.raises(FileNotFoundError, match=r"weights\.pt: no such file"):
        read_network(path)
    for junk in (b"", b"not a checkpoint", b"junkjunk", b"https://drive.google.com/uc?id=1"):
        path.write_bytes(junk)
        with pytest.raises(PIRenderError, match=r"weights\.pt is damaged, or no file of torch"):
            read_network(path)
    torch.save({"net_recon": {}}, path)
    with pytest.raises(PIRenderError, match=r"no 'net_G_ema' in it, but \['net_recon'\]"):
        read_network(path)
    torch.save({"net_G_ema": {"backbone.conv1.weight": torch.zeros(1)}}, path)
    with pytest.raises(PIRenderError, match=r"no mapping_net\.first\.0\.weight in it"):
        read_network(path)
    torch.save({"net_G_ema": {"mapping_net.first.0.weight": 3}}, path)
    with pytest.raises(PIRenderError, match=r"first\.0\.weight is int, expected a tensor"):
        read_network(path)


def test_every_tensor_must_be_there_and_fit(tmp_path: Path) -> None:
    state = dict(network().state_dict())
    name = "editing_net.decoder.res1.res0.norm1.mlp_beta.bias"
    path = tmp_path / "weights.pt"

    def refused(changed: dict[str, torch.Tensor], match: str) -> None:
        torch.save({"net_G_ema": changed}, path)
        with pytest.raises(PIRenderError, match=match):
            read_network(path)

    refused({k: v for k, v in state.items() if k != name}, rf"1 tensors are missing \({name}\)")
    refused(state | {"editing_net.extra": torch.zeros(1)}, r"1 are unknown \(editing_net\.extra\)")
    refused(state | {name: torch.zeros(5)}, rf"{name} is \[5\], expected \[24\]")
    bad = torch.full_like(state[name], torch.inf)
    refused(state | {name: bad}, f"{name} holds values that are not finite")


class _Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, ("harm",))


def test_pickled_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"net_G_ema": network().state_dict(), "opt_G": _Harm()}, "weights.pt")
    with pytest.raises(PIRenderError, match="save its 'net_G_ema' alone"):
        read_network(Path("weights.pt"))
    assert not Path("harm").exists()
