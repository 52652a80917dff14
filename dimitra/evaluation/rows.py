"""One row for each clip and method, measured or not: the per-clip table, and what must add up."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from dimitra.evaluation.definitions import COLUMNS
from dimitra.metrics.summary import ClipValue, rounded

MEASURED = "measured"
NO_GENERATED = "no_generated"
NO_REFERENCE = "no_reference"


def absent(keys: Iterable[str], reason: str, *, dropped: bool) -> dict[str, ClipValue]:
    """No values, and why."""
    return {key: ClipValue(None, reason, dropped) for key in keys}


@dataclass(frozen=True)
class Row:
    """One clip of one method.

    Attributes:
        clip: the reference's name, or the generated file's where it has no reference.
        method: as it was called, or ``ground_truth``.
        identity: who speaks, None where that is not known.
        outcome: ``measured``, or the code of the reason why not.
        message: for a person; empty where measured.
        reference: file, relative to where the command ran; empty where there is none.
        generated: likewise.
        frames: that were compared, at 25 a second.
        missed: of them, without a face in the generated video.
        reference_missed: likewise, in the reference.
        values: column to value.
    """

    clip: str
    method: str
    identity: str | None
    outcome: str
    message: str = ""
    reference: str = ""
    generated: str = ""
    frames: int | None = None
    missed: int | None = None
    reference_missed: int | None = None
    values: Mapping[str, ClipValue] = field(default_factory=dict)

    def value(self, key: str) -> ClipValue:
        """A column; where nothing was measured, the row's own reason."""
        found = self.values.get(key)
        return found or ClipValue(None, self.message or self.outcome, dropped=True)

    @property
    def dropped(self) -> str | None:
        """The protocol's reasons to ignore the clip in some column."""
        found = {self.value(metric.key) for metric in COLUMNS}
        return "; ".join(sorted({one.reason or "" for one in found if one.dropped})) or None


SCHEMA = pa.schema(
    [
        pa.field("clip", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("identity", pa.string()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("reference", pa.string(), nullable=False),
        pa.field("generated", pa.string(), nullable=False),
        pa.field("frames", pa.int32()),
        pa.field("missed", pa.int32()),
        pa.field("reference_missed", pa.int32()),
        *(pa.field(metric.key, pa.float64()) for metric in COLUMNS),
        pa.field("dropped", pa.string()),
    ]
)
"""Of the per-clip table; numbers are rounded to ``DECIMALS``, as those of ``evaluate`` are."""


def table_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows of ``SCHEMA``, in the order given."""
    plain = list(SCHEMA.names[:10])
    return [
        {
            **{name: getattr(row, name) for name in plain},
            **{metric.key: rounded(row.value(metric.key).value) for metric in COLUMNS},
            "dropped": row.dropped,
        }
        for row in rows
    ]


def csv_text(rows: Sequence[Row]) -> str:
    """The per-clip table as CSV; an empty cell is no value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, SCHEMA.names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table_rows(rows))
    return text.getvalue()


class UnbalancedError(RuntimeError):
    """Rows and files do not add up: a fault of this program, no number can be trusted."""


def balance(
    rows: Sequence[Row], references: int, generated: Mapping[str, int]
) -> dict[str, dict[str, int]]:
    """Count each method's rows by outcome, and check that every file is in exactly one.

    Args:
        rows: of all methods.
        references: reference files.
        generated: method to its files.

    Raises:
        UnbalancedError: a file is in no row, or in several.
    """
    found = {}
    for method, files in generated.items():
        outcomes = Counter(row.outcome for row in rows if row.method == method)
        missing, extra = outcomes[NO_GENERATED], outcomes[NO_REFERENCE]
        paired = outcomes.total() - missing - extra
        if paired + missing != references or paired + extra != files:
            raise UnbalancedError(
                f"{method}: {paired} pairs, {missing} references alone and {extra} videos alone "
                f"do not make up {references} references and {files} videos; please report this"
            )
        found[method] = {
            "references": references,
            "videos": files,
            "pairs": paired,
            "measured": outcomes[MEASURED],
            **{code: count for code, count in sorted(outcomes.items()) if code != MEASURED},
        }
    return found
