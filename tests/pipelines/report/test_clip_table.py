"""Which clip is the worst, which are shown, and what fits into the page."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report import clip_table as module
from pipelines.report.clip_table import clip_table, ranking, spread
from pipelines.report.examples import choose


def row(clip_id: str, method: str = "dimitra_hp", **values: float | None) -> dict[str, Any]:
    return {
        "clip_id": clip_id,
        "method": method,
        "identity": f"of {clip_id}",
        "dropped": None,
        "m_lmd": None,
        "mouth_mae_fit": None,
        **values,
    }


def test_the_worst_comes_first_and_what_has_no_number_last() -> None:
    rows = [row("a", m_lmd=1.0), row("b"), row("c", m_lmd=3.0), row("d", m_lmd=3.0)]
    metric, order = ranking(rows)
    assert metric is not None
    assert (metric.key, order) == ("m_lmd", ["c", "d", "a", "b"])
    metric, order = ranking([row("a", mouth_mae_fit=0.1), row("b", mouth_mae_fit=0.2)])
    assert metric is not None
    assert (metric.key, order) == ("mouth_mae_fit", ["b", "a"])
    assert ranking([row("b"), row("a")]) == (None, ["a", "b"])


def test_shown_clips_go_from_the_worst_to_the_best() -> None:
    ranked = [f"{place}" for place in range(9)]
    assert spread(ranked, 3) == ["0", "4", "8"]
    assert spread(ranked, 1) == ["0"]
    assert spread(ranked, 20) == ranked
    rows = [row(name, m_lmd=9.0 - place) for place, name in enumerate("abcde")]
    assert choose(rows, 3) == {
        "a": "worst, M-LMD 9.00",
        "c": "3 of 5, worst first, M-LMD 7.00",
        "e": "best, M-LMD 5.00",
    }


@given(st.integers(2, 200), st.integers(2, 200))
def test_ranks_are_even(of: int, count: int) -> None:
    ranked = [str(place) for place in range(of)]
    places = [int(name) for name in spread(ranked, count)]
    assert len(places) == min(of, count)
    assert (places[0], places[-1]) == (0, of - 1)
    steps = {after - before for before, after in itertools.pairwise(places)}
    assert max(steps) - min(steps) <= 1


def test_of_more_than_fits_the_worst_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        row(f"{place:03d}", method, m_lmd=place / 10)
        for place in range(100)
        for method in ("dimitra_hp", "dimitra_no_hp")
    ]
    assert len(clip_table({"chorus": rows}, {})["datasets"]["chorus"]["clips"]) == 100
    monkeypatch.setattr(module, "MOST_VALUES", 20)  # of one metric and two methods
    table = clip_table({"chorus": rows}, {"099": "said"})["datasets"]["chorus"]
    assert [one["id"] for one in table["clips"]] == [f"{place:03d}" for place in range(99, 89, -1)]
    assert table["clips"][0] == {"id": "099", "identity": "of 099", "text": "said", "dropped": ""}
    assert table["values"]["dimitra_no_hp"] == {"m_lmd": [p / 10 for p in range(99, 89, -1)]}
    assert table["total"] == 100
