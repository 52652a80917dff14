from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates

from dimitra.assets import asset_path
from dimitra.clips import ClipError, Reason
from dimitra.faces.backends import load_detector, load_landmarker
from dimitra.faces.boxes import overlap
from dimitra.faces.detector import Detection, DlibDetector
from dimitra.faces.insightface import (
    FaceWeightsError,
    InsightFaceDetector,
    InsightFaceLandmarks,
    from_face_box,
    to_face_box,
)
from dimitra.faces.landmarks import face_box, load_68
from dimitra.faces.track import FaceTracker
from dimitra.media.video import SCALING, iterate_frames, luma, scaler
from tests.faces import networks

REAL = os.environ.get("DIMITRA_REAL_DATA")


def _random_heads(seed: int = 2) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    rng = np.random.default_rng(seed)
    heads = {}
    for name, width in networks.KINDS:
        for stride in networks.STRIDES:
            count = networks.ANCHORS * width
            weight = rng.normal(0, 3 if name == "score" else 1, (count, 3)).astype(np.float32)
            if name == "score":  # black, which pads pictures, is no face
                weight += (
                    rng.uniform(3.5, 4.5, (count, 1)) - weight.sum(axis=1, keepdims=True)
                ) / 3
            bias = np.full(count, -2.5 if name == "score" else 3.0, np.float32)
            heads[f"{name}_{stride}"] = weight, bias
    return heads


def _picture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Coarse noise: cells of different brightness at every stride."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(10, 246, (height // 16 + 1, width // 16 + 1, 3))
    fine = rng.integers(-10, 10, (height, width, 3))
    return (np.kron(coarse, np.ones((16, 16, 1), int))[:height, :width] + fine).astype(np.uint8)


