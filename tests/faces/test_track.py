from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data
from skimage.color import rgb2gray

from dimitra.assets import asset_path
from dimitra.clips import ClipError, Reason
from dimitra.faces.detector import Detection, DlibDetector
from dimitra.faces.landmarks import face_box, load_68
from dimitra.faces.track import BLOCK, FaceTracker, interpolate, smooth_boxes

FRAMES = 40
WINDOW = 220


@pytest.fixture(scope="module")
def tracker() -> FaceTracker:
    return FaceTracker(DlibDetector(-0.5), load_68(asset_path("dlib_68")), detect_every=8)


def _path() -> list[tuple[int, int]]:
    """Window corners that make the astronaut's face wander."""
    phase = np.linspace(0, 2 * np.pi, FRAMES)
    return [(round(120 + 25 * np.sin(p)), round(20 + 15 * np.cos(2 * p))) for p in phase]


def _photo() -> NDArray[np.uint8]:
    return np.rint(255 * rgb2gray(data.astronaut())).astype(np.uint8)


def _wander() -> list[NDArray[np.uint8]]:
    photo = _photo()
    return [photo[y : y + WINDOW, x : x + WINDOW].copy() for x, y in _path()]


def _grey() -> NDArray[np.uint8]:
    return np.full((WINDOW, WINDOW), 128, np.uint8)


def test_a_wandering_face_is_followed(tracker: FaceTracker) -> None:
    track = tracker.follow(_wander())
    assert track.detected.all()
    assert track.landmarks.shape == (FRAMES, 68, 2)
    # In the photograph's own pixels the face does not move at all.
    still = track.landmarks + np.array(_path())[:, None, :]
    assert still.std(axis=0).mean() < 1.0


def test_two_runs_agree(tracker: FaceTracker) -> None:
    first, second = tracker.follow(_wander()[:17]), tracker.follow(iter(_wander()[:17]))
    assert np.array_equal(first.landmarks, second.landmarks)


@pytest.mark.parametrize("gap", [(3, 6), (8, 17), (0, 5), (35, 40), (16, 17)])
def test_frames_without_the_face_are_interpolated_and_marked(
    tracker: FaceTracker, gap: tuple[int, int]
) -> None:
    frames = _wander()
    for index in range(*gap):
        frames[index] = _grey()
    track = tracker.follow(frames)
    expected = np.ones(FRAMES, bool)
    expected[slice(*gap)] = False
    looked_at = [0, 8, 16, 24, 32, 39]
    if any(gap[0] <= index < gap[1] for index in looked_at):
        assert np.array_equal(track.detected, expected)
        assert track.missing == pytest.approx((gap[1] - gap[0]) / FRAMES)
    assert np.isfinite(track.landmarks).all()


def test_a_video_without_a_face_is_named(tracker: FaceTracker) -> None:
    with pytest.raises(ClipError, match="empty-room") as caught:
        tracker.follow([_grey()] * 10, "empty-room")
    assert caught.value.reason is Reason.NO_FACE


def _pair(right: float) -> Iterator[NDArray[np.uint8]]:
    """The astronaut twice; the right one scaled."""
    from skimage.transform import resize

    left = _photo()[:240, 110:350]
    size = round(240 * right)
    other = (resize(left, (size, size), anti_aliasing=True) * 255).astype(np.uint8)
    for _ in range(9):
        frame = np.full((240, 480), 100, np.uint8)
        frame[:, :240] = left
        frame[:size, 240 : 240 + size] = other
        yield frame


def test_the_larger_face_is_followed(tracker: FaceTracker) -> None:
    track = tracker.follow(_pair(0.8))
    assert (track.landmarks[..., 0] < 240).all()


def test_two_equal_faces_are_ambiguous(tracker: FaceTracker) -> None:
    with pytest.raises(ClipError) as caught:
        list(tracker.follow(_pair(1.0), "duet").detected)
    assert caught.value.reason is Reason.SEVERAL_FACES


def test_interpolation_is_linear_and_holds_the_ends() -> None:
    values = np.array([[9.0], [0.0], [9.0], [9.0], [3.0], [9.0]], np.float32)
    known = np.array([False, True, False, False, True, False])
    assert interpolate(values, known)[:, 0].tolist() == [0.0, 0.0, 1.0, 2.0, 3.0, 3.0]


def test_smoothing_leaves_a_steady_face_alone() -> None:
    points = np.random.default_rng(0).uniform(0, 100, (1, 68, 2)).astype(np.float32)
    assert smooth_boxes(np.repeat(points, 12, axis=0)) == pytest.approx(
        np.repeat(face_box(points), 12, axis=0), abs=1e-3
    )


class Watched:
    """dlib's detector, which notes how large the pictures are that it is shown."""

    near = DlibDetector.near

    def __init__(self) -> None:
        self._detector = DlibDetector(-0.5)
        self.shown: list[tuple[int, int]] = []

    def detect(self, image: NDArray[np.uint8]) -> list[Detection]:
        self.shown.append((image.shape[0], image.shape[1]))
        return self._detector.detect(image)


def test_a_known_face_is_sought_where_it_was() -> None:
    detector = Watched()
    tracker = FaceTracker(detector, load_68(asset_path("dlib_68")), detect_every=4)
    track = tracker.follow(_wander())
    assert track.detected.all()
    whole = [size for size in detector.shown if size == (WINDOW, WINDOW)]
    part = [size for size in detector.shown if size != (WINDOW, WINDOW)]
    # Looks at frames 0, 4, ..., 36 and 39: the whole picture at 0 and 20.
    assert (len(whole), len(part)) == (2, 9)
    assert max(max(size) for size in part) < 150


def test_who_comes_in_is_seen_at_the_next_look_at_the_whole_picture() -> None:
    both = next(_pair(0.8))
    alone = both.copy()
    alone[:, :240] = 100
    tracker = FaceTracker(DlibDetector(-0.5), load_68(asset_path("dlib_68")), detect_every=2)
    # A small face, joined by a larger one from frame 9 on: noticed at frame 10, the first look
    # at the whole picture after that, which makes the detector look at frame 9 too.
    track = tracker.follow([alone] * 9 + [both] * 91)
    assert (track.landmarks[..., 0] < 240).all()
    assert track.detected.tolist() == [False] * 9 + [True] * 91


def test_blocks_leave_no_seam(tracker: FaceTracker) -> None:
    """The landmarks of a long video are those of its face, before and after a block's end."""
    film = _wander() * 5
    track = tracker.follow(iter(film))
    assert len(film) > BLOCK
    assert track.detected.all()
    still = track.landmarks + np.array(_path() * 5)[:, None, :]
    assert still.std(axis=0).mean() < 1.0
    seam = np.abs(np.diff(still, axis=0)).mean(axis=(1, 2))
    assert seam[BLOCK - 10 : BLOCK + 10].max() < 3 * seam.mean()
