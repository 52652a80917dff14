"""The fit stage on one clip."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data

from dimitra.clips import Clip, ClipError, Reason
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import read_video
from dimitra.morphable import open_head
from dimitra.morphable.camera import aligned_to_crop, project, rotation, to_camera
from dimitra.morphable.model import vertex_normals
from dimitra.sample.heads import HEADS_PER_SKULL, draw_heads
from dimitra.shards import Members, npz_bytes, read_npz
from pipelines.crop import Cropper
from pipelines.fit import make_worker
from pipelines.params import load

_FRAMES = 12


def _clip() -> Clip:
    return Clip(
        clip_id="chorus-id0-a",
        dataset="chorus",
        identity="id0",
        source_video="a",
        path="a.mp4",
        audio_path=None,
        sha256="0" * 64,
        start_s=0.0,
        end_s=None,
        duration_s=0.48,
        fps=25.0,
        width=320,
        height=320,
        transcript=None,
        shard=0,
    )


def _track(landmarks: torch.Tensor) -> dict[str, bytes]:
    arrays = {
        "landmarks": landmarks.numpy().astype(np.float32),
        "detected": np.ones(len(landmarks), dtype=bool),
    }
    return {"track.npz": npz_bytes(arrays)}


def _worker_params(
    landmarks: str = "dlib", photometric: bool = False, method: str = "landmarks"
) -> dict[str, Any]:
    params = load("conf/sample.yaml").fit.model_dump(exclude={"deadline_s"})
    return {**params, "method": method, "landmarks": landmarks, "photometric": photometric}


@pytest.fixture(scope="module")
def crop(tmp_path_factory: pytest.TempPathFactory) -> Members:
    """What the crop stage makes of a photograph that moves."""
    folder = tmp_path_factory.mktemp("raw")
    photo = data.astronaut()
    frames = [photo[4:304, 50 + step : 370 + step] for step in range(2 * _FRAMES + 2)]
    hum = np.sin(np.arange(len(frames) * 640) * 0.06).astype(np.float32)
    (folder / "a.mp4").write_bytes(encode_mp4(frames, audio=0.2 * hum, crf=12))
    params = load("conf/sample.yaml")
    cropper = Cropper(
        {
            "crop": params.crop.model_dump(exclude={"deadline_s"}) | {"mesh": "mediapipe"},
            "limits": params.limits.model_dump(),
            "roots": {"chorus": str(folder)},
        }
    )
    return cropper(_clip(), {})


def test_the_contract_of_motion() -> None:
    model = open_head.load()
    landmarks = project(model.mean[model.landmarks_68]).expand(_FRAMES, -1, -1)
    parts = make_worker(_worker_params())(_clip(), _track(landmarks))
    motion = read_npz(parts["motion.npz"])
    assert {name: value.shape for name, value in motion.items()} == {
        "identity": (80,),
        "expression": (_FRAMES, 64),
        "pose": (_FRAMES, 6),
        "crop": (_FRAMES, 3),
        "residual_px": (_FRAMES,),
        "explained": (_FRAMES,),
    }
    assert motion.pop("explained").all()
    assert all(value.dtype == np.float32 for value in motion.values())
    assert np.ptp(motion["crop"], axis=0).max() == 0
    assert motion["residual_px"].max() < 1.0
    assert np.abs(motion["pose"][:, :3]).max() < 0.02


def test_a_track_without_a_mesh_is_refused_where_the_mesh_is_asked_for() -> None:
    landmarks = torch.full((_FRAMES, 68, 2), 128.0)
    with pytest.raises(ValueError, match="set crop.mesh: mediapipe"):
        make_worker(_worker_params("mediapipe"))(_clip(), _track(landmarks))


def test_landmarks_that_are_no_face() -> None:
    noise = torch.rand(_FRAMES, 68, 2, generator=torch.Generator().manual_seed(0)) * 256
    with pytest.raises(ClipError, match=r"fit\.max_residual_px = 5\.0") as caught:
        make_worker(_worker_params())(_clip(), _track(noise))
    assert caught.value.reason is Reason.FIT_RESIDUAL


def test_a_frame_beyond_the_limit_is_marked() -> None:
    model = open_head.load()
    landmarks = project(model.mean[model.landmarks_68]).repeat(_FRAMES, 1, 1)
    noise = torch.rand(68, 2, generator=torch.Generator().manual_seed(0))
    landmarks[5] += 60 * (noise - 0.5)
    parts = make_worker(_worker_params())(_clip(), _track(landmarks))
    motion = read_npz(parts["motion.npz"])
    assert motion["explained"].dtype == np.bool_
    assert np.flatnonzero(~motion["explained"]).tolist() == [5]
    limit = load("conf/sample.yaml").fit.max_residual_px
    assert np.array_equal(motion["explained"], motion["residual_px"] <= limit)


def test_texture_and_light_of_a_crop(crop: Members) -> None:
    worker = make_worker(_worker_params("mediapipe", photometric=True))
    parts = worker(_clip(), crop)
    assert parts == worker(_clip(), crop)
    motion = read_npz(parts["motion.npz"])
    assert motion["texture"].shape == (80,)
    assert motion["illumination"].shape == (27,)
    assert motion["explained"].all()

    # The model so lit and coloured is closer to the picture than the mean face in plain light.
    model = open_head.load()
    frame = len(motion["pose"]) // 2
    fitted = {name: torch.from_numpy(value) for name, value in motion.items()}
    vertices = model.vertices(fitted["identity"], fitted["expression"][frame])
    posed = to_camera(vertices[None], fitted["pose"][frame][None])
    places = aligned_to_crop(project(posed), fitted["crop"][frame], 256)[0].round().long()
    skin = model.part("skin") & (places.min(1)[0] >= 0) & (places.max(1)[0] < 256)
    normals = vertex_normals(posed, model.triangles)[0]
    skin &= normals[:, 2] > 0.6
    picture = torch.from_numpy(read_video(crop["mp4"])[frame]).float() / 255
    seen = picture[places[skin, 1], places[skin, 0]]

    def miss(texture: torch.Tensor, light: torch.Tensor) -> float:
        colours = model.colours(texture, light, normals)
        return float((colours[skin] - seen).abs().median())  # hair covers some

    plain = miss(torch.zeros(80), torch.zeros(27))
    assert miss(fitted["texture"], fitted["illumination"]) < 0.65 * plain


def test_colours_that_cannot_be_estimated_are_absent_and_the_log_says_why(
    crop: Members, caplog: pytest.LogCaptureFixture
) -> None:
    frames = len(read_npz(crop["track.npz"])["detected"])
    white = encode_mp4([np.full((256, 256, 3), 255, np.uint8)] * frames)
    with caplog.at_level(logging.WARNING):
        parts = make_worker(_worker_params("mediapipe", photometric=True))(
            _clip(), crop | {"mp4": white}
        )
    motion = read_npz(parts["motion.npz"])
    assert not {"texture", "illumination"} & motion.keys()
    assert "chorus-id0-a: no texture, no illumination: 0 pixels of skin" in caplog.text


def test_the_encoder_sees_what_was_drawn() -> None:
    """Heads of a person nobody was trained on, against what they were drawn from."""
    model = open_head.load()
    heads = draw_heads(model, 987654321, 0, HEADS_PER_SKULL, 256)  # one person, as in a clip
    shape = model.landmarks(torch.from_numpy(heads.identity), torch.from_numpy(heads.expression))
    turned = shape @ rotation(torch.from_numpy(heads.angles)).transpose(1, 2)
    near = (torch.from_numpy(heads.scale) * 10)[:, None] / (10 - turned[..., 2])
    side = torch.tensor((1.0, -1.0))
    landmarks = torch.from_numpy(heads.origin)[:, None] + near[..., None] * turned[..., :2] * side
    parts = _track(landmarks) | {"mp4": encode_mp4(list(heads.images), crf=12)}
    worker = make_worker(_worker_params(method="encoder"))
    motion = read_npz(worker(_clip(), parts)["motion.npz"])
    assert motion["expression"].shape == (HEADS_PER_SKULL, 64)
    assert motion["explained"].all()
    assert np.median(motion["residual_px"]) < 2.0
    alone = worker(_clip(), parts)
    assert alone == worker(_clip(), parts)
    ahead = worker.load(_clip(), parts)
    assert ahead.blocks is not None
    long = replace(ahead, blocks=None)  # as a clip of many frames: decoded when it is needed
    assert worker.many([_clip()] * 2, [ahead, long]) == [alone, alone]

    jaw = model.landmarks(torch.zeros(80), torch.from_numpy(motion["expression"]))
    true = model.landmarks(torch.zeros(80), torch.from_numpy(heads.expression))

    def opening(points: torch.Tensor) -> np.ndarray[Any, Any]:
        return torch.linalg.vector_norm(points[:, 66] - points[:, 62], dim=-1).numpy()

    assert np.corrcoef(opening(jaw), opening(true))[0, 1] > 0.9


def test_a_face_that_the_encoder_does_not_explain() -> None:
    model = open_head.load()
    landmarks = project(model.mean[model.landmarks_68]).expand(_FRAMES, -1, -1)
    grey = encode_mp4([np.full((256, 256, 3), 90, np.uint8)] * _FRAMES)
    with pytest.raises(ClipError, match=r"fit\.max_residual_px = 5\.0") as caught:
        make_worker(_worker_params(method="encoder"))(_clip(), _track(landmarks) | {"mp4": grey})
    assert caught.value.reason is Reason.FIT_RESIDUAL


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_encoder_answers_alike_on_a_gpu() -> None:
    model = open_head.load()
    heads = draw_heads(model, 987654321, 0, HEADS_PER_SKULL, 256)
    parts = _track(project(model.mean[model.landmarks_68]).expand(HEADS_PER_SKULL, -1, -1))
    parts |= {"mp4": encode_mp4(list(heads.images), crf=12)}
    motions = []
    for device in ("cpu", "cuda"):
        limits = {"device": device, "max_residual_px": 1000.0}
        worker = make_worker(_worker_params(method="encoder") | limits)
        motions.append(read_npz(worker(_clip(), parts)["motion.npz"]))
    for name in ("expression", "pose", "identity"):
        np.testing.assert_allclose(motions[0][name], motions[1][name], atol=2e-2)
