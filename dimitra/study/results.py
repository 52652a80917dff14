"""What the answers say: preferences with intervals and tests, agreement, and who was left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binomtest

from dimitra.statistics.intervals import mean_interval
from dimitra.study.agreement import krippendorff_alpha
from dimitra.study.rater import Answer, Rater
from dimitra.study.study import Study

LEVEL = 0.95

Standing = Literal["counted", "unfinished", "failed", "withdrawn", "not begun"]


@dataclass(frozen=True)
class Share:
    """A share of answers, against one half.

    Attributes:
        count: answers for it.
        n: answers.
        percent: 100 count / n; None without an answer.
        low: of Wilson's interval at ``LEVEL``, percent.
        high: likewise.
        p: of the two-sided exact binomial test that both are chosen equally often.
    """

    count: int
    n: int
    percent: float | None
    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True)
class Row:
    """Our method against one other.

    Attributes:
        other: name.
        share: of answers for ours.
        raters: who gave the answers.
        low_raters: percent, of the bootstrap interval at ``LEVEL`` over raters.
        high_raters: likewise.
        agreement: Krippendorff's alpha over the pairs; None where there is none.
        pairs: that were answered.
    """

    other: str
    share: Share
    raters: int
    low_raters: float | None
    high_raters: float | None
    agreement: float | None
    pairs: int


@dataclass(frozen=True)
class Results:
    """Everything that ``dimitra study results`` prints.

    Attributes:
        rows: in the order of the study.
        standings: of each rater, by number.
        left: share of answers for the left side, over all counted comparisons.
        seconds: median time of an answer; None without one.
        max_wrong: attention checks that a rater may fail.
        unfinished_counted: raters who have not finished are counted too.
    """

    rows: tuple[Row, ...]
    standings: dict[int, Standing]
    left: Share
    seconds: float | None
    max_wrong: int
    unfinished_counted: bool


def share(count: int, n: int) -> Share:
    """A share with Wilson's interval (Wilson 1927) and the exact binomial test against 1/2."""
    if n == 0:
        return Share(0, 0, None, None, None, None)
    test = binomtest(count, n, 0.5)
    interval = test.proportion_ci(LEVEL, method="wilson")
    return Share(
        count, n, 100 * count / n, 100 * interval.low, 100 * interval.high, float(test.pvalue)
    )


def standings(
    study: Study, raters: Sequence[Rater], answers: Sequence[Answer], max_wrong: int
) -> dict[int, Standing]:
    """Who counts: who has finished, and failed no more than ``max_wrong`` attention checks."""
    wrong: dict[int, int] = defaultdict(int)
    for answer in answers:
        if study.pairs[answer.pair].kind == "check" and not answer.prefers_first:
            wrong[answer.rater] += 1
    found: dict[int, Standing] = {}
    for rater in raters:
        if rater.state == "withdrawn":
            found[rater.number] = "withdrawn"
        elif wrong[rater.number] > max_wrong:
            found[rater.number] = "failed"
        elif rater.done == rater.total:
            found[rater.number] = "counted"
        else:
            found[rater.number] = "unfinished" if rater.done else "not begun"
    return found


def evaluate(
    study: Study,
    raters: Sequence[Rater],
    answers: Sequence[Answer],
    *,
    max_wrong: int = 0,
    unfinished: bool = False,
) -> Results:
    """The results of a study so far.

    Args:
        study: that was asked.
        raters: all of them.
        answers: all of them.
        max_wrong: attention checks that a rater may fail and still count.
        unfinished: count those who have not finished too.
    """
    who = standings(study, raters, answers, max_wrong)
    wanted = {"counted", "unfinished"} if unfinished else {"counted"}
    counted = [
        answer
        for answer in answers
        if who[answer.rater] in wanted and study.pairs[answer.pair].kind == "comparison"
    ]
    rows = [
        _row(other, [a for a in counted if study.other(study.pairs[a.pair]) == other], study.seed)
        for other in study.others
    ]
    return Results(
        tuple(rows),
        who,
        share(sum(answer.choice == "left" for answer in counted), len(counted)),
        float(np.median([answer.seconds for answer in counted])) if counted else None,
        max_wrong,
        unfinished,
    )


def _row(other: str, answers: Sequence[Answer], seed: int) -> Row:
    by_pair: dict[int, list[bool]] = defaultdict(list)
    for answer in answers:
        by_pair[answer.pair].append(answer.prefers_first)
    over_raters = mean_interval(
        [100.0 * answer.prefers_first for answer in answers],
        [answer.rater for answer in answers],
        seed=seed,
        confidence=LEVEL,
    )
    return Row(
        other,
        share(sum(answer.prefers_first for answer in answers), len(answers)),
        over_raters.groups,
        over_raters.low,
        over_raters.high,
        krippendorff_alpha(by_pair.values()),
        len(by_pair),
    )