def _decode(file: Path, image: NDArray[np.uint8], lowest: float) -> list[tuple[float, NDArray]]:
    """SCRFD as its paper has it: distances to the sides, in strides, from each cell's corner."""
    height, width = (-(-side // 32) * 32 for side in image.shape[:2])
    padded = np.zeros((height, width, 3))
    padded[: image.shape[0], : image.shape[1]] = image if image.ndim == 3 else image[..., None]
    blob = ((padded - 127.5) / 128).transpose(2, 0, 1)[None].astype(np.float32)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, {"input.1": blob}), strict=True))
    candidates = []
    for stride in networks.STRIDES:
        scores, sides = outputs[f"score_{stride}"], outputs[f"bbox_{stride}"] * stride
        cells = [(y, x) for y in range(height // stride) for x in range(width // stride)]
        for index, (score, (left, up, right, down)) in enumerate(
            zip(scores[:, 0], sides, strict=True)
        ):
            y, x = (value * stride for value in cells[index // networks.ANCHORS])
            if score >= lowest:
                box = np.array([x - left, y - up, x + right, y + down], np.float32)
                candidates.append((float(score), box))
    kept: list[tuple[float, NDArray]] = []
    for score, box in sorted(candidates, key=lambda one: -one[0]):
        one = box + np.array([0, 0, 1, 1])  # the package counts the last pixel in
        if all(overlap(one, other + np.array([0, 0, 1, 1])) <= 0.4 for _, other in kept):
            kept.append((score, box))
    return kept


@pytest.mark.parametrize("shape", [(96, 64), (180, 320), (61, 203)])
@pytest.mark.parametrize("grey", [True, False])
def test_detections_are_those_of_an_independent_decoder(
    tmp_path: Path, shape: tuple[int, int], grey: bool
) -> None:
    file = networks.detector(tmp_path / "det_test.onnx", _random_heads())
    image = _picture(*shape)[..., 0] if grey else _picture(*shape)
    found = InsightFaceDetector(file, threshold=0.5, doubtful=0.2).detect(image)
    expected = _decode(file, image, 0.2)
    assert len(found) == len(expected) > 3
    assert {face.score < 0 for face in found} == {True, False}
    for face, (score, box) in zip(found, expected, strict=True):
        assert face.score == pytest.approx(score - 0.5, abs=1e-5)
        assert face.box == pytest.approx(to_face_box(box), abs=0.01)


def test_a_network_of_fixed_size_sees_small_pictures_as_they_are(tmp_path: Path) -> None:
    free = InsightFaceDetector(networks.spot_detector(tmp_path / "free.onnx"))
    fixed = InsightFaceDetector(networks.spot_detector(tmp_path / "fixed.onnx", (320, 320)))
    image = np.full((180, 320), 20, np.uint8)
    image[88:112, 144:168] = 230
    assert [face.box.tolist() for face in free.detect(image)] == [
        face.box.tolist() for face in fixed.detect(image)
    ]
    assert free.near is not None
    assert fixed.near is None
    large = np.kron(image, np.ones((4, 4), np.uint8))
    (face,) = fixed.detect(large)
    assert face.box[2] - face.box[0] == pytest.approx(4 * 0.78 * 80, abs=1)


@given(st.floats(-100, 900), st.floats(-100, 900), st.floats(20, 400), st.floats(20, 400))
def test_the_two_conventions_of_boxes_undo_each_other(
    x: float, y: float, width: float, height: float
) -> None:
    scrfd = np.array([x, y, x + width, y + height], np.float32)
    square = from_face_box(to_face_box(scrfd))
    middle, side = (scrfd[:2] + scrfd[2:]) / 2, max(width, height)
    assert square == pytest.approx(np.concatenate([middle - side / 2, middle + side / 2]), abs=1e-2)


def test_landmarks_are_those_of_an_independent_implementation(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    weight = rng.normal(0, 0.3, (48, 3 * networks.MESH_POINTS)).astype(np.float32)
    bias = rng.normal(0, 0.3, 3 * networks.MESH_POINTS).astype(np.float32)
    file = networks.landmarks(tmp_path / "1k3d68.onnx", weight, bias)
    images = np.stack([_picture(120, 200, seed)[..., 0] for seed in range(3)])
    boxes = np.array([[40, 20, 110, 90], [-20, 5, 50, 75], [100.5, 30.2, 190.1, 119.8]], np.float32)
    frames = np.array([2, 0, 2])
    points = InsightFaceLandmarks(file).measure(images, boxes, frames)
    assert points.shape == (3, 68, 2)
    for box, frame, found in zip(boxes, frames, points, strict=True):
        x0, y0, x1, y1 = from_face_box(box)
        scale = 192 / (1.5 * (x1 - x0))
        v, u = np.mgrid[:192, :192]
        x, y = ((u - 96) / scale + (x0 + x1) / 2, (v - 96) / scale + (y0 + y1) / 2)
        cut = map_coordinates(images[frame].astype(float), [y, x], order=1, mode="grid-constant")
        cells = ((cut - 127.5) / 128).reshape(4, 48, 4, 48).mean(axis=(1, 3)).ravel()
        mesh = (np.tile(cells, 3) @ weight + bias).reshape(-1, 3)[-68:, :2]
        expected = ((mesh + 1) * 96 - 96) / scale + [(x0 + x1) / 2, (y0 + y1) / 2]
        assert np.abs(found - expected).max() < 0.1


def _face() -> NDArray[np.float32]:
    """68 points in -1..1 of the landmark network's picture, whose face box is the one asked for."""
    points = np.zeros((68, 2), np.float32)
    angle = np.linspace(0, np.pi, 17)
    points[:17] = np.stack([-70 * np.cos(angle), -100 + 100 * np.sin(angle)], axis=1)
    points[17:27] = np.stack([np.linspace(-50, 50, 10), np.full(10, -135.0)], axis=1)
    points[27:48] = np.stack([np.linspace(-40, 40, 21), np.full(21, -100.0)], axis=1)
    points[48:] = [0, -40]
    box = from_face_box(face_box(points))
    middle, side = (box[:2] + box[2:]) / 2, float(box[2] - box[0])
    return np.asarray((points - middle) / (0.75 * side), np.float32)


def _spots(path: list[tuple[int, int] | None], brightness: list[int]) -> list[NDArray[np.uint8]]:
    frames = []
    for spot, value in zip(path, brightness, strict=True):
        frame = np.full((180, 320), 20, np.uint8)
        if spot is not None:
            frame[spot[1] - 12 : spot[1] + 12, spot[0] - 12 : spot[0] + 12] = value
        frames.append(frame)
    return frames


@pytest.fixture(params=["free", "fixed"])
def tracker(request: pytest.FixtureRequest, tmp_path: Path) -> FaceTracker:
    """InsightFace's classes on a network whose faces are bright spots."""
    size = ("height", "width") if request.param == "free" else (320, 320)
    return FaceTracker(
        load_detector("insightface", networks.spot_detector(tmp_path / "det.onnx", size)),
        load_landmarker(
            "insightface", networks.steady_landmarks(tmp_path / "1k3d68.onnx", _face())
        ),
        detect_every=5,
    )


SURE, DOUBTFUL, NOTHING = 200, 115, 90
"""Brightness of spots whose scores are 0.91, 0.40 and 0.24."""


def test_a_face_is_followed_through_doubtful_frames_and_not_into_nothing(
    tracker: FaceTracker,
) -> None:
    path: list[tuple[int, int] | None] = [(100 + 2 * index, 90) for index in range(40)]
    brightness = [SURE] * 10 + [DOUBTFUL] * 15 + [NOTHING] * 15
    track = tracker.follow(_spots(path, brightness))
    assert track.detected.tolist() == [True] * 25 + [False] * 15
    centre = face_box(track.landmarks[:25]).reshape(-1, 2, 2).mean(axis=1)
    # The spot's cell of 8 pixels that is brightest may be any of those inside.
    assert np.abs(centre[:, 0] - [100 + 2 * index for index in range(25)]).max() < 14


def test_a_doubtful_face_starts_no_track(tracker: FaceTracker) -> None:
    with pytest.raises(ClipError) as caught:
        tracker.follow(_spots([(150, 90)] * 20, [DOUBTFUL] * 20))
    assert caught.value.reason is Reason.NO_FACE


def test_of_two_faces_the_steadier_is_kept(tracker: FaceTracker) -> None:
    frames = _spots([(90, 90)] * 30, [SURE] * 30)
    for frame in frames[5:15]:
        frame[78:102, 228:252] = SURE
    track = tracker.follow(frames)
    assert track.detected.all()
    assert face_box(track.landmarks)[:, [0, 2]].mean() < 130


def test_wrong_weights_are_named(tmp_path: Path) -> None:
    text = tmp_path / "det_10g.onnx"
    text.write_bytes(b"<html>404 not found</html>")
    with pytest.raises(FaceWeightsError, match=r"det_10g\.onnx is no ONNX file \(26 bytes"):
        InsightFaceDetector(text)
    text.write_bytes(b"")
    with pytest.raises(FaceWeightsError, match="0 bytes"):
        InsightFaceDetector(text)
    with pytest.raises(FaceWeightsError, match=r"gone\.onnx is not a file"):
        InsightFaceDetector(tmp_path / "gone.onnx")
    mesh = networks.steady_landmarks(tmp_path / "1k3d68.onnx", _face())
    with pytest.raises(FaceWeightsError, match=r"no SCRFD detector: it takes data .*3309"):
        InsightFaceDetector(mesh)
    detector = networks.detector(tmp_path / "other.onnx", _random_heads())
    with pytest.raises(FaceWeightsError, match=r"not InsightFace's 1k3d68: .*score_8"):
        InsightFaceLandmarks(detector)
    flat = networks.landmarks(
        tmp_path / "2d106det.onnx", np.zeros((48, 212), np.float32), np.zeros(212, np.float32)
    )
    with pytest.raises(FaceWeightsError, match=r"fc1 \[1, 212\].*need .*3309"):
        InsightFaceLandmarks(flat)
    odd = networks.detector(tmp_path / "odd.onnx", _random_heads(), (100, 640))
    with pytest.raises(FaceWeightsError, match=r"pictures of \[100, 640\]"):
        InsightFaceDetector(odd)
    with pytest.raises(ValueError, match="doubtful"):
        InsightFaceDetector(detector, threshold=0.4, doubtful=0.5)


def test_a_model_pack_is_a_folder(tmp_path: Path) -> None:
    pack = tmp_path / "buffalo_l"
    pack.mkdir()
    with pytest.raises(FaceWeightsError, match=r"holds 0 files .*its \.onnx files: none"):
        InsightFaceDetector(pack)
    networks.spot_detector(pack / "det_10g.onnx")
    networks.steady_landmarks(pack / "1k3d68.onnx", _face())
    image = _spots([(150, 90)], [SURE])[0]
    (face,) = InsightFaceDetector(pack).detect(image)
    points = InsightFaceLandmarks(pack).measure(image[None], face.box[None])
    assert face_box(points[0]) == pytest.approx(face.box, abs=0.5)
    networks.spot_detector(pack / "det_500m.onnx")
    with pytest.raises(FaceWeightsError, match="holds 2 files"):
        InsightFaceDetector(pack)


def _real_clips() -> list[Path]:
    assert REAL is not None
    return sorted([*Path(REAL).glob("talking/*.mp4"), *Path(REAL).glob("styletalk/*.mp4")])


def _searched(film: Path, every: int) -> list[NDArray[np.uint8]]:
    """Frames as the crop stage searches them: grey, 320 pixels."""
    shrink, frames = None, []
    for index, frame in enumerate(iterate_frames(film)):
        if index % every == 0:
            if shrink is None:
                ratio = 320 / max(frame.width, frame.height)
                size = f"{round(frame.width * ratio)}:{round(frame.height * ratio)}"
                shrink = scaler(frame, f"scale={size}:flags={SCALING},format=gray")
            frames.append(luma(shrink(frame)).copy())
    return frames


@pytest.mark.skipif(REAL is None, reason="DIMITRA_REAL_DATA names no folder of real footage")
def test_real_faces_are_sure_and_lie_where_dlib_has_them() -> None:
    assert REAL is not None
    ours = load_detector("insightface", Path(REAL) / "weights/scrfd_500m_bnkps.onnx")
    theirs, points = DlibDetector(), load_68(asset_path("dlib_68"))

    def settled(image: NDArray[np.uint8], face: Detection) -> NDArray[np.float32]:
        return face_box(points.measure(image[None], face.box[None]))[0]

    for film in _real_clips():
        for image in _searched(film, 60):
            best, known = ours.detect(image), theirs.detect(image)[0]
            assert best[0].score > 0.1, film.name
            assert all(face.score < 0 for face in best[1:]), film.name
            assert overlap(settled(image, best[0]), settled(image, known)) > 0.8, film.name


@pytest.mark.skipif(REAL is None, reason="DIMITRA_REAL_DATA names no folder of real footage")
@pytest.mark.parametrize("name", ["retalking_1", "retalking_4"])
def test_real_clips_are_followed_as_with_dlib(name: str) -> None:
    assert REAL is not None
    frames = _searched(Path(REAL) / f"talking/{name}.mp4", 1)
    tracks = [
        FaceTracker(load_detector(kind, weights), load_68(asset_path("dlib_68"))).follow(frames)
        for kind, weights in (
            ("dlib", None),
            ("insightface", Path(REAL) / "weights/scrfd_500m_bnkps.onnx"),
        )
    ]
    first, second = (face_box(track.landmarks) for track in tracks)
    assert tracks[1].detected.all()
    assert np.median([overlap(*pair) for pair in zip(first, second, strict=True)]) > 0.9


@pytest.mark.skipif(REAL is None, reason="DIMITRA_REAL_DATA names no folder of real footage")
def test_of_two_real_people_the_larger_is_followed_and_equals_are_refused() -> None:
    assert REAL is not None
    folder = Path(REAL) / "talking"
    left = _searched(folder / "WDA_KatieHill_000.mp4", 5)
    right = _searched(folder / "WDA_AlexandriaOcasioCortez_000.mp4", 5)
    tracker = FaceTracker(
        load_detector("insightface", Path(REAL) / "weights/scrfd_500m_bnkps.onnx"),
        load_68(asset_path("dlib_68")),
    )

    def beside(side: int) -> Iterator[NDArray[np.uint8]]:
        for one, other in zip(left, right, strict=True):
            small = np.asarray(Image.fromarray(other).resize((side, side)))
            frame = np.zeros((320, 640), np.uint8)
            frame[:, :320], frame[:side, 320 : 320 + side] = one, small
            yield frame

    track = tracker.follow(beside(200))
    assert track.detected.all()
    assert track.landmarks[..., 0].max() < 330
    with pytest.raises(ClipError) as caught:
        tracker.follow(beside(290))
    assert caught.value.reason is Reason.SEVERAL_FACES
