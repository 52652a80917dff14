"""Precomputed coefficients of real clips: that offset and frame rate are right."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from dimitra.clips import Clip
from dimitra.morphable.coefficients import BFM_MOUTH
from dimitra.shards import read_npz
from pipelines.crop import Cropper
from pipelines.fitters.precomputed import PrecomputedFitter
from pipelines.params import load

VARIABLE = "DIMITRA_REAL_DATA"
CONF = Path(__file__).parents[2] / "conf" / "sample.yaml"
REAL = os.environ.get(VARIABLE)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(REAL is None, reason=f"{VARIABLE} names no folder with real clips"),
]


def _predicted(values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Least squares fitted on one half of the clip and read off on the other, both ways."""
    half = len(wanted) // 2
    result = np.empty(len(wanted))
    for fitted, seen in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        table = np.column_stack([values, np.ones(len(values))])
        solution = np.linalg.lstsq(table[fitted], wanted[fitted], rcond=1e-3)[0]
        result[seen] = table[seen] @ solution
    return result


@pytest.mark.parametrize("name", ["KristiNoem", "Obama_clip1"])
def test_the_mouth_opens_when_the_coefficients_say(name: str, tmp_path: Path) -> None:
    root = Path(REAL or "") / "styletalk"
    files = [root / f"{name}.mp4", root / f"{name}.wav"]
    clip = Clip(
        clip_id=f"styletalk-{name.lower()}",
        dataset="styletalk",
        identity=name,
        source_video=name,
        path=files[0].name,
        audio_path=files[1].name,
        sha256=hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest(),
        start_s=0.0,
        end_s=None,
        duration_s=18.0,
        fps=30.0,
        width=256,
        height=256,
        transcript=None,
        shard=0,
    )
    params = load(CONF)
    common = {"limits": params.limits.model_dump(), "roots": {"styletalk": str(root)}}
    crop = Cropper({"crop": params.crop.model_dump(exclude={"deadline_s"})} | common)(clip, {})
    (tmp_path / "styletalk").mkdir()
    shutil.copy(root / f"{name}.mat", tmp_path / "styletalk")
    fitter = PrecomputedFitter(
        {
            "coefficients": str(tmp_path),
            "coefficients_offset": 2,
            "face_model_weights": None,
            "max_residual_px": 8.0,
            "max_bad_frames": 0.05,
            "fps": 25,
            "size": 256,
        }
        | common
    )
    motion = read_npz(fitter(clip, crop)["motion.npz"])
    assert motion["alignment_px"].mean() < 5.0

    points = read_npz(crop["track.npz"])["landmarks"]
    wide = np.linalg.norm(points[:, 45] - points[:, 36], axis=1)
    opening = np.linalg.norm(points[:, 66] - points[:, 62], axis=1) / wide
    mouth = motion["expression"][:, list(BFM_MOUTH)]
    inside = np.arange(5, len(opening) - 5)
    found = {
        lag: np.corrcoef(_predicted(mouth[inside + lag], opening[inside]), opening[inside])[0, 1]
        for lag in range(-4, 5)
    }
    assert max(found, key=lambda lag: found[lag]) == 0
    assert found[0] > 0.85
    assert max(found[-2], found[2]) < 0.6
    # The face's place in the picture, by the file and by the crop's own landmarks.
    nose = points[:, 30]
    placed = {
        lag: np.corrcoef(motion["crop"][inside + lag, 1], nose[inside, 0])[0, 1]
        for lag in range(-4, 5)
    }
    assert max(placed, key=lambda lag: placed[lag]) in (-1, 0, 1)
