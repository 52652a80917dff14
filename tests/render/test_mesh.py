"""The mesh renderer on a photograph: nothing moves by itself, landmarks move as they are told."""

from __future__ import annotations

import dlib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.data import astronaut

from dimitra.assets import asset_path
from dimitra.morphable import camera, open_head
from dimitra.morphable.fit import FitSettings, fit_clip
from dimitra.morphable.model import FaceModel
from dimitra.render.head import lid_opening, lip_opening, place, prepare_head
from dimitra.render.mesh import MeshRenderer, freeze_pose

SIZE = 256


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return open_head.load()


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    return np.ascontiguousarray(astronaut()[0:SIZE, 96 : 96 + SIZE])


class Landmarks:
    def __init__(self) -> None:
        self.detect = dlib.get_frontal_face_detector()
        self.predict = dlib.shape_predictor(str(asset_path("dlib_68")))

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        boxes = self.detect(image, 1)
        assert boxes, "no face in the frame"
        shape = self.predict(image, max(boxes, key=lambda box: box.area()))
        return np.array([[point.x, point.y] for point in shape.parts()], float)


@pytest.fixture(scope="module")
def landmarks() -> Landmarks:
    return Landmarks()


@pytest.fixture(scope="module")
def fitted(model: FaceModel, photo: NDArray[np.uint8], landmarks: Landmarks):
    points = torch.tensor(landmarks(photo)[None], dtype=torch.float32)
    fit = fit_clip(model, points, None, FitSettings())
    reference = np.concatenate([fit.expression[0], fit.pose[0]]).astype(np.float32)
    return np.asarray(fit.identity, np.float32), np.asarray(fit.crop, np.float32), reference


@pytest.fixture(scope="module")
def renderer(model: FaceModel) -> MeshRenderer:
    return MeshRenderer(model)


def units(model: FaceModel, **activations: float) -> NDArray[np.float32]:
    values = torch.zeros(len(model.unit_names))
    for name, value in activations.items():
        values[model.unit_names.index(name)] = value
    assert model.units_to_expression is not None
    return (values @ model.units_to_expression).numpy()


def one(renderer, photo, fitted, motion) -> NDArray[np.uint8]:
    identity, crop, reference = fitted
    (frame,) = renderer.render(photo, identity, crop, reference, motion[None])
    return frame


def test_the_reference_motion_gives_the_photo_back(renderer, photo, fitted) -> None:
    frame = one(renderer, photo, fitted, fitted[2])
    error = np.abs(frame.astype(float) - photo)
    assert frame.shape == photo.shape
    assert error.mean() < 0.5
    assert np.quantile(error, 0.995) < 12


