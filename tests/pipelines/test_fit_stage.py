"""The fit stage on one clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dimitra.clips import Clip, ClipError, Reason
from dimitra.morphable import open_head
from dimitra.morphable.camera import project
from dimitra.shards import npz_bytes, read_npz
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


def _worker_params(landmarks: str = "dlib") -> dict[str, object]:
    params = load("conf/sample.yaml").fit.model_dump(exclude={"deadline_s"})
    return {**params, "landmarks": landmarks}


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
    }
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
    with pytest.raises(ClipError, match=r"fit\.max_residual_px = 6\.0") as caught:
        make_worker(_worker_params())(_clip(), _track(noise))
    assert caught.value.reason is Reason.FIT_RESIDUAL
