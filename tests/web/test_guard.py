"""Who may ask, and how often."""

from __future__ import annotations

import pytest

from dimitra.web.guard import RateLimit, host_allowed


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:8420", True),
        ("localhost:9", True),
        ("LOCALHOST", True),
        ("[::1]:8420", True),
        ("192.168.1.7:8420", True),
        ("studio:8420", True),
        ("evil.example:8420", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("127.0.0.1@evil.example", False),
        ("studio.evil.example", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_names_are_refused_unless_they_are_ours(host: str, allowed: bool) -> None:
    assert host_allowed(host, {"studio"}) is allowed


def test_the_rate_is_that_of_any_window() -> None:
    now = 0.0
    limit = RateLimit(3, 10.0, lambda: now)
    assert [limit.allows("a") for _ in range(4)] == [True, True, True, False]
    assert limit.allows("b")
    now = 9.9
    assert not limit.allows("a")
    now = 10.0
    assert [limit.allows("a") for _ in range(4)] == [True, True, True, False]