@pytest.mark.parametrize(
    "change",
    [
        {"jawOpen": 0.35},
        {"mouthPucker": 0.6},
        {"browInnerUp": 0.8},
        {"yaw": 0.12},
        {"pitch": 0.1},
        {"roll": -0.12},
        {"right": 0.12},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_detector_finds_the_face_where_the_model_put_it(
    model, renderer, photo, fitted, landmarks, change
) -> None:
    identity, crop, reference = fitted
    motion = reference.copy()
    motion[:64] += units(model, **{k: v for k, v in change.items() if k in model.unit_names})
    for index, name in enumerate(("pitch", "yaw", "roll", "right")):
        motion[64 + index] += change.get(name, 0.0)

    def expected(values: NDArray[np.float32]) -> NDArray[np.float64]:
        row = torch.from_numpy(values)
        points = camera.to_camera(model.landmarks(torch.from_numpy(identity), row[:64]), row[64:])
        return camera.aligned_to_crop(camera.project(points), torch.from_numpy(crop)).numpy()

    moved = (expected(motion) - expected(reference))[17:]
    seen = (landmarks(one(renderer, photo, fitted, motion)) - landmarks(photo))[17:]
    left = np.linalg.norm(seen - moved, axis=1).mean()
    assert left < 0.6 * np.linalg.norm(moved, axis=1).mean() + 0.5
    assert left < 3.0


def test_the_border_rests_and_nothing_is_left_blank(renderer, photo, fitted) -> None:
    motion = fitted[2].copy()
    motion[65] += 0.3
    frame = one(renderer, photo, fitted, motion)
    for edge in (np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert np.abs(frame[edge].astype(float) - photo[edge]).mean() < 6.0
    assert np.abs(frame.astype(float) - photo).mean() > 4.0


def test_an_open_mouth_is_dark_inside_with_teeth(model, renderer, photo, fitted) -> None:
    motion = fitted[2].copy()
    motion[:64] += units(model, jawOpen=0.6)
    frame = one(renderer, photo, fitted, motion).mean(axis=2)
    changed = np.abs(frame - photo.mean(axis=2)) > 40
    rows = np.flatnonzero(changed[:, 100:156].any(axis=1))
    assert frame[rows[0] : rows[-1], 100:156].min() < 60


def test_closed_eyes_show_skin(model, renderer, photo, fitted, landmarks) -> None:
    motion = fitted[2].copy()
    motion[:64] += units(model, eyeBlinkLeft=0.75, eyeBlinkRight=0.75)
    frame = one(renderer, photo, fitted, motion)
    points = landmarks(photo)
    for eye in (points[36:42], points[42:48]):
        x, y = np.rint(eye.mean(axis=0)).astype(int)
        before = photo[y - 2 : y + 3, x - 2 : x + 3].mean()
        assert frame[y - 3 : y + 1, x - 2 : x + 3].mean() > before + 20  # no iris


def test_eyes_that_the_photo_shows_closed_open_with_whites_and_irises(
    model, renderer, photo, fitted, landmarks
) -> None:
    identity, crop, reference = fitted
    shut = reference.copy()
    shut[:64] += units(model, eyeBlinkLeft=0.9, eyeBlinkRight=0.9)
    asleep = one(renderer, photo, fitted, shut)
    (awake,) = renderer.render(asleep, identity, crop, shut, reference[None])
    points = landmarks(photo)
    for eye in (points[36:42], points[42:48]):
        (x0, y0), (x1, y1) = (
            np.rint(eye.min(axis=0)).astype(int),
            np.rint(eye.max(axis=0)).astype(int),
        )
        opened = awake[y0 : y1 + 1, x0 : x1 + 1].mean(axis=2)
        assert np.ptp(opened) > 100


def test_frames_repeat_to_the_byte_in_any_block(renderer, photo, fitted) -> None:
    identity, crop, reference = fitted
    rng = np.random.default_rng(0)
    motion = reference + 0.1 * rng.normal(size=(40, 70)).astype(np.float32)
    first = list(renderer.render(photo, identity, crop, reference, motion))
    second = list(renderer.render(photo, identity, crop, reference, motion))
    assert len(first) == 40
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_openings_follow_the_face_units(model: FaceModel) -> None:
    head = prepare_head(model)
    identity = torch.zeros(80)

    def vertices(**activations: float) -> NDArray[np.float32]:
        return model.vertices(identity, torch.from_numpy(units(model, **activations))).numpy()

    rest, shut = vertices(), vertices(eyeBlinkLeft=0.7, eyeBlinkRight=0.7)
    right, left = lid_opening(shut, head.landmarks) / lid_opening(rest, head.landmarks)
    assert max(left, right) < 0.45
    wide = lip_opening(vertices(jawOpen=0.6), head.landmarks)
    assert wide > lip_opening(rest, head.landmarks) + 0.1


def test_twins_mirror_each_other(model: FaceModel) -> None:
    head = prepare_head(model)
    mirrored = head.mean[head.twin] * [-1.0, 1.0, 1.0]
    distance = np.linalg.norm(mirrored - head.mean, axis=1)
    assert np.median(distance) < 1e-3
    assert np.quantile(distance, 0.99) < 0.03


def test_freezing_holds_the_pose_and_nothing_else() -> None:
    motion = np.random.default_rng(0).normal(size=(5, 70)).astype(np.float32)
    frozen = freeze_pose(motion, motion[2])
    np.testing.assert_array_equal(frozen[:, :64], motion[:, :64])
    np.testing.assert_array_equal(frozen[:, 64:], np.tile(motion[2, 64:], (5, 1)))


def test_wrong_shapes_are_refused(renderer, photo, fitted) -> None:
    identity, crop, reference = fitted
    with pytest.raises(ValueError, match="70"):
        next(renderer.render(photo, identity, crop, reference, np.zeros((3, 64), np.float32)))
    with pytest.raises(ValueError, match="S, S, 3"):
        next(renderer.render(photo[:100], identity, crop, reference, reference[None]))


def test_hair_goes_with_the_head_and_the_wall_stays(model, renderer, photo, fitted) -> None:
    motion = fitted[2].copy()
    motion[67] += 0.15
    frame = one(renderer, photo, fitted, motion).astype(float)
    both = np.stack([fitted[2], motion])
    points = place(prepare_head(model), fitted[0], both, fitted[1], SIZE).projected[..., :2]
    step = round(float(np.diff(points[..., 0], axis=0).mean()))
    assert step > 8
    hair = np.s_[28:120, 62:76]  # beside the left temple: no vertex of the head lies there
    moved = np.s_[28:120, 62 + step : 76 + step]
    beside = np.abs(frame[moved] - photo[hair]).mean()
    assert beside < 0.5 * np.abs(frame[moved] - photo[moved].astype(float)).mean()
    for wall in (np.s_[:120, :24], np.s_[:120, -20:]):
        assert np.abs(frame[wall] - photo[wall]).mean() < 1.0
