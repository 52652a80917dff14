"""What the record knows of attempts at units."""

import pytest

from pipelines.runtime.in_flight import InFlight, Record


def test_clips_stand_still_from_the_last_that_began_or_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wait of a clip that was loaded ahead does not count once the one before it has ended."""
    now = [100.0]
    monkeypatch.setattr("pipelines.runtime.in_flight.time.monotonic", lambda: now[0])
    record = Record()
    record.at("00000#1", ["a"], [], 0, 0)
    now[0] = 101.0
    record.at("00000#1", ["b"], [], 0, 0)
    now[0] = 104.0
    assert record.all() == {"00000#1": InFlight(("a", "b"), 3.0)}
    record.at("00000#1", [], ["a"], 1, 1)
    now[0] = 106.0
    assert record.all() == {"00000#1": InFlight(("b",), 2.0, 1, 1)}
    record.at("00000#1", [], ["b"], 2, 1)
    now[0] = 109.0
    assert record.all() == {"00000#1": InFlight((), 0.0, 2, 1)}


def test_an_attempt_that_is_over_is_forgotten() -> None:
    record = Record()
    record.at("00000#1", ["b", "a"], [], 3, 1)
    taken = record.forget("00000#1")
    assert (taken.flying, taken.done, taken.quarantined) == (("a", "b"), 3, 1)
    assert record.all() == {}
    assert record.forget("00000#1") == InFlight()
