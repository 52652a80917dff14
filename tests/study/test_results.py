"""Shares, intervals, tests, and who counts."""

from __future__ import annotations

import math

import pytest

from dimitra.study.rater import Answer, Rater
from dimitra.study.results import evaluate, share, standings
from dimitra.study.study import Study
from dimitra.study.tables import as_json, preference, remarks, table
from tests.study.test_plan import study

Z = 1.959963984540054


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson (1927), the roots of (p - q)^2 = z^2 q (1 - q) / n, in percent."""
    p = k / n
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return 100 * (middle - half), 100 * (middle + half)


@pytest.mark.parametrize(("k", "n"), [(14, 16), (12, 16), (11, 16), (0, 20), (20, 20), (70, 160)])
def test_wilson_and_binomial_have_their_closed_forms(k: int, n: int) -> None:
    found = share(k, n)
    assert (found.low, found.high) == pytest.approx(wilson(k, n), abs=1e-9)
    tail = sum(math.comb(n, i) for i in range(max(k, n - k), n + 1)) / 2**n
    assert found.p == pytest.approx(min(1.0, 2 * tail), rel=1e-12)
    assert found.percent == 100 * k / n


def test_published_values() -> None:
    """Newcombe (1998), table I: 81 of 263 by Wilson's method without correction."""
    found = share(81, 263)
    assert found.low == pytest.approx(25.53, abs=5e-3)
    assert found.high == pytest.approx(36.62, abs=5e-3)
    assert share(0, 0).percent is None
    assert preference(share(11, 16)) == "68.8/31.2"
    assert preference(share(0, 0)) == "-"


def answers_of(
    made: Study, rater: int, prefers: dict[str, int], check: bool = True
) -> list[Answer]:
    """A rater who prefers ours for so many clips of each method."""
    given, used = [], dict.fromkeys(prefers, 0)
    for number, pair in enumerate(made.pairs):
        if pair.kind == "check":
            good = check
        else:
            used[made.other(pair)] += 1
            good = used[made.other(pair)] <= prefers[made.other(pair)]
        given.append(Answer(rater, number + 1, number, "left", "left" if good else "right", 4.0))
    return given


def rater(number: int, done: int, total: int, state: str = "agreed") -> Rater:
    return Rater(number, "t", state, done, total)  # type: ignore[arg-type]


def test_the_table_and_who_counts() -> None:
    made = study({"A": 4, "B": 4}, checks=2, per_rater=8)
    given = answers_of(made, 1, {"A": 4, "B": 1}) + answers_of(made, 2, {"A": 3, "B": 1})
    given += answers_of(made, 3, {"A": 0, "B": 4}, check=False)
    given += answers_of(made, 4, {"A": 0, "B": 0})[:2]
    raters = [rater(n, 10, 10) for n in (1, 2, 3)] + [
        rater(4, 2, 10),
        rater(5, 0, 10, "withdrawn"),
        rater(6, 0, 10, "invited"),
    ]
    assert list(standings(made, raters, given, 0).values()) == [
        *("counted", "counted", "failed"),
        *("unfinished", "withdrawn", "not begun"),
    ]
    found = evaluate(made, raters, given)
    a, b = found.rows
    assert (a.share.count, a.share.n, a.raters, a.pairs) == (7, 8, 2, 4)
    assert (b.share.count, b.share.n) == (2, 8)
    assert b.agreement == 1.0
    assert a.low_raters == 75.0
    assert a.high_raters == 100.0
    assert b.low_raters == b.high_raters == 25.0
    cells = list(table(made, found))
    assert cells[0][:3] == ("Dimitra/A", "87.5/12.5", "52.9 to 97.8")
    assert cells[1][:2] == ("Dimitra/B", "25.0/75.0")
    said = " ".join(remarks(found))
    assert "2 of 6 finished and counted" in said
    assert "1 failed more, 1 withdrew, 1 did not begin; unfinished: 1, left out" in said

    all_in = evaluate(made, raters, given, max_wrong=2, unfinished=True)
    assert all_in.rows[0].share.n == 3 * 4 + 2
    assert as_json(made, all_in)["raters"]["standings"]["counted"] == 3


def test_without_an_answer_nothing_is_made_up() -> None:
    made = study({"A": 4})
    found = evaluate(made, [rater(1, 0, 6, "invited")], [])
    assert list(table(made, found)) == [("Dimitra/A", *["-"] * 5, "0", "0", "0")]
    assert found.left.percent is None
    assert found.seconds is None
