"""Training of the renderer on photos that are moved by a known rule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from dimitra.learning.state import StateError, TrainingState
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import read_video
from dimitra.morphable.deng_coefficients import descriptors, windows
from dimitra.render import renderer_checkpoint
from dimitra.render.pirender import PIRenderer
from dimitra.render.pirender_network import PIRenderNet
from dimitra.render.pirender_weights import PIRenderError
from dimitra.render.reconstruction import PixelLoss
from dimitra.render.renderer_pairs import (
    CropCorpus,
    Pairs,
    RendererClip,
    face_region,
    pair_of,
)
from dimitra.render.renderer_state import STATE, RendererStep
from dimitra.render.renderer_training import (
    DescriptorScale,
    RendererDivergedError,
    RendererTraining,
    learning_rate_at,
    train_renderer,
)
from dimitra.shards import npz_bytes, write_shard
from tests.render.pirender_reference import SMALL

CPU = torch.device("cpu")
PHOTO = np.ascontiguousarray(astronaut()[0:256:4, 96:352:4])
CONFIG = RendererTraining(steps=6, warp_steps=2, learning_rate=1e-3, decay_every=4)


def landmarks(size: float = 64.0) -> np.ndarray:
    """68 points: an ellipse of the face, and one of the mouth inside it."""
    turn = np.linspace(0.0, 2 * np.pi, 48, endpoint=False)
    face = size * (0.5 + 0.3 * np.stack([np.cos(turn), np.sin(turn)], axis=1))
    around = np.linspace(0.0, 2 * np.pi, 20, endpoint=False)
    ring = np.stack([0.1 * np.cos(around), 0.05 * np.sin(around)], axis=1)
    mouth = size * (np.array([0.5, 0.65]) + ring)
    return np.concatenate([face, mouth]).astype(np.float32)


def clip(name: str, frames: int = 12) -> RendererClip:
    """A photo that shifts with its yaw."""
    rng = np.random.default_rng(len(name))
    motion = np.zeros((frames, 70), np.float32)
    shifts = rng.integers(-6, 7, frames)
    motion[:, 65] = 0.1 * shifts
    pictures = np.stack([np.roll(PHOTO, shift, axis=1) for shift in shifts])
    crop = np.tile(np.array([3.8, 32.0, 34.0], np.float32), (frames, 1))
    crop[:, 1] += np.arange(frames, dtype=np.float32)
    return RendererClip(name, pictures, motion, crop, np.tile(landmarks(), (frames, 1, 1)))


class Held:
    def __init__(self, *clips: RendererClip) -> None:
        self.clips = {one.clip_id: one for one in clips}

    @property
    def clip_ids(self) -> Sequence[str]:
        return sorted(self.clips)

    def load(self, clip_id: str) -> RendererClip:
        return self.clips[clip_id]


CORPUS = Held(clip("ann"), clip("bob"), clip("carol"))


def network() -> PIRenderNet:
    torch.manual_seed(1)
    return PIRenderNet(SMALL)


def bits(net: PIRenderNet) -> bytes:
    return b"".join(value.numpy().tobytes() for value in net.state_dict().values())


def test_a_pair_is_built_as_the_renderer_is_driven() -> None:
    one = CORPUS.clips["ann"]
    pair = pair_of(one, source=4, target=9)
    crop = np.tile(one.crop[4], (len(one.motion), 1))
    driving = windows(descriptors(torch.from_numpy(one.motion), torch.from_numpy(crop)))
    assert torch.equal(pair.window[0], driving[9])
    net = network().eval()
    expected = list(PIRenderer(net).render(one.frames[4], one.motion, crop))[9]
    with torch.inference_mode():
        drawn = net(pair.photo, pair.window).picture
    levels = 127.5 * (drawn[0].permute(1, 2, 0).numpy() + 1.0)
    assert np.abs(levels - expected).max() <= 0.51
    assert torch.equal(
        ((pair.target[0] + 1) * 127.5).round().byte().permute(1, 2, 0),
        torch.from_numpy(one.frames[9]),
    )


def test_the_face_region_has_the_area_of_its_ellipses() -> None:
    size = 256
    region = face_region(landmarks(size), size)
    mouth = region == 4.0
    assert set(np.unique(region)) == {0.0, 1.0, 4.0}
    assert mouth.sum() == pytest.approx(np.pi * 0.1 * 0.05 * size**2, rel=0.03)
    assert (region > 0).sum() == pytest.approx(np.pi * (0.3 * size) ** 2, rel=0.03)
    rows, columns = np.nonzero(mouth)
    assert (rows.mean() + 0.5, columns.mean() + 0.5) == pytest.approx(
        (0.65 * size, size / 2), abs=1
    )


def test_batches_depend_on_seed_and_step_alone_and_an_epoch_sees_every_clip() -> None:
    pairs = Pairs(CORPUS, 3, seed=5)
    later = pairs.batch(7)
    again = Pairs(Held(*CORPUS.clips.values()), 3, seed=5).batch(7)
    assert torch.equal(later.window, again.window)
    assert torch.equal(later.photo, again.photo)
    assert later.clip_ids[:3] == later.clip_ids[3:]
    assert torch.equal(later.photo[:3], later.target[3:])
    for step in range(4):
        assert sorted(name for name, _ in pairs.chosen(step)) == ["ann", "bob", "carol"]
    assert not torch.equal(Pairs(CORPUS, 3, seed=6).batch(7).photo, later.photo)


def test_folded_weights_make_of_raw_windows_what_scaled_ones_gave() -> None:
    net = network().double()
    generator = torch.Generator().manual_seed(2)
    scale = DescriptorScale(
        torch.randn(73, generator=generator), torch.rand(73, generator=generator) + 0.1
    )
    window = torch.randn(2, 73, 27, generator=generator).double()
    expected = net.mapping_net(scale(window))
    folded = network()
    folded.load_state_dict(scale.folded(network().state_dict()))
    torch.testing.assert_close(folded.double().mapping_net(window), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(net.mapping_net(window), expected, atol=1e-2)


def test_the_warping_net_is_trained_first_and_the_dead_branch_never() -> None:
    net = network()
    before = {name: value.clone() for name, value in net.named_parameters()}
    pairs = Pairs(CORPUS, 1, 0)
    curve = train_renderer(
        net,
        pairs,
        DescriptorScale.none(),
        PixelLoss(),
        RendererTraining(steps=2, warp_steps=2),
        CPU,
    )
    moved = {name for name, value in net.named_parameters() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in moved} == {"mapping_net", "warpping_net"}
    assert [one.final for one in curve] == [0.0, 0.0]
    assert [one.loss for one in curve] == pytest.approx([2.5 * one.warp for one in curve])
    curve = train_renderer(
        net,
        pairs,
        DescriptorScale.none(),
        PixelLoss(),
        RendererTraining(steps=2, warp_steps=0),
        CPU,
    )
    for name, value in net.named_parameters():
        dead = "res" in name and (".conv1." in name or ".norm1." in name)
        assert torch.equal(value, before[name]) == dead, name
    wanted = [2.5 * one.warp + 4.0 * one.final for one in curve]
    assert [one.loss for one in curve] == pytest.approx(wanted)


def test_one_batch_is_learnt() -> None:
    net = network()
    pairs = Pairs(Held(CORPUS.clips["ann"]), 1, 3)
    fixed = pairs.batch(0)
    pairs.batch = lambda step: fixed  # type: ignore[method-assign]
    config = RendererTraining(steps=150, warp_steps=30, learning_rate=3e-3, ema=0.0)
    curve = train_renderer(net, pairs, DescriptorScale.none(), PixelLoss(), config, CPU, ahead=0)
    assert curve[-1].final < 0.5 * curve[30].final
    assert curve[29].warp < curve[0].warp


def test_a_resumed_training_is_the_unbroken_one_to_the_bit() -> None:
    pairs = Pairs(CORPUS, 1, 0)
    states: list[TrainingState[RendererStep]] = []
    whole = network()
    curve = train_renderer(
        whole,
        pairs,
        DescriptorScale.none(),
        PixelLoss(),
        CONFIG,
        CPU,
        save_every=1,
        on_state=states.append,
    )
    for state in (states[0], states[3]):  # before and after the editing net has begun
        saved = STATE.decode(state.to_bytes("this"), "this")
        broken = network()
        second = train_renderer(
            broken, pairs, DescriptorScale.none(), PixelLoss(), CONFIG, CPU, resumed=saved, ahead=0
        )
        assert second == curve
        assert bits(broken) == bits(whole)
    with pytest.raises(StateError, match="belongs to training 'this'"):
        STATE.decode(states[0].to_bytes("this"), "that")
    with pytest.raises(StateError, match="cannot be read"):
        STATE.decode(b"junk", "this")
    other = PIRenderNet(SMALL.__class__(descriptor=8, widest=16, warp_width=4, edit_width=4))
    with pytest.raises(StateError, match="another model's"):
        train_renderer(
            other, pairs, DescriptorScale.none(), PixelLoss(), CONFIG, CPU, resumed=states[0]
        )


def test_the_average_is_of_the_weights() -> None:
    states: list[TrainingState[RendererStep]] = []
    config = RendererTraining(steps=3, warp_steps=3, ema=0.5)
    first = {name: value.clone() for name, value in network().named_parameters()}
    train_renderer(
        network(), Pairs(CORPUS, 1, 0), DescriptorScale.none(), PixelLoss(), config, CPU,
        save_every=1, on_state=states.append,
    )  # fmt: skip
    name = "mapping_net.first.0.weight"
    average = first[name]
    for step, state in enumerate(states):
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * state.tensors[f"weights.{name}"]
        torch.testing.assert_close(state.averaged()[name], average)


def test_the_rate_falls_in_steps() -> None:
    published = RendererTraining()
    rates = [learning_rate_at(step, published) for step in (0, 299_999, 300_000, 399_999)]
    assert rates == pytest.approx([1e-4, 1e-4, 2e-5, 2e-5])
    assert published.ema == pytest.approx(0.99778, abs=1e-5)


def test_bad_values_name_the_clip_and_leave_the_weights() -> None:
    bad = clip("bob")
    bad.motion[:] = np.nan
    net = network()
    before = bits(net)
    with pytest.raises(RendererDivergedError, match=r"step 0: the loss is nan.*clips bob;"):
        train_renderer(
            net,
            Pairs(Held(clip("ann"), bad), 2, 0),
            DescriptorScale.none(),
            PixelLoss(),
            CONFIG,
            CPU,
        )
    assert bits(net) == before


def test_crops_are_read_from_shards_at_another_size(tmp_path: Path) -> None:
    one = clip("ann", 3)
    big = np.repeat(np.repeat(one.frames, 2, axis=1), 2, axis=2)
    mp4 = encode_mp4(list(big), crf=1)
    fitted = {"expression": one.motion[:, :64], "pose": one.motion[:, 64:], "crop": one.crop}
    parts = {"mp4": mp4, "track.npz": npz_bytes({"landmarks": 2 * one.landmarks})}
    write_shard(tmp_path / "crops" / "0.tar", {"x-ann": parts, "x-bob": parts})
    write_shard(tmp_path / "motion" / "0.tar", {"x-ann": {"motion.npz": npz_bytes(fitted)}})
    places = [tmp_path / "crops" / "0.tar"], [tmp_path / "motion" / "0.tar"]
    read = CropCorpus(*places, ["x-ann"], 128, 64, 1).load("x-ann")
    assert read.frames.shape == (3, 64, 64, 3)
    assert np.abs(read.frames.astype(float) - one.frames).mean() < 6.0
    assert np.array_equal(read.motion, one.motion)
    np.testing.assert_allclose(read.crop, one.crop * np.array([2.0, 0.5, 0.5]), rtol=1e-6)
    np.testing.assert_allclose(read.landmarks, one.landmarks)
    assert len(read_video(mp4)) == 3
    with pytest.raises(ValueError, match=r"x-bob has no motion\.npz"):
        CropCorpus(*places, ["x-bob"], 128, 64, 1)
    with pytest.raises(ValueError, match=r"crops of 128x128 px, expected 256"):
        CropCorpus(*places, ["x-ann"], 256, 64, 1).load("x-ann")


def test_a_checkpoint_draws_the_same_and_is_checked(tmp_path: Path) -> None:
    net = network().eval()
    with pytest.raises(FileNotFoundError, match="dvc repro train_renderer"):
        renderer_checkpoint.load(tmp_path)
    renderer_checkpoint.save(tmp_path, net.state_dict(), SMALL, "open_head", 64, {"seed": 1}, [])
    read = renderer_checkpoint.load(tmp_path)
    assert (read.face_model, read.size, read.network.settings) == ("open_head", 64, SMALL)
    assert bits(read.network) == bits(net)
    weights = tmp_path / renderer_checkpoint.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(PIRenderError, match="cannot be read"):
        renderer_checkpoint.load(tmp_path)
