"""Quarantine rows and the balance: clips in = clips out + quarantined, checked and written."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dimitra.clips import QUARANTINE_SCHEMA, Clip, Reason
from dimitra.shards import json_bytes, write_atomic
from pipelines.errors import BalanceError, BudgetError, JobError

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_MESSAGE_LENGTH = 500

CIRCUMSTANCES = frozenset(
    {
        Reason.DEADLINE,
        Reason.WORKER_KILLED,
        Reason.OUT_OF_MEMORY,
        Reason.INTERNAL_ERROR,
        Reason.MISSING_FILE,
        Reason.UNREADABLE,
        Reason.CHANGED_FILE,
    }
)
"""Reasons that may lie in the machine or the code, not the clip: tried again next time."""


@dataclass(frozen=True, order=True)
class QuarantineRow:
    """One row of ``quarantine.parquet``; the fields are those of ``QUARANTINE_SCHEMA``."""

    clip_id: str
    dataset: str
    stage: str
    reason: str
    message: str
    input_sha256: str | None
    attempts: int


@dataclass(frozen=True)
class Balance:
    """What became of a stage's clips.

    Attributes:
        stage: stage name.
        clips_in: clips handed to the stage.
        clips_out: clips in its shards.
        quarantined: clips in ``quarantine.parquet``.
        reasons: quarantined clips per reason code.
        budget: largest allowed ``quarantined / clips_in``.
    """

    stage: str
    clips_in: int
    clips_out: int
    quarantined: int
    reasons: Mapping[str, int]
    budget: float

    @property
    def share(self) -> float:
        """``quarantined / clips_in``, what the budget is held against."""
        return self.quarantined / self.clips_in if self.clips_in else 0.0


def printable(text: str) -> str:
    """Text that UTF-8 can hold: names of files that are none reach Python as lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def quarantine_row(
    clip: Clip, stage: str, reason: Reason, message: str, attempts: int = 1
) -> QuarantineRow:
    """A row whose message is one line, free of what changes from run to run or place to place."""
    line = " ".join(printable(message).split()).replace(f"{Path.cwd()}/", "")
    return QuarantineRow(
        clip_id=clip.clip_id,
        dataset=clip.dataset,
        stage=stage,
        reason=str(reason),
        message=_ADDRESS.sub("0x", line)[:_MESSAGE_LENGTH],
        input_sha256=clip.sha256 or None,
        attempts=attempts,
    )


def write_table(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write rows as Parquet, atomically and with the same bytes for the same rows."""
    buffer = io.BytesIO()
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    pq.write_table(table, buffer, compression="zstd")
    write_atomic(path, buffer.getvalue())


def write_quarantine(output: Path, rows: Iterable[QuarantineRow]) -> None:
    """Write ``quarantine.parquet``, sorted."""
    ordered = sorted(rows, key=lambda row: (row.clip_id, row.reason, row.message))
    write_table(output / "quarantine.parquet", (asdict(row) for row in ordered), QUARANTINE_SCHEMA)


def read_quarantine(output: Path) -> list[QuarantineRow]:
    """Quarantine rows of a stage's output folder.

    Raises:
        FileNotFoundError: the stage has not finished.
    """
    table = pq.read_table(output / "quarantine.parquet", schema=QUARANTINE_SCHEMA)
    return [QuarantineRow(**row) for row in table.to_pylist()]


def read_balance(folder: Path) -> Balance:
    """Balance of a stage that has finished well.

    Args:
        folder: the stage's output.

    Raises:
        JobError: there is none, it is malformed, or more was quarantined than its budget allowed.
    """
    path = folder / "balance.json"
    try:
        balance = Balance(**json.loads(path.read_text()))
        share = balance.share
    except FileNotFoundError:
        raise JobError(
            f"{folder} has no balance.json: the stage that makes it has not finished"
        ) from None
    except (TypeError, ValueError) as error:
        raise JobError(
            f"{path} is no balance ({error}); run the stage that makes {folder} again"
        ) from None
    if share > balance.budget:
        raise JobError(
            f"{folder} is of a run that failed: {describe(balance)}, {share:.1%} of the clips, "
            f"where budgets.{balance.stage} was {balance.budget:.1%}. Mend the clips or raise it, "
            f"then run `python -m pipelines.{balance.stage}` again"
        )
    return balance


def describe(balance: Balance) -> str:
    """One line: ``crop: 100 clips in = 99 out + 1 quarantined (no_face 1)``."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in balance.reasons.items())
    tail = f" ({reasons})" if reasons else ""
    return (
        f"{balance.stage}: {balance.clips_in} clips in = {balance.clips_out} out"
        f" + {balance.quarantined} quarantined{tail}"
    )


def _examples(rows: list[QuarantineRow]) -> str:
    """A table of reasons: how many clips, and one of them with its message."""
    lines = []
    for reason, count in Counter(row.reason for row in rows).most_common():
        first = min(row for row in rows if row.reason == reason)
        lines.append(f"  {reason:<16} {count:>7}  for example {first.clip_id}: {first.message}")
    return "\n".join(lines)


def settle(
    output: Path,
    stage: str,
    clips_in: int,
    clips_out: int,
    rows: list[QuarantineRow],
    budget: float,
) -> Balance:
    """Check the balance, write it beside the quarantine table, and hold it against the budget.

    Args:
        output: the stage's output folder.
        stage: stage name.
        clips_in: clips handed to the stage.
        clips_out: clips found in its shards.
        rows: its quarantine rows.
        budget: largest allowed share of quarantined clips.

    Raises:
        BalanceError: a clip was lost, or counted twice.
        BudgetError: too many quarantined clips; both files have been written all the same.
    """
    counts = Counter(row.reason for row in rows)
    balance = Balance(stage, clips_in, clips_out, len(rows), dict(sorted(counts.items())), budget)
    if clips_in != clips_out + len(rows) or len({row.clip_id for row in rows}) != len(rows):
        raise BalanceError(
            f"{describe(balance)}: the two sides differ. This is a fault of the stage"
        )
    write_quarantine(output, rows)
    write_atomic(output / "balance.json", json_bytes(asdict(balance)))
    if balance.share > budget:
        raise BudgetError(
            f"{describe(balance)}: {balance.share:.1%} of the clips, but budgets.{stage} allows "
            f"{budget:.1%}.\n{_examples(rows)}\n"
            f"All rows are in {output / 'quarantine.parquet'}. Mend the clips, or raise the budget."
        )
    return balance
