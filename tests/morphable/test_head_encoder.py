import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from dimitra.morphable import open_head
from dimitra.morphable.camera import (
    aligned_to_crop,
    angles_of,
    project,
    rotation,
    to_camera,
    turn_ahead,
)
from dimitra.morphable.head_encoder import (
    INPUT_PX,
    WINDOW_DM,
    HeadEncoder,
    HeadEstimate,
    cut_windows,
    encode_clip,
)
from dimitra.morphable.head_encoder_weights import EncoderWeightsError, load


@pytest.fixture(scope="module")
def model():
    return open_head.load()


class Knowing(torch.nn.Module):
    """Stands where the network stands and says what a real camera saw, frame by frame."""

    def __init__(self, model, pose, focal, centre, identity, expression, size):
        super().__init__()
        depth = 10.0 - pose[:, 5]
        self.scale = focal / depth
        self.origin = torch.stack(
            (
                centre[0] + focal * pose[:, 3] / depth,
                centre[1] - focal * pose[:, 4] / depth,
            ),
            dim=1,
        )
        ray = torch.stack((pose[:, 3], pose[:, 4], -depth), dim=1)
        self.angles = angles_of(turn_ahead(ray) @ rotation(pose[:, :3]))
        self.identity, self.expression, self.size = identity, expression, size
        self.calls = 0

    def say(self, picks, windows):
        right = self.scale[picks] * WINDOW_DM
        return HeadEstimate(
            self.identity.expand(len(picks), -1),
            self.expression[picks],
            self.angles[picks],
            (self.origin[picks] - windows[:, :2]) / windows[:, 2:],
            (right / windows[:, 2]).log(),
        )


def test_a_perfect_network_gives_the_pose_that_projects_onto_what_was_seen(model, monkeypatch):
    generator = torch.Generator().manual_seed(3)
    frames, size = 12, 256
    pose = torch.randn(frames, 6, generator=generator) * torch.tensor(
        [0.1, 0.2, 0.1, 0.3, 0.2, 0.3]
    )
    identity = torch.randn(80, generator=generator) * 0.5
    expression = torch.randn(frames, 64, generator=generator) * 0.5
    focal, centre = 880.0, (120.0, 135.0)
    oracle = Knowing(model, pose, focal, centre, identity, expression, size)

    def estimate(encoder, images, windows):
        picks = images[:, 0, 0, 0].long()  # frames carry their number
        return encoder.say(picks, windows)

    monkeypatch.setattr("dimitra.morphable.head_encoder._estimate", estimate)
    images = torch.arange(frames, dtype=torch.uint8)[:, None, None, None].expand(-1, size, size, 3)
    clip = encode_clip(oracle, model, images.split(5))

    seen = to_camera(model.landmarks(identity, expression), pose)
    near = focal / (10.0 - seen[..., 2])
    truth = torch.stack((centre[0] + near * seen[..., 0], centre[1] - near * seen[..., 1]), dim=-1)
    posed = to_camera(model.landmarks(clip.identity, clip.expression), clip.pose)
    found = aligned_to_crop(project(posed), clip.crop.expand(frames, 3), size)
    # Focal length and distance differ between the cameras: a head of 1 dm at 10 dm, a few percent.
    assert float((found - truth).abs().max()) < 1.0
    torch.testing.assert_close(clip.expression, expression)
    torch.testing.assert_close(clip.identity, identity)


def test_turn_ahead_turns_the_ray_by_the_smallest_angle():
    ray = torch.tensor([[0.3, -0.2, -1.0], [0.0, 0.0, -2.0]], dtype=torch.float64)
    turn = turn_ahead(ray)
    ahead = torch.einsum("bij,bj->bi", turn, ray / ray.norm(dim=1, keepdim=True))
    torch.testing.assert_close(ahead, torch.tensor([[0.0, 0.0, -1.0]] * 2, dtype=torch.float64))
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    angle = torch.arccos((turn[0].trace() - 1) / 2)
    torch.testing.assert_close(angle, torch.arctan(ray[0, :2].norm()))


def test_windows_show_the_named_part_of_a_picture():
    y, x = torch.meshgrid(torch.arange(200.0), torch.arange(160.0), indexing="ij")
    ramp = torch.stack((x, y, x + y))[None]
    window = torch.tensor([[70.0, 90.0, 56.0]])
    cut = cut_windows(ramp, window)
    wanted = 70.0 - 28.0 + 56.0 * (torch.arange(INPUT_PX) + 0.5) / INPUT_PX
    torch.testing.assert_close(cut[0, 0, 0], wanted, atol=1e-3, rtol=0)
    torch.testing.assert_close(cut[0, 1, :, 0], wanted + 20.0, atol=1e-3, rtol=0)


def test_a_wide_window_is_shrunk_without_aliasing():
    checks = (torch.arange(448)[:, None] + torch.arange(448)[None]) % 2
    image = checks.float().expand(1, 3, -1, -1)
    cut = cut_windows(image, torch.tensor([[223.5, 223.5, 448.0]]))
    assert float((cut - 0.5).abs().max()) < 0.1


def test_frames_that_are_not_rgb_bytes_are_refused(model):
    with pytest.raises(ValueError, match=r"torch.float32 \[2, 8, 8, 3\], expected uint8"):
        encode_clip(HeadEncoder(4).eval(), model, [torch.zeros(2, 8, 8, 3)])
    with pytest.raises(ValueError, match="no frames"):
        encode_clip(HeadEncoder(4).eval(), model, [])


def test_a_file_of_another_network_is_named(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file(
        {"x": torch.zeros(3)}, path, {"about": json.dumps({"shape": {"width": 8, "hidden": 16}})}
    )
    with pytest.raises(EncoderWeightsError, match=r"other\.safetensors: its tensors are not"):
        load(path)
    path.write_bytes(b"not a file of tensors")
    with pytest.raises(EncoderWeightsError, match=r"other\.safetensors: not a safetensors file"):
        load(path)
    with pytest.raises(FileNotFoundError, match=r"pipelines\.encoder"):
        load(tmp_path / "none.safetensors")


def test_an_estimate_is_a_value_per_window():
    encoder = HeadEncoder(4).eval()
    seen = encoder(torch.rand(3, 3, INPUT_PX, INPUT_PX))
    assert seen.identity.shape == (3, 80)
    assert seen.expression.shape == (3, 64)
    assert seen.scale.shape == (3,)
    assert replace(seen, angles=seen.angles * 0).angles.shape == (3, 3)
