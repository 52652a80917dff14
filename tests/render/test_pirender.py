"""The renderer around PIRender's network; its weights are seeded, so its pictures mean nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from dimitra.render.pirender import PIRenderer, limit_angles, to_bytes
from dimitra.render.pirender_network import PIRenderSettings
from dimitra.render.pirender_weights import PIRenderError
from tests.render.pirender_reference import SMALL, network, pictures

FRAMES = 40
PHOTO = np.ascontiguousarray(astronaut()[0:256:4, 96:352:4])
CROP = np.array([3.8, 32.0, 34.0], np.float32)


def _motion(frames: int = FRAMES) -> np.ndarray:
    rng = np.random.default_rng(0)
    motion = rng.normal(0.0, 1.0, (frames, 70)).astype(np.float32)
    motion[:, 64:67] *= 0.3
    return motion


def _draw(motion: np.ndarray, batch: int = 16, device: str = "cpu") -> np.ndarray:
    renderer = PIRenderer(network(), device, batch)
    return np.stack(list(renderer.render(PHOTO, motion, np.tile(CROP, (len(motion), 1)))))


def test_frames_are_the_networks_pictures_of_the_photo_and_the_windows() -> None:
    motion = _motion(3)
    frames = _draw(motion)
    assert frames.shape == (3, 64, 64, 3)
    assert frames.dtype == np.uint8
    # Frame 1 of three: the first frame 13 times, the middle once, the last 13 times.
    padded = np.concatenate(
        [np.tile(motion[:1], (13, 1)), motion[1:2], np.tile(motion[2:], (13, 1))]
    )
    window = np.concatenate([padded, np.tile(CROP, (27, 1))], axis=1).T
    photo = torch.from_numpy(PHOTO.transpose(2, 0, 1) / 127.5 - 1.0)[None]
    state = network().double().state_dict()
    picture, _, _ = pictures(state, photo, torch.from_numpy(window).double()[None])
    expected = 127.5 * (picture[0].permute(1, 2, 0).numpy() + 1.0)
    assert np.abs(frames[1] - expected).max() < 0.51


def test_a_frames_bytes_depend_on_its_window_alone() -> None:
    motion = _motion()
    whole = _draw(motion)
    assert np.array_equal(_draw(motion, batch=5), whole)
    shorter = _draw(motion[:30])
    assert np.array_equal(shorter[:17], whole[:17])  # frame 16 sees up to frame 29
    assert not np.array_equal(shorter[17], whole[17])


def test_motion_and_crop_drive_the_picture() -> None:
    motion = _motion(2)
    renderer = PIRenderer(network())
    first = next(renderer.render(PHOTO, motion, np.tile(CROP, (2, 1))))
    for column in (0, 65, 69):
        changed = motion.copy()
        changed[:, column] += 1.0
        assert not np.array_equal(
            next(renderer.render(PHOTO, changed, np.tile(CROP, (2, 1)))), first
        )
    assert not np.array_equal(
        next(renderer.render(PHOTO, motion, np.tile(CROP + 1, (2, 1)))), first
    )


def test_levels_are_rounded() -> None:
    values = torch.tensor([-2.0, -1.0, 0.0, 0.002, 1.0 - 0.6 / 127.5, 1.0, 2.0])
    levels = to_bytes(values.expand(1, 3, 1, 7))
    assert levels[0, 0, :, 0].tolist() == [0, 0, 128, 128, 254, 255, 255]


def test_angles_stay_near_frame_0() -> None:
    motion = np.zeros((3, 70), np.float32)
    motion[:, 64] = [0.5, 0.65, 1.5]
    motion[:, 65] = [-0.1, -0.9, 0.0]
    motion[:, 63] = motion[:, 67] = [0.0, 2.0, -2.0]
    limited = limit_angles(motion, 0.2)
    assert limited[:, 64] == pytest.approx([0.5, 0.65, 0.7])
    assert limited[:, 65] == pytest.approx([-0.1, -0.3, 0.0])
    others = np.delete(np.arange(70), [64, 65])
    assert np.array_equal(limited[:, others], motion[:, others])
    assert motion[2, 64] == 1.5


def test_bad_input_is_named() -> None:
    renderer = PIRenderer(network())
    motion, crop = _motion(2), np.tile(CROP, (2, 1))
    with pytest.raises(ValueError, match=r"photo is uint8 \(63, 64, 3\)"):
        next(renderer.render(PHOTO[:63], motion, crop))
    with pytest.raises(ValueError, match="S a multiple of 32"):
        next(renderer.render(PHOTO[:48, :48], motion, crop))
    with pytest.raises(ValueError, match=r"motion is \(2, 73\), expected \[T > 0, 70\]"):
        next(renderer.render(PHOTO, np.zeros((2, 73), np.float32), crop))
    with pytest.raises(ValueError, match=r"crop is \(1, 3\), expected \[2, 3\]"):
        next(renderer.render(PHOTO, motion, crop[:1]))
    motion[1, 3] = np.nan
    with pytest.raises(ValueError, match="motion of frame 1 is not finite"):
        next(renderer.render(PHOTO, motion, crop))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told() -> None:
    with pytest.raises(PIRenderError, match=r"sees no GPU; use cpu \(render\.device\)"):
        PIRenderer(network(), "cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_draws_the_same_in_16_bits_whatever_is_beside_a_frame() -> None:
    motion = _motion()
    on_cpu, on_gpu = _draw(motion), _draw(motion, device="cuda")
    assert np.abs(on_gpu.astype(float) - on_cpu).mean() < 4.0
    assert np.array_equal(_draw(motion, device="cuda"), on_gpu)
    assert np.array_equal(_draw(motion[:30], device="cuda")[:16], on_gpu[:16])


@pytest.mark.parametrize(
    ("device", "settings"),
    [
        ("cpu", SMALL),
        pytest.param(
            "cuda",
            PIRenderSettings(),
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
            ],
        ),
    ],
)
def test_16_bits_cost_little(device: str, settings: PIRenderSettings) -> None:
    net = network(settings).to(device)
    photo = torch.from_numpy(PHOTO.transpose(2, 0, 1) / 127.5 - 1.0).float()[None].to(device)
    window = torch.randn(1, 73, 27, generator=torch.Generator().manual_seed(3)).to(device)
    window[:, 71:] = 128.0  # of these, 16 bits would keep half a pixel
    exact = net(photo, window)
    with torch.autocast(device, torch.bfloat16):
        half = net(photo, window)
    assert half.picture.dtype == half.flow.dtype == torch.float32
    assert not torch.equal(half.flow, exact.flow)
    # The flow's grid has a quarter of the photo's resolution.
    assert 4.0 * (half.flow - exact.flow).abs().mean() < 0.2
    assert 127.5 * (half.picture - exact.picture).abs().mean() < 3.0
