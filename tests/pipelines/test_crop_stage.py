from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from skimage import data

from dimitra.assets import asset_path
from dimitra.clips import Clip, ClipError, Reason
from dimitra.faces.crop import to_source
from dimitra.faces.detector import DlibDetector
from dimitra.faces.landmarks import face_box
from dimitra.faces.mesh import unpack
from dimitra.media.audio import decode_flac, encode_flac
from dimitra.media.container import probe
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import read_video
from dimitra.shards import read_npz
from pipelines.crop import Cropper, _assets, _check_backends, _packages
from pipelines.errors import StageError
from pipelines.params import CropParams, load
from tests.faces import networks
from tests.media.films import (
    KINDS,
    click_times,
    constant,
    events,
    film,
    flash_onsets,
    variable,
)

FRAMES = 50
CLIP = Clip(
    clip_id="flight-astronaut-00001",
    dataset="flight",
    identity="astronaut",
    source_video="portrait",
    path="astronaut.mp4",
    audio_path=None,
    sha256="0" * 64,
    start_s=0.0,
    end_s=None,
    duration_s=2.0,
    fps=25.0,
    width=320,
    height=300,
    transcript=None,
    shard=0,
)


def _path(frames: int = FRAMES) -> NDArray[np.int64]:
    phase = np.linspace(0, 2 * np.pi, frames)
    return np.stack([60 + 14 * np.sin(phase), 6 + 5 * np.cos(2 * phase)], 1).round().astype(int)


def _frames(frames: int = FRAMES) -> list[NDArray[np.uint8]]:
    photo = data.astronaut()
    return [photo[y : y + 300, x : x + 320] for x, y in _path(frames)]


def _hum(seconds: float) -> NDArray[np.float32]:
    return (0.2 * np.sin(np.arange(round(seconds * 16_000)) * 0.06)).astype(np.float32)


def _write(
    folder: Path, frames: Sequence[NDArray[np.uint8]], sound: NDArray[np.float32] | None
) -> None:
    (folder / "astronaut.mp4").write_bytes(encode_mp4(frames, audio=sound, crf=12))


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    """Without the mesh, which is asked for where it matters: it takes most of the time."""
    profile = load(Path(__file__).parents[2] / "params.yaml")
    return {
        "crop": profile.crop.model_dump(exclude={"deadline_s"}) | {"mesh": "none"},
        "limits": profile.limits.model_dump(),
        "roots": {"flight": str(tmp_path)},
    }


def _refused(params: dict[str, Any], clip: Clip = CLIP) -> ClipError:
    with pytest.raises(ClipError) as caught:
        Cropper(params)(clip, {})
    return caught.value


@pytest.mark.parametrize("mesh", ["none", "mediapipe"])
def test_the_parts_keep_their_contract(tmp_path: Path, params: dict[str, Any], mesh: str) -> None:
    _write(tmp_path, _frames(), _hum(2.0))
    params["crop"]["mesh"] = mesh
    parts = Cropper(params)(CLIP, {})
    assert sorted(parts) == ["flac", "mp4", "track.npz"]
    info = probe(parts["mp4"], audio=False)
    assert (info.width, info.height, info.fps, info.audio_codec) == (256, 256, 25.0, None)
    video, (sound, rate) = read_video(parts["mp4"]), decode_flac(parts["flac"])
    assert video.shape == (FRAMES, 256, 256, 3)
    assert (len(sound), rate) == (FRAMES * 640, 16_000)
    track = read_npz(parts["track.npz"])
    shapes = {name: (value.shape, value.dtype.str[1:]) for name, value in track.items()}
    expected = {
        "boxes": ((FRAMES, 4), "f4"),
        "landmarks": ((FRAMES, 68, 2), "f4"),
        "detected": ((FRAMES,), "b1"),
        "transform": ((3,), "f4"),
    }
    if mesh == "none":
        assert shapes == expected
        return
    assert shapes == expected | {
        "mesh": ((FRAMES, 478, 2), "i2"),
        "mesh_unit": ((), "f4"),
        "mesh_scores": ((FRAMES, 52), "u2"),
        "mesh_found": ((FRAMES,), "b1"),
    }
    dense = unpack(track)
    assert dense is not None
    lips = dense.points[:, [61, 291]] - track["landmarks"][:, [48, 54]]
    assert np.abs(lips).mean() < 4
    assert track["detected"].all()
    assert DlibDetector().detect(video[20])


