import numpy as np
import pytest

from dimitra.metrics.definitions import LANDMARK_METRICS
from dimitra.metrics.landmarks_distance import (
    MOUTH,
    LandmarkTrack,
    aligned_distances,
    landmark_distance,
    landmark_readings,
)
from dimitra.metrics.procrustes import umeyama


def face(frames=12, seed=0):
    return np.random.default_rng(seed).normal(size=(frames, 68, 2)) * 30.0 + 128.0


def track(points, lost=()):
    found = np.ones(len(points), dtype=bool)
    found[list(lost)] = False
    points = points.copy()
    points[list(lost)] = np.nan
    return LandmarkTrack(points, found)


def test_against_itself_is_zero():
    result = landmark_distance(track(face()), track(face()))
    assert result.f_lmd == pytest.approx(0.0, abs=1e-10)
    assert result.m_lmd == pytest.approx(0.0, abs=1e-10)
    assert (result.frames, result.missed, result.reason) == (12, 0, None)


@pytest.mark.parametrize("fit", ["face", "mouth"])
def test_head_pose_and_size_do_not_count(fit):
    reference = face()
    random = np.random.default_rng(3)
    moved = np.empty_like(reference)
    for frame, points in enumerate(reference):
        angle = random.uniform(-1.0, 1.0)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        moved[frame] = random.uniform(0.3, 3.0) * points @ turn.T + random.normal(size=2) * 50.0
    result = landmark_distance(track(moved), track(reference), fit=fit)
    assert result.f_lmd == pytest.approx(0.0, abs=1e-9)
    assert result.m_lmd == pytest.approx(0.0, abs=1e-9)


def regular(points=68, radius=40.0):
    angle = 2.0 * np.pi * np.arange(points) / points
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def test_a_known_displacement_of_the_mouth_is_the_closed_form():
    # On a regular 68-gon of radius r, move the 20 mouth points radially by +-d in turn. Neither
    # mean, size nor turn of the whole changes by more than the sums below, so that the
    # least-squares similarity is known: x -> a x with a the regression of target on source.
    reference = regular()[None]
    d = 2.0
    signs = np.zeros(68)
    signs[MOUTH] = np.where(np.arange(20) % 2 == 0, 1.0, -1.0)
    generated = reference * (1.0 + d * signs[:, None] / 40.0)
    z = reference[0, :, 0] + 1j * reference[0, :, 1]
    w = generated[0, :, 0] + 1j * generated[0, :, 1]
    centred = w - w.mean()
    slope = (np.conj(centred) * (z - z.mean())).sum() / (np.abs(centred) ** 2).sum()
    expected = np.abs(slope * centred + z.mean() - z)
    all_points, mouth = aligned_distances(generated, reference)
    np.testing.assert_allclose(all_points[0], expected, atol=1e-9)
    np.testing.assert_allclose(mouth[0], expected[MOUTH], atol=1e-9)
    result = landmark_distance(track(generated), track(reference))
    assert result.f_lmd == pytest.approx(expected.mean())
    assert result.m_lmd == pytest.approx(expected[MOUTH].mean())
    assert result.m_lmd == pytest.approx(d, rel=0.02)


def test_opposite_displacements_of_all_points_give_their_size():
    # +d and -d alternating along the radius of a regular polygon keep its centre and mean
    # radius, and no rotation helps: only the scale r^2 / (r^2 + d^2) stays.
    d, radius = 3.0, 40.0
    reference = regular(68, radius)[None]
    sign = np.where(np.arange(68) % 2 == 0, 1.0, -1.0)
    generated = reference * (1.0 + d * sign[:, None] / radius)
    scale = radius**2 / (radius**2 + d**2)
    expected = np.abs(scale * (radius + d * sign) - radius)
    result = landmark_distance(track(generated), track(reference))
    assert result.f_lmd == pytest.approx(expected.mean(), rel=1e-9)


def test_fit_on_the_mouth_is_at_least_as_close_in_squares():
    reference, generated = face(seed=1), face(seed=2)
    _, by_face = aligned_distances(generated, reference, fit="face")
    _, by_mouth = aligned_distances(generated, reference, fit="mouth")
    assert (np.square(by_mouth).sum(axis=1) <= np.square(by_face).sum(axis=1) + 1e-9).all()
    own = umeyama(generated[0, MOUTH], reference[0, MOUTH]).apply(generated[0, MOUTH])
    np.testing.assert_allclose(by_mouth[0], np.linalg.norm(own - reference[0, MOUTH], axis=1))


