import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dimitra.cmdt.chunks import blend_weights, chunk_bounds, join, seam_report


@given(
    frames=st.integers(1, 400),
    longest=st.integers(2, 120),
    share=st.floats(0.0, 1.0),
)
def test_chunks_cover_every_frame_and_share_what_they_should(
    frames: int, longest: int, share: float
) -> None:
    overlap = round(share * ((longest - 2) // 2))
    bounds = chunk_bounds(frames, longest, overlap)
    assert (bounds[0][0], bounds[-1][1]) == (0, frames)
    lengths = [end - start for start, end in bounds]
    assert max(lengths) <= longest
    assert max(lengths) - min(lengths) <= 1
    for one, two in itertools.pairwise(bounds):
        assert one[1] - two[0] == overlap + 1
        assert two[0] > one[0]


def test_impossible_chunks_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot cut 0 frames"):
        chunk_bounds(0, 10)
    with pytest.raises(ValueError, match="overlap of 5 frames, but chunks of 10 can share 0 to 4"):
        chunk_bounds(8, 10, 5)


@pytest.mark.parametrize("overlap", [0, 1, 4])
def test_joining_drops_the_repeated_frame_and_blends_the_shared(overlap: int) -> None:
    motion = torch.zeros(10, 2)
    chunk = torch.ones(8, 2)
    joined = join(motion, chunk, overlap)
    assert len(joined) == 10 + 8 - 1 - overlap
    assert not joined[: 10 - overlap].any()
    assert (joined[10:] == 1.0).all()
    torch.testing.assert_close(joined[10 - overlap : 10, 0], blend_weights(overlap))


def test_blend_weights_rise_evenly_on_both_sides_of_a_half() -> None:
    weights = blend_weights(7)
    assert (weights.diff() > 0).all()
    torch.testing.assert_close(weights + weights.flip(0), torch.ones(7))
    assert weights[0] > 0.0


@pytest.mark.parametrize(("overlap", "seams"), [(0, 3), (3, 5)])
def test_seams_are_told_from_the_inside(overlap: int, seams: int) -> None:
    """A walk of unit steps with steps of five where two chunks share in making both frames."""
    longest = 11
    walk = np.ones((41, 3), dtype=np.float32)
    starts = [start for start, _ in chunk_bounds(41, longest, overlap)[1:]]
    walk[0] = 0.0
    for start in starts:
        walk[start + 1 : start + 2 + overlap] = 5.0
    report = seam_report([np.cumsum(walk, axis=0)], longest, overlap)
    assert report is not None
    assert report.seams == len(starts) == seams
    assert report.seam_step == pytest.approx(5.0)
    assert report.inside_step == pytest.approx(1.0)
    assert report.seam_bend == pytest.approx(8.0 / (2 + overlap))
    assert report.inside_bend == pytest.approx(0.0)


def test_motion_of_one_chunk_has_no_seams() -> None:
    assert seam_report([np.zeros((10, 2), dtype=np.float32)], 10) is None