def test_landmarks_and_boxes_lie_on_the_face_that_moves(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    _write(tmp_path, _frames(), _hum(2.0))
    track = read_npz(Cropper(params)(CLIP, {})["track.npz"])
    source = to_source(track["landmarks"], track["transform"])
    assert np.abs(face_box(source) - track["boxes"]).max() < 12
    in_photo = source + _path()[:, None, :]
    assert in_photo.std(axis=0).mean() < 0.8
    # Pupils of the photograph, read off by eye.
    eyes = in_photo.mean(axis=0)[[[36, 37, 38, 39, 40, 41], [42, 43, 44, 45, 46, 47]]].mean(axis=1)
    assert eyes == pytest.approx(np.array([[203.5, 100.8], [246.8, 103.0]]), abs=3)


def test_two_runs_give_equal_bytes(tmp_path: Path, params: dict[str, Any]) -> None:
    _write(tmp_path, _frames(26), _hum(1.04))
    params["crop"]["mesh"] = "mediapipe"
    cropper = Cropper(params)
    assert cropper(CLIP, {}) == cropper(CLIP, {}) == Cropper(params)(CLIP, {})


def test_the_bytes_of_a_clip_do_not_depend_on_the_clips_before_it(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    """So one worker and two give the same shards."""
    _write(tmp_path, _frames(40)[14:], _hum(1.04))
    other = replace(CLIP, clip_id="flight-astronaut-00002", path="other.mp4")
    frames = [frame[:, ::-1] for frame in _frames(26)]
    (tmp_path / "other.mp4").write_bytes(encode_mp4(frames, audio=_hum(1.04), crf=12))
    params["crop"]["mesh"] = "mediapipe"
    one, another = Cropper(params), Cropper(params)
    first, second = one(CLIP, {}), one(other, {})
    assert another(other, {}) == second
    assert another(CLIP, {}) == first


def test_a_clip_too_large_to_keep_is_decoded_twice_to_the_same_bytes(
    tmp_path: Path, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, _frames(30), _hum(1.2))
    kept = Cropper(params)(CLIP, {})
    monkeypatch.setattr("pipelines.crop.KEPT_BYTES", 1_000_000)
    assert Cropper(params)(CLIP, {}) == kept


def test_a_piece_and_its_own_sound_file(tmp_path: Path, params: dict[str, Any]) -> None:
    _write(tmp_path, _frames(75), None)
    (tmp_path / "astronaut.flac").write_bytes(encode_flac(_hum(3.0)))
    clip = replace(CLIP, audio_path="astronaut.flac", start_s=1.0, end_s=2.4)
    parts = Cropper(params)(clip, {})
    assert len(read_video(parts["mp4"])) == 35
    assert np.abs(decode_flac(parts["flac"])[0] - _hum(3.0)[16_000:38_400]).max() < 1e-3


@pytest.mark.parametrize(("picture_s", "sound_s"), [(2.0, 1.5), (1.5, 2.0)])
def test_the_shorter_of_picture_and_sound_decides(
    tmp_path: Path, params: dict[str, Any], picture_s: float, sound_s: float
) -> None:
    _write(tmp_path, _frames(round(picture_s * 25)), _hum(sound_s))
    parts = Cropper(params)(CLIP, {})
    count = len(read_video(parts["mp4"]))
    assert count == pytest.approx(37.5, abs=0.6)
    assert len(decode_flac(parts["flac"])[0]) == count * 640
    assert len(read_npz(parts["track.npz"])["landmarks"]) == count


def test_silence_is_refused(tmp_path: Path, params: dict[str, Any]) -> None:
    _write(tmp_path, _frames(), np.zeros(32_000, np.float32))
    error = _refused(params)
    assert error.reason is Reason.SILENT_AUDIO
    assert CLIP.clip_id in error.message


def test_no_face_is_refused(tmp_path: Path, params: dict[str, Any]) -> None:
    _write(tmp_path, [data.astronaut()[300:500, 300:500]] * FRAMES, _hum(2.0))
    assert _refused(params).reason is Reason.NO_FACE


def test_a_face_that_leaves_for_too_long_is_refused(tmp_path: Path, params: dict[str, Any]) -> None:
    frames = _frames()
    frames[30:] = [np.full((300, 320, 3), 90, np.uint8)] * (FRAMES - 30)
    _write(tmp_path, frames, _hum(2.0))
    error = _refused(params)
    assert error.reason is Reason.FACE_LOST
    assert "40%" in error.message


def test_a_short_absence_is_marked_and_bridged(tmp_path: Path, params: dict[str, Any]) -> None:
    frames = _frames()
    frames[18:23] = [np.full((300, 320, 3), 90, np.uint8)] * 5
    _write(tmp_path, frames, _hum(2.0))
    track = read_npz(Cropper(params)(CLIP, {})["track.npz"])
    assert np.flatnonzero(~track["detected"]).tolist() == [18, 19, 20, 21, 22]
    steps = np.diff(track["landmarks"][17:24].mean(axis=1), axis=0)
    assert steps == pytest.approx(np.repeat(steps.mean(axis=0)[None], 6, axis=0), abs=1e-3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"path": "gone.mp4"}, Reason.MISSING_FILE),
        ({"start_s": 1.5}, Reason.TOO_SHORT),
        ({"audio_path": "astronaut.mp4"}, Reason.NO_AUDIO),
    ],
)
def test_what_the_manifest_promises_but_the_file_lacks(
    tmp_path: Path, params: dict[str, Any], change: dict[str, Any], reason: Reason
) -> None:
    silent = "audio_path" in change
    _write(tmp_path, _frames(), None if silent else _hum(2.0))
    assert _refused(params, replace(CLIP, **change)).reason is reason


