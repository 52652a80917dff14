"""Results as a person and as a program read them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dimitra.study.errors import StudyError
from dimitra.study.rater import Answer
from dimitra.study.results import LEVEL, Results, Row, Share
from dimitra.study.study import Study

HEADINGS = (
    "",
    "user preference (%)",
    "95 % (Wilson)",
    "95 % (over raters)",
    "p (binomial)",
    "alpha",
    "n",
    "raters",
    "pairs",
)

PUBLISHED = (
    "published (paper's supplement, S-I; 20 raters, HDTF, other videos): Dimitra/StyleTalk "
    "87.5/12.5, Dimitra/SadTalker 75.0/25.0, Dimitra/DreamTalk 68.8/31.2"
)
"""For orientation; a study of other videos with other raters is no repetition of it."""


def table(study: Study, results: Results) -> Iterator[tuple[str, ...]]:
    """Rows of cells under ``HEADINGS``; the first two are the table of the paper's supplement."""
    for row in results.rows:
        yield (
            f"{study.ours}/{row.other}",
            preference(row.share),
            _interval(row.share.low, row.share.high),
            _interval(row.low_raters, row.high_raters),
            "-" if row.share.p is None else f"{row.share.p:.2g}",
            "-" if row.agreement is None else f"{row.agreement:.2f}",
            str(row.share.n),
            str(row.raters),
            str(row.pairs),
        )


def preference(share: Share) -> str:
    """Ours and the other, percent, as the paper prints them."""
    if share.percent is None:
        return "-"
    return f"{share.percent:.1f}/{100 - share.percent:.1f}"


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.1f} to {high:.1f}"


def remarks(results: Results) -> Iterator[str]:
    """What belongs below the table: who was left out and why, and the habit of one side."""
    counts = Counter(results.standings.values())
    total = len(results.standings)
    yield (
        f"raters: {counts['counted']} of {total} finished and counted"
        f" (may fail {results.max_wrong} attention checks); left out: "
        f"{counts['failed']} failed more, {counts['withdrawn']} withdrew, "
        f"{counts['not begun']} did not begin; unfinished: {counts['unfinished']}, "
        + ("counted too" if results.unfinished_counted else "left out")
    )
    left = results.left
    if left.percent is not None and left.p is not None:
        yield (
            f"left side chosen in {left.percent:.1f} % of {left.n} answers "
            f"({_interval(left.low, left.high)}, p = {left.p:.2g}); "
            f"median time of an answer {results.seconds:.1f} s"
        )


def as_json(study: Study, results: Results) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "ours": study.ours,
        "question": study.question,
        "level": LEVEL,
        "rows": [_flat(study, row) for row in results.rows],
        "raters": {
            "standings": dict(Counter(results.standings.values())),
            "n": len(results.standings),
            "max_wrong_checks": results.max_wrong,
            "unfinished_counted": results.unfinished_counted,
        },
        "left": {"percent": results.left.percent, "n": results.left.n, "p": results.left.p},
        "median_seconds": results.seconds,
        "left_out": len(study.left_out),
    }


def _flat(study: Study, row: Row) -> dict[str, Any]:
    return {
        "ours": study.ours,
        "other": row.other,
        "percent": row.share.percent,
        "count": row.share.count,
        "n": row.share.n,
        "wilson_low": row.share.low,
        "wilson_high": row.share.high,
        "raters_low": row.low_raters,
        "raters_high": row.high_raters,
        "p": row.share.p,
        "alpha": row.agreement,
        "raters": row.raters,
        "pairs": row.pairs,
    }


def write_csv(path: Path, study: Study, results: Results, answers: Sequence[Answer]) -> None:
    """One line for each answer, of raters who are left out too.

    Raises:
        StudyError: the file cannot be written.
    """
    names = ("rater", "standing", "position", "kind", "clip", "first", "second", "first_side")
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file)
            lines.writerow((*names, "choice", "prefers_first", "seconds"))
            for answer in answers:
                pair = study.pairs[answer.pair]
                first, second = study.videos[pair.first], study.videos[pair.second]
                lines.writerow(
                    (
                        *(answer.rater, results.standings[answer.rater], answer.position),
                        *(pair.kind, _cell(first.clip)),
                        *(_cell(first.method), _cell(second.method), answer.first, answer.choice),
                        *(int(answer.prefers_first), answer.seconds),
                    )
                )
    except OSError as error:
        raise StudyError(f"--csv {path} cannot be written: {error.strerror}") from None


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in tuple("=+-@\t\r") else text


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write ``as_json``.

    Raises:
        StudyError: the file cannot be written.
    """
    try:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise StudyError(f"--json {path} cannot be written: {error.strerror}") from None
