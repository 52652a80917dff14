import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from dimitra.metrics.procrustes import umeyama


def rotation_of(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    angle=st.floats(-np.pi, np.pi),
    scale=st.floats(0.05, 20.0),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_a_known_similarity_is_found(seed, angle, scale, shift):
    source = np.random.default_rng(seed).normal(size=(68, 2))
    target = scale * source @ rotation_of(angle).T + np.array(shift)
    found = umeyama(source, target)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-9)
    np.testing.assert_allclose(found.rotation, rotation_of(angle), atol=1e-9)
    np.testing.assert_allclose(found.apply(source), target, atol=1e-7)


@pytest.mark.parametrize("noise", [0.0, 0.1, 2.0])
def test_agrees_with_skimage(noise):
    random = np.random.default_rng(5)
    source = random.normal(size=(20, 68, 2)) * 40 + 128
    target = (source * 0.7) @ rotation_of(0.3).T + random.normal(size=source.shape) * noise
    ours = umeyama(source, target)
    for frame in range(len(source)):
        theirs = SimilarityTransform.from_estimate(source[frame], target[frame])
        np.testing.assert_allclose(ours.apply(source)[frame], theirs(source[frame]), atol=1e-8)
        np.testing.assert_allclose(ours.scale[frame], theirs.scale, rtol=1e-9)
        np.testing.assert_allclose(ours.translation[frame], theirs.translation, atol=1e-8)


def test_a_mirrored_set_is_never_answered_with_a_reflection():
    source = np.random.default_rng(1).normal(size=(68, 2))
    mirrored = source * np.array([-1.0, 1.0])
    found = umeyama(source, mirrored)
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)
    theirs = SimilarityTransform.from_estimate(source, mirrored)
    np.testing.assert_allclose(found.apply(source), theirs(source), atol=1e-8)


def test_umeyamas_own_example():
    # Umeyama 1991, section V: source and target triangles with a reflection between them.
    source = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    target = np.array([[0.0, 0.0], [-1.0, 0.0], [0.0, 2.0]])
    found = umeyama(source, target)
    np.testing.assert_allclose(found.rotation, [[0.832, 0.555], [-0.555, 0.832]], atol=1e-3)
    np.testing.assert_allclose(found.scale, 0.721, atol=1e-3)
    np.testing.assert_allclose(found.translation, [-0.800, 0.400], atol=1e-3)
    residual = np.square(found.apply(source) - target).sum(axis=-1).mean()
    assert residual == pytest.approx(8.0 / 15.0)


def test_no_other_similarity_is_closer():
    random = np.random.default_rng(7)
    source, target = random.normal(size=(2, 68, 2))
    found = umeyama(source, target)

    def error(scale, angle_offset, shift):
        turned = rotation_of(angle_offset) @ found.rotation
        return np.square(scale * source @ turned.T + found.translation + shift - target).sum()

    best = error(found.scale, 0.0, 0.0)
    for step in random.normal(size=(200, 4)) * 0.05:
        assert error(found.scale + step[0], step[1], step[2:]) >= best


def test_rigid_fit_keeps_the_size():
    source = np.random.default_rng(2).normal(size=(3, 10, 3))
    assert (umeyama(source, 3.0 * source, with_scale=False).scale == 1.0).all()


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (np.zeros((68, 2)), np.zeros((20, 2)), "must both be"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), "NaN"),
        (np.ones((3, 2)), np.eye(3, 2), "coincide"),
    ],
)
def test_what_cannot_be_aligned_is_refused(source, target, message):
    with pytest.raises(ValueError, match=message):
        umeyama(source, target)