def test_a_small_face_in_a_large_picture_is_sought_at_a_finer_scale(
    tmp_path: Path, params: dict[str, Any]
) -> None:
    frames = []
    for small in _frames(30):
        picture = np.full((720, 1280, 3), 60, np.uint8)
        picture[200:500, 500:820] = small
        frames.append(picture)
    _write(tmp_path, frames, _hum(1.2))
    parts = Cropper(params)(CLIP, {})
    track = read_npz(parts["track.npz"])
    assert track["detected"].all()
    assert 200 < (track["boxes"][:, 1]).mean() < 500
    assert track["transform"][0] > 0.8


@pytest.mark.parametrize(
    ("container", "rate", "video_late_s", "audio_s"),
    [
        ("mp4", None, 0.48, 12.0),
        ("mkv", Fraction(30_000, 1001), 0.0, 9.0),
        ("webm", Fraction(24_000, 1001), 0.0, 10.2),
        ("mov", Fraction(50), 0.0, 10.2),
        ("mp4", Fraction(60), 0.0, 10.2),
    ],
    ids=["variable-late-long-sound", "29.97-short-sound", "23.976", "50", "60"],
)
def test_flash_and_click_stay_together_from_the_file_to_the_crop(
    tmp_path: Path,
    params: dict[str, Any],
    container: str,
    rate: Fraction | None,
    video_late_s: float,
    audio_s: float,
) -> None:
    """Of a face that lights up: within half a frame at every event over ten seconds."""
    face = _frames(1)[0]
    times = variable(10.2) if rate is None else constant(rate, 10.2)
    at = [one + Fraction(str(video_late_s)) for one in events(times)]
    data = film(
        KINDS[container],
        times,
        at,
        video_late_s=video_late_s,
        audio_s=audio_s,
        picture=lambda lit: face if lit else face // 2,
    )
    (tmp_path / f"film.{container}").write_bytes(data)
    parts = Cropper(params)(replace(CLIP, path=f"film.{container}"), {})
    brightness = read_video(parts["mp4"]).mean(axis=(1, 2, 3))
    sound, _ = decode_flac(parts["flac"])
    heard = np.array(click_times(sound))
    within = [float(one) for one in at if one < audio_s - 0.1]
    assert len(sound) == len(brightness) * 640
    assert np.abs(heard - within).max() < 0.002
    assert np.abs(np.array(flash_onsets(brightness)) / 25 - heard).max() <= 0.0215


