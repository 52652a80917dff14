import numpy as np
import pytest

from dimitra.sync.pictures import boxes_of, cut, whole


def face(frames=20, x=100.0, y=90.0, scale=1.0):
    """Landmarks in a square of 80 pixels: outer eye corners 40 apart, nose at the centre."""
    points = np.zeros((frames, 68, 2))
    points[:] = (x, y)
    points[:, 0] += np.array([-40.0, -40.0]) * scale
    points[:, 16] += np.array([40.0, 40.0]) * scale
    points[:, 36] += np.array([-20.0, 0.0]) * scale
    points[:, 45] += np.array([20.0, 0.0]) * scale
    return points


def test_boxes_in_closed_form():
    found = np.ones(20, bool)
    mouth = boxes_of(face(), found, "mouth")
    np.testing.assert_allclose(mouth, np.tile([70, 78, 130, 138], (20, 1)))  # 40 x 0.75, 40 x 0.45
    tracks = boxes_of(face(), found, "tracks")
    # syncnet_python: x +- s (1 + 0.4), y - s to y + s (1 + 2 x 0.4), s = 40
    np.testing.assert_allclose(tracks, np.tile([44, 50, 156, 162], (20, 1)))


def test_one_bad_frame_and_missed_frames_do_not_move_the_box():
    points, found = face(), np.ones(20, bool)
    points[9] += 50.0
    points[12:14] = np.nan
    found[12:14] = False
    np.testing.assert_allclose(boxes_of(points, found, "mouth"), boxes_of(face(), found, "mouth"))


def test_a_jaw_that_opens_does_not_move_the_mouth_box():
    points = face()
    points[:, 6:11, 1] += np.arange(20)[:, None]
    found = np.ones(20, bool)
    np.testing.assert_array_equal(
        boxes_of(points, found, "mouth"), boxes_of(face(), found, "mouth")
    )


def test_cut_is_the_box_and_grey_outside():
    frame = np.arange(100, dtype=np.uint8)[:, None, None].repeat(100, 1).repeat(3, 2)
    inside = next(cut([frame], [np.array([10.0, 20.0, 50.0, 60.0])], 40))
    np.testing.assert_array_equal(inside, frame[20:60, 10:50])
    outside = next(cut([frame], [np.array([-20.0, 0.0, 20.0, 40.0])], 40))
    assert (outside[:, :20] == 110).all()
    np.testing.assert_array_equal(outside[:, 20:], frame[:40, :20])
    assert next(whole([frame])).shape == (224, 224, 3)


def test_no_face_is_refused():
    with pytest.raises(ValueError, match="0 faces"):
        boxes_of(face(), np.zeros(20, bool), "mouth")
