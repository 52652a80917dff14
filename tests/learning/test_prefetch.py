import threading

import pytest

from dimitra.learning.prefetch import made_ahead


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_batches_come_in_order_whoever_makes_them(ahead: int) -> None:
    assert list(made_ahead(lambda step: step**2, range(3, 20), ahead)) == [
        step**2 for step in range(3, 20)
    ]
    assert not list(made_ahead(lambda step: step, range(0), ahead))


def test_they_are_made_by_others_and_not_too_far_ahead() -> None:
    made: list[tuple[int, int]] = []

    def make(step: int) -> int:
        made.append((step, threading.get_ident()))
        return step

    stream = made_ahead(make, range(100), 3)
    assert next(stream) == 0
    assert {ident for _, ident in made}.isdisjoint({threading.get_ident()})
    stream.close()
    assert max(step for step, _ in made) <= 3


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_error_is_raised_where_its_batch_would_have_come(ahead: int) -> None:
    def make(step: int) -> int:
        if step == 2:
            raise ValueError("clip two")
        return step

    stream = made_ahead(make, range(5), ahead)
    assert (next(stream), next(stream)) == (0, 1)
    with pytest.raises(ValueError, match="clip two"):
        next(stream)
