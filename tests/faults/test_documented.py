"""The set of reasons is closed: each is in the manual, in the code, and has a code of its own."""

from __future__ import annotations

import re

from dimitra.clips import Reason
from pipelines.closure import ROOT
from tests.faults.kinds import KINDS


def test_the_manual_names_every_reason_once() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "faults.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(Reason)


def test_every_reason_is_given_somewhere() -> None:
    sources = [path for name in ("dimitra", "pipelines") for path in (ROOT / name).rglob("*.py")]
    text = "\n".join(path.read_text() for path in sources if path.name != "quarantine.py")
    unused = [reason.name for reason in Reason if f"Reason.{reason.name}" not in text]
    assert not unused


def test_the_folder_has_every_reason_that_a_file_alone_can_give() -> None:
    later = {
        "bad_coefficients",  # tests/morphable/test_mat_file.py, test_precomputed.py
        *("fit_residual", "no_transcript", "unaligned", "not_in_split"),
        *("deadline", "worker_killed", "out_of_memory", "internal_error"),
        *("changed_file", "unreadable"),  # test_between
        "bad_transcript",  # tests/datasets/test_hdtf.py: VoxCeleb2 has no words
    }
    shown = {str(kind.reason) for kind in KINDS if kind.reason is not None}
    assert shown == {str(reason) for reason in Reason} - later
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 25
