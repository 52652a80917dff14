import numpy as np
import pytest

from dimitra.animation.motion import sample_seed, staged
from dimitra.cmdt.parts import mouth_columns
from dimitra.cmdt.recursion import SamplingConfig
from pipelines.generate import sample_of

MOUTH = mouth_columns("open_head")
FIRST = np.arange(70, dtype=np.float32) / 100
MOTION = FIRST + np.random.default_rng(0).normal(size=(30, 70)).astype(np.float32)


def drawn(
    head_pose: bool = True, expression_scale: float = 1.0, angle_limit_rad: float | None = None
) -> np.ndarray:
    return staged(
        MOTION,
        FIRST,
        MOUTH,
        head_pose=head_pose,
        expression_scale=expression_scale,
        angle_limit_rad=angle_limit_rad,
    )


def test_by_default_motion_stays_as_generated() -> None:
    assert np.allclose(drawn(), MOTION, atol=1e-6)


def test_no_head_pose_holds_the_photos() -> None:
    still = drawn(head_pose=False)
    assert (still[:, 64:] == FIRST[64:]).all()
    assert np.allclose(still[:, :64], MOTION[:, :64], atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_the_scale_moves_the_face_and_not_the_mouth(scale: float) -> None:
    scaled = drawn(expression_scale=scale)
    face = [column for column in range(64) if column not in MOUTH]
    assert np.allclose(scaled[:, face] - FIRST[face], scale * (MOTION - FIRST)[:, face], atol=1e-5)
    assert np.array_equal(scaled[:, list(MOUTH)], MOTION[:, list(MOUTH)])
    assert np.array_equal(scaled[:, 64:], MOTION[:, 64:])


def test_angles_are_limited_where_the_parameters_say_so() -> None:
    limited = drawn(angle_limit_rad=0.2)
    assert np.abs(limited[:, 64:67] - limited[0, 64:67]).max() <= 0.2 + 1e-6


def test_samples_are_the_stages() -> None:
    sampling = SamplingConfig("ddim", 5, seed=9)
    assert [sample_seed(9, n) for n in range(3)] == [
        9,
        sample_of(sampling, 1).seed,
        sample_of(sampling, 2).seed,
    ]
