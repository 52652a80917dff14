"""Deng's encoder: architecture, names and crop, without its weights."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dimitra.morphable import deng
from dimitra.morphable.alignment import align, five_points
from dimitra.morphable.camera import aligned_to_crop, crop_to_aligned
from dimitra.morphable.deng_coefficients import to_vector
from dimitra.morphable.encoder import FaceEncoder

_SMALL = deng.ResNetSettings(blocks=(1, 2, 1, 1), width=8)


def _small_network() -> deng.ReconNet:
    """A small network with weights and statistics that are not trivial."""
    generator = torch.Generator().manual_seed(0)
    network = deng.ReconNet(_SMALL)
    state = network.state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0, generator=generator)
        elif value.is_floating_point():
            fan = max(value[0].numel(), 1) if value.ndim > 1 else 25
            value.normal_(0.0, fan**-0.5, generator=generator)
    return network.eval()


def _face(
    seed: int, frames: int = 4, height: int = 256, noise_px: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth random frames, and 68 landmarks around the standard five points in them."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (frames, 24, 24, 3), dtype=np.uint8)
    pictures = [np.asarray(Image.fromarray(p).resize((256, height), Image.BICUBIC)) for p in small]
    landmarks = torch.full((frames, 68, 2), height / 2)
    points = torch.tensor(deng.STANDARD_POINTS)[:, :2] * torch.tensor([1.0, -1.0])
    for frame in range(frames):
        place = torch.tensor([128.0 + rng.uniform(-15, 15), height / 2 + rng.uniform(-15, 15)])
        noise = noise_px * torch.from_numpy(rng.normal(0, 1, (5, 2)))
        image = place + rng.uniform(75, 120) * points + noise
        for row, numbers in enumerate(((36, 39), (42, 45), (30,), (48,), (54,))):
            landmarks[frame, list(numbers)] = image[row].float()
    return torch.from_numpy(np.stack(pictures)), landmarks


def test_resnet_50_has_its_known_size_and_names() -> None:
    with torch.device("meta"):
        network = deng.ReconNet()
    # 25,557,032 parameters of the ImageNet classifier less its last layer's 2,049,000.
    assert sum(p.numel() for p in network.backbone.parameters()) == 25_557_032 - 2_049_000
    state = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert len(state) == 318 + 14
    assert state["backbone.conv1.weight"] == (64, 3, 7, 7)
    assert state["backbone.layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert state["backbone.layer2.0.downsample.1.running_mean"] == (512,)
    assert state["backbone.layer3.5.conv2.weight"] == (256, 256, 3, 3)
    assert state["backbone.layer4.2.bn3.num_batches_tracked"] == ()
    assert "backbone.layer4.1.downsample.0.weight" not in state
    assert not any(".fc." in name for name in state)
    heads = [state[f"final_layers.{k}.weight"] for k in range(7)]
    assert heads == [(size, 2048, 1, 1) for size in (80, 64, 80, 3, 27, 2, 1)]
    assert state["final_layers.3.bias"] == (3,)


def test_backbone_agrees_with_transformers_resnet() -> None:
    transformers = pytest.importorskip("transformers")
    widths = [32, 64, 128, 256]
    theirs = transformers.ResNetModel(
        transformers.ResNetConfig(
            embedding_size=8,
            hidden_sizes=widths,
            depths=list(_SMALL.blocks),
            layer_type="bottleneck",
        )
    ).eval()
    ours = _small_network()

    def renamed(name: str) -> str:
        name = name.removeprefix("backbone.")
        name = re.sub(r"^conv1\.", "embedder.embedder.convolution.", name)
        name = re.sub(r"^bn1\.", "embedder.embedder.normalization.", name)
        name = re.sub(r"^layer(\d)\.", lambda m: f"encoder.stages.{int(m[1]) - 1}.layers.", name)
        name = re.sub(r"\.conv(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.convolution.", name)
        name = re.sub(r"\.bn(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.normalization.", name)
        return name.replace("downsample.0", "shortcut.convolution").replace(
            "downsample.1", "shortcut.normalization"
        )

    state = {f"backbone.{n}": v for n, v in ours.backbone.state_dict().items()}
    theirs.load_state_dict({renamed(name): value for name, value in state.items()})
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        pooled = theirs(images).pooler_output
        assert torch.allclose(ours.backbone(images), pooled, atol=1e-4, rtol=1e-4)
        values = ours(images)
    assert values.shape == (2, 257)
    angles = torch.nn.functional.conv2d(
        pooled, ours.final_layers[3].weight, ours.final_layers[3].bias
    )
    assert torch.allclose(values[:, 224:227], angles.flatten(1), atol=1e-4, rtol=1e-4)


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    network = _small_network()
    path = tmp_path / "epoch_20.pth"
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 10)
    torch.save(
        {
            "net_recon": network.state_dict(),
            "opt_00": optimiser.state_dict(),
            "sched_00": schedule.state_dict(),
        },
        path,
    )
    loaded = deng.ReconNet(_SMALL).eval()
    deng.load_weights(loaded, path)
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))


def test_wrong_checkpoints_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "epoch_20.pth"
    network = deng.ReconNet(_SMALL)
    state = network.state_dict()

    def refused(contents: object, message: str) -> None:
        torch.save(contents, path)
        with pytest.raises(deng.DengWeightsError, match=message):
            deng.load_weights(network, path)

    name = "backbone.layer2.1.conv2.weight"
    wrong = {**state, name: torch.zeros(16, 16, 1, 1)}
    refused({"net_recon": wrong}, rf"{name} is \[16, 16, 1, 1\], expected \[16, 16, 3, 3\]")
    refused({"net_recon": {**state, name: 3}}, rf"{name} is int")
    spoiled = {**state, name: torch.full_like(state[name], torch.nan)}
    refused({"net_recon": spoiled}, rf"{name} holds values that are not finite")
    short = {key: value for key, value in state.items() if key != "final_layers.6.bias"}
    refused({"net_recon": short}, r"1 tensors are missing \(final_layers.6.bias\)")
    refused({"net_recon": {**state, "backbone.fc.weight": torch.zeros(1)}}, r"backbone\.fc\.weight")
    refused({"net_G": state}, r"no 'net_recon' in it, but \['net_G'\]")
    refused(torch.zeros(3), "no 'net_recon'")
    with pytest.raises(FileNotFoundError, match="place epoch_20.pth"):
        deng.load(tmp_path / "absent.pth")


class _Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def test_a_checkpoint_cannot_execute_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "epoch_20.pth"
    torch.save({"net_recon": _Payload()}, path)
    with pytest.raises(deng.DengWeightsError, match="save its 'net_recon' alone"):
        deng.load_weights(deng.ReconNet(_SMALL), path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("junk", [b"cut off", b"junkjunk", b"https://drive.google.com/uc?id=1"])
def test_what_is_no_checkpoint_is_called_damaged(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "epoch_20.pth"
    path.write_bytes(junk)
    with pytest.raises(deng.DengWeightsError, match=r"epoch_20\.pth is damaged, or no file of"):
        deng.load_weights(deng.ReconNet(_SMALL), path)


@pytest.mark.parametrize("crop", [(0.9, 128.0, 128.0), (1.3, 100.4, 160.2), (0.4, 20.0, 200.0)])
def test_aligned_frames_agree_with_pillow(crop: tuple[float, float, float]) -> None:
    frames, _ = _face(0, frames=1, height=240)
    ours = deng.aligned_frames(frames, torch.tensor([crop]))[0].permute(1, 2, 0) * 255
    scale, x, y = (float(value) for value in torch.tensor(crop))
    wide, high = int(256 * scale), int(240 * scale)
    left = int(wide / 2 - 112 + (x - 128) * scale)
    top = int(high / 2 - 112 + (120 - y) * scale)
    picture = Image.fromarray(frames[0].numpy()).resize((wide, high), Image.BICUBIC)
    theirs = np.asarray(picture.crop((left, top, left + 224, top + 224))).astype(float)
    assert np.abs(ours.numpy() - theirs).max() < 2.5  # Pillow rounds its filter weights too
    assert np.abs(ours.numpy() - theirs).mean() < 0.01


def test_landmarks_land_where_deng_puts_them() -> None:
    _, landmarks = _face(1, noise_px=0.0)
    standard = torch.tensor(deng.STANDARD_POINTS)
    crop = align(landmarks, standard)
    points = five_points(crop_to_aligned(landmarks, crop))
    expected = 112 + 102 * standard[:, :2] * torch.tensor([1.0, -1.0])
    # Deng flips y at H - 1 and places the crop at H: one pixel of the frame.
    assert torch.allclose(points[..., 0], expected[:, 0].expand(4, 5), atol=1e-3)
    shift = points[..., 1] - expected[:, 1] + crop[:, :1]
    assert shift.abs().max() < 1e-3


def test_a_dot_stays_within_a_pixel_of_the_camera_transform() -> None:
    crop = torch.tensor([[0.95, 121.3, 139.7]])
    frames = torch.zeros(1, 256, 256, 3, dtype=torch.uint8)
    frames[0, 128:131, 118:121] = 255
    image = deng.aligned_frames(frames, crop)[0, 0]
    rows, columns = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing="ij")
    found = torch.stack([(columns * image).sum(), (rows * image).sum()]) / image.sum()
    expected = crop_to_aligned(torch.tensor([[[119.0, 129.0]]]), crop)[0, 0]
    assert (found - expected).abs().max() < 1.5
    back = aligned_to_crop(expected[None, None], crop)
    assert torch.allclose(back, torch.tensor([119.0, 129.0]), atol=1e-3)


def test_encoder_is_the_same_in_batches_and_frame_by_frame() -> None:
    frames, landmarks = _face(2, frames=5)
    encoder: FaceEncoder = deng.DengEncoder(_small_network(), batch=2)
    together = encoder(frames, landmarks)
    vector = to_vector(together.coefficients)
    assert vector.shape == (5, 257)
    assert together.crop.shape == (5, 3)
    assert vector.std(dim=0).min() > 0
    for frame in range(5):
        alone = encoder(frames[frame : frame + 1], landmarks[frame : frame + 1])
        assert torch.allclose(to_vector(alone.coefficients)[0], vector[frame], atol=1e-5)
        assert torch.equal(alone.crop[0], together.crop[frame])
    empty = encoder(frames[:0], landmarks[:0])
    assert to_vector(empty.coefficients).shape == (0, 257)


def test_bad_input_is_refused() -> None:
    frames, landmarks = _face(3, frames=2)
    encoder = deng.DengEncoder(_small_network())
    with pytest.raises(ValueError, match=r"landmarks are \[1, 68, 2\], expected \[2, 68, 2\]"):
        encoder(frames, landmarks[:1])
    with pytest.raises(ValueError, match=r"torch.float32 .* expected uint8"):
        encoder(frames.float(), landmarks)
    with pytest.raises(ValueError, match=r"crop is \[3\], expected \[2, 3\]"):
        deng.aligned_frames(frames, torch.ones(3))
    with pytest.raises(ValueError, match="frame 1: alignment"):
        encoder(frames, torch.stack([landmarks[0], torch.full((68, 2), 50.0)]))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_agrees_with_cpu() -> None:
    frames, landmarks = _face(4)
    network = _small_network()
    cpu = to_vector(deng.DengEncoder(network)(frames, landmarks).coefficients)
    gpu = to_vector(deng.DengEncoder(network, "cuda")(frames, landmarks).coefficients)
    assert torch.allclose(cpu, gpu, atol=1e-2)
