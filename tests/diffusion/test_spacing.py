import itertools

import pytest

from dimitra.diffusion.schedule import linear_schedule
from dimitra.diffusion.spacing import spaced_steps

SCHEDULE = linear_schedule(500)


def test_leading_steps_are_those_of_ddim25() -> None:
    assert spaced_steps(SCHEDULE, 25) == tuple(range(0, 500, 20))
    assert spaced_steps(SCHEDULE, 500) == tuple(range(500))
    with pytest.raises(ValueError, match="nearest counts"):
        spaced_steps(SCHEDULE, 499)
    with pytest.raises(ValueError, match="1 to 500"):
        spaced_steps(SCHEDULE, 501)


@pytest.mark.parametrize("count", [1, 3, 7, 25, 499, 500])
def test_trailing_steps_end_at_the_noisiest(count: int) -> None:
    steps = spaced_steps(SCHEDULE, count, "trailing")
    assert len(steps) == len(set(steps)) == count
    assert steps[-1] == 499
    gaps = [two - one for one, two in itertools.pairwise(steps)]
    assert max(gaps, default=0) - min(gaps, default=0) <= 1


@pytest.mark.parametrize("count", [2, 5, 10, 20])
def test_log_snr_steps_span_the_schedule_evenly(count: int) -> None:
    steps = spaced_steps(SCHEDULE, count, "log_snr")
    assert (steps[0], steps[-1], len(steps)) == (0, 499, count)
    times = [SCHEDULE.log_snr_of(step) for step in steps]
    even = (times[0] - times[-1]) / (count - 1)
    # Each time is the nearest of the schedule, whose own gaps the least noisy steps limit.
    every = [SCHEDULE.log_snr_of(step) for step in range(500)]
    for place, time in enumerate(times):
        wanted = times[0] - place * even
        assert abs(time - wanted) == pytest.approx(min(abs(one - wanted) for one in every))


def test_more_log_snr_steps_than_the_schedule_tells_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="only 48 of 500"):
        spaced_steps(SCHEDULE, 50, "log_snr")
