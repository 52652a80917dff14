"""What was measured of one source, and its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.fitting.blinks import SHARES

ROWS = (
    ("rotation", "rotation error", "deg", "goal < 1.5"),
    ("rotation, motion", "rotation error, motion", "deg", ""),
    ("pitch, signed", "pitch error, signed", "deg", ""),
    ("yaw, signed", "yaw error, signed", "deg", ""),
    ("roll, signed", "roll error, signed", "deg", ""),
    ("mouth", "mouth vertex error", "%", "goal < 3"),
    ("mouth, best placed", "mouth vertex error, best placed", "%", ""),
    ("mouth, motion", "mouth vertex error, motion", "%", ""),
    ("face", "face vertex error", "%", ""),
    ("face, best placed", "face vertex error, best placed", "%", ""),
    ("face, motion", "face vertex error, motion", "%", ""),
    ("residual", "landmark residual", "px", ""),
)
"""Key in a clip's errors, title, unit, goal."""
MOVED_STD = 0.05
"""A coefficient whose true standard deviation in a clip is smaller on average stands still."""


@dataclass
class Tally:
    """Measures of the clips so far."""

    errors: list[dict[str, float]] = field(default_factory=list)
    correlations: list[list[float]] = field(default_factory=list)
    spreads: list[list[float]] = field(default_factory=list)
    fitted_blinks: list[NDArray[np.int64]] = field(default_factory=list)
    measured_blinks: list[NDArray[np.int64]] = field(default_factory=list)
    jitter: list[dict[str, float]] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0


def report(tally: Tally, mouth: Sequence[int]) -> None:
    """Print the table of a source."""
    print(f"{'':44}{'mean':>9}{'worst':>9}")
    for key, title, unit, goal in ROWS:
        _row(title, [row[key] for row in tally.errors], unit, goal)
    medians = [float(np.nanmedian(clip)) for clip in tally.correlations]
    _row("median correlation of 13 mouth coefficients", medians, "", "goal > 0.9", low=True)
    each = np.nanmean(np.array(tally.correlations), axis=0)
    moved = np.mean(tally.spreads, axis=0) > MOVED_STD
    medians = [float(np.nanmedian(np.array(clip)[moved])) for clip in tally.correlations]
    _row(f"  of the {moved.sum()} that the corpus moves", medians, low=True)
    print(
        "  of each (* does not move) "
        + " ".join(
            f"{k}{'' if moves else '*'}:{value:.2f}"
            for k, value, moves in zip(mouth, each, moved, strict=True)
        )
    )
    _blinks("fitted lids", tally.fitted_blinks)
    if tally.measured_blinks:
        _blinks("landmarks", tally.measured_blinks)
    if tally.jitter:
        for name in tally.jitter[0]:
            unit = "deg" if name == "fitted rotation" else "px"
            _row(f"jitter on a still face, {name}", [row[name] for row in tally.jitter], unit)
    else:
        print(f"{'jitter on a still face':44}{'none':>9}           no noise reaches the truth")
    print(
        f"{'frames per CPU second, any landmarks given':44}{tally.frames / tally.seconds:9.0f}"
        f"{'':11}goal > 200"
    )


def _row(
    title: str, values: Sequence[float], unit: str = "", goal: str = "", low: bool = False
) -> None:
    """Mean over clips and the worst of them: the farthest from zero, or the lowest."""
    column = np.array(values)
    known = column[~np.isnan(column)]
    if len(known) == 0:
        print(f"{title:44}{'none':>9}")
        return
    worst = known.min() if low else known[np.abs(known).argmax()]
    print(f"{title:44}{known.mean():9.2f}{worst:9.2f}  {unit:4}{goal}")


def _blinks(name: str, counts: Sequence[NDArray[np.int64]]) -> None:
    """F1 of the plain rule and of the best share."""
    table = np.sum(counts, axis=0)
    scores = 2 * table[:, 0] / np.maximum(table[:, 1] + table[:, 2], 1)
    for title, k in (("", 0), (", best share", int(scores.argmax()))):
        hits, found, true = table[k].tolist()
        text = f"share {SHARES[k]}, precision {hits}/{found}, recall {hits}/{true}"
        print(f"{f'blink F1, {name}{title}':44}{scores[k]:9.2f}{'':11}{text}")