@pytest.fixture
def insightface(tmp_path: Path, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model pack whose faces are bright spots, in place of weights that only a user has."""
    pack = tmp_path / "pack"
    pack.mkdir()
    networks.spot_detector(pack / "det_10g.onnx")
    points = np.zeros((68, 2), np.float32)
    angle = np.linspace(0, np.pi, 17)
    points[:17] = np.stack([-0.4 * np.cos(angle), -0.05 + 0.55 * np.sin(angle)], axis=1)
    points[17:27] = np.stack([np.linspace(-0.3, 0.3, 10), np.full(10, -0.35)], axis=1)
    points[27:48] = np.stack([np.linspace(-0.25, 0.25, 21), np.full(21, -0.1)], axis=1)
    points[48:] = [0, 0.25]
    networks.steady_landmarks(pack / "1k3d68.onnx", points)
    monkeypatch.setattr(
        "pipelines.crop.asset_path", lambda ref: pack if ref == "pack" else asset_path(ref)
    )
    params["crop"] |= {"detector": "insightface", "detector_weights": "pack"}
    params["crop"] |= {"landmarks": "insightface", "landmarks_weights": "pack"}
    return pack


def test_insightface_finds_and_measures_in_place_of_dlib(
    tmp_path: Path, params: dict[str, Any], insightface: Path
) -> None:
    path = [(140 + round(20 * np.sin(index / 8)), 100) for index in range(FRAMES)]
    frames = []
    for x, y in path:
        frame = np.full((200, 320, 3), 20, np.uint8)
        frame[y - 12 : y + 12, x - 12 : x + 12] = 220
        frames.append(frame)
    _write(tmp_path, frames, _hum(2.0))
    parts = Cropper(params)(CLIP, {})
    track = read_npz(parts["track.npz"])
    assert track["detected"].all()
    source = to_source(track["landmarks"], track["transform"])
    middle = source[:, 27:48].mean(axis=1)
    assert np.abs(middle[:, 0] - [x for x, _ in path]).max() < 14
    assert Cropper(params)(CLIP, {}) == parts


def test_weights_of_another_kind_are_refused_before_any_work(
    params: dict[str, Any], insightface: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (insightface / "det_10g.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1")
    crop = CropParams(**params["crop"], deadline_s=10.0)
    with pytest.raises(StageError, match=r"det_10g\.onnx is no ONNX file \(42 bytes"):
        _check_backends(crop)
    other = params["crop"] | {"detector": "dlib", "detector_weights": None, "landmarks": "dlib"}
    with pytest.raises(StageError, match="pack is no file with bytes"):
        _check_backends(CropParams(**other, deadline_s=10.0))
    monkeypatch.setattr("pipelines.crop.asset_path", lambda ref: insightface / "1k3d68.onnx")
    with pytest.raises(StageError, match=r"1k3d68\.onnx is no shape predictor"):
        _check_backends(CropParams(**other, deadline_s=10.0))


def test_what_a_run_depends_on_follows_the_backends(params: dict[str, Any]) -> None:
    plain = CropParams(**params["crop"], deadline_s=10.0)
    assert _assets(plain) == ("dlib_68",)
    assert "insightface" not in _packages(plain)
    paper = plain.model_copy(
        update={"detector": "insightface", "detector_weights": "buffalo", "mesh": "mediapipe"}
    )
    assert _assets(paper) == ("dlib_68", "buffalo", "mediapipe_landmarker")
    assert {"insightface", "onnxruntime", "opencv-contrib-python"} <= set(_packages(paper))
    for change in ({"detector": "insightface"}, {"detector_weights": "buffalo"}):
        with pytest.raises(ValidationError, match="insightface needs weights"):
            CropParams(**(params["crop"] | change), deadline_s=10.0)