def test_a_missed_ground_truth_drops_the_clip():
    result = landmark_distance(track(face(seed=1)), track(face(), lost=[4]))
    assert (result.f_lmd, result.m_lmd, result.frames) == (None, None, 0)
    assert result.reason == "dlib misses the face in the ground truth (1 of 12 frames)"


def test_tolerated_ground_truth_misses_leave_the_other_frames():
    result = landmark_distance(
        track(face(seed=1)), track(face(), lost=[4]), max_reference_missed=0.1
    )
    expected = landmark_distance(
        track(np.delete(face(seed=1), 4, axis=0)), track(np.delete(face(), 4, axis=0))
    )
    assert result.frames == 11
    assert (result.f_lmd, result.m_lmd) == (expected.f_lmd, expected.m_lmd)


def test_missed_generated_frames_are_left_out_and_counted():
    result = landmark_distance(track(face(seed=1), lost=[0, 7]), track(face()))
    expected = landmark_distance(
        track(np.delete(face(seed=1), [0, 7], axis=0)), track(np.delete(face(), [0, 7], axis=0))
    )
    assert (result.frames, result.missed) == (10, 2)
    assert (result.f_lmd, result.m_lmd) == (expected.f_lmd, expected.m_lmd)


def test_no_generated_face_at_all_has_a_reason():
    result = landmark_distance(track(face(seed=1), lost=range(12)), track(face()))
    assert (result.f_lmd, result.missed) == (None, 12)
    assert "no frame of the generated video" in (result.reason or "")


def test_frozen_holds_the_first_frame():
    still = track(face()).frozen()
    np.testing.assert_array_equal(still.points, np.repeat(face()[:1], 12, axis=0))
    assert track(face(), lost=[0]).frozen().missed == 12


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="11 frames and the ground truth 12"):
        landmark_distance(track(face(11)), track(face(12)))


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\[T, 68, 2\]"):
        LandmarkTrack(np.zeros((3, 5, 2)), np.ones(3, dtype=bool))


def test_readings_of_a_face_of_twice_the_size_that_has_moved():
    """Aligned all are 0; not aligned, each point is as far away as the move takes it."""
    reference = face()
    generated = 2.0 * reference + np.array([3.0, 4.0])
    found = landmark_readings(track(generated), track(reference))
    assert list(found.values) == [metric.key for metric in LANDMARK_METRICS]
    apart = np.linalg.norm(generated - reference, axis=-1)
    expected = dict.fromkeys(found.values, 0.0)
    expected |= {"f_lmd_raw": apart.mean(), "m_lmd_raw": apart[:, MOUTH].mean()}
    for key, value in expected.items():
        assert found.values[key] == pytest.approx(value, abs=1e-9), key


def test_the_other_direction_is_in_the_pixels_of_the_generated_frame():
    """A face of half the size: the same shape errors, half as many pixels."""
    reference = face(seed=1)
    generated = 0.5 * (reference + np.random.default_rng(2).normal(size=reference.shape))
    found = landmark_readings(track(generated), track(reference)).values
    to_reference = landmark_distance(track(generated), track(reference))
    assert found["f_lmd_back"] == pytest.approx(0.5 * to_reference.f_lmd, rel=0.01)
    back = umeyama(reference, generated).apply(reference)
    apart = np.linalg.norm(back - generated, axis=-1)
    assert found["f_lmd_back"] == pytest.approx(apart.mean())
    assert found["m_lmd_back"] == pytest.approx(apart[:, MOUTH].mean())
    other = landmark_distance(track(generated), track(reference), direction="to_generated")
    assert (found["f_lmd_back"], found["m_lmd_back"]) == (other.f_lmd, other.m_lmd)
    for fit in ("face", "mouth"):
        value = landmark_distance(track(generated), track(reference), fit=fit).m_lmd
        assert found[f"m_lmd_{fit}"] == value


def test_readings_have_values_where_the_distance_has():
    lost = landmark_readings(track(face()), track(face(), lost=[3]))
    assert set(lost.values.values()) == {None}
    assert lost.reason == "dlib misses the face in the ground truth (1 of 12 frames)"
    kept = landmark_readings(track(face(), lost=[2]), track(face(), lost=[3]),
                             max_reference_missed=0.1)  # fmt: skip
    assert all(value == pytest.approx(0.0, abs=1e-9) for value in kept.values.values())
