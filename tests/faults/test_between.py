"""Files that are not the same any more when `crop` comes to them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dimitra.clips import Clip, Reason
from tests.faults.films import good, portrait, talk
from tests.faults.kinds import Kind
from tests.faults.workers import Fate, Line


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


CHANGES: dict[str, tuple[Callable[[Path], object], Reason]] = {
    "vanished": (lambda path: path.unlink(), Reason.MISSING_FILE),
    "other_film": (
        lambda path: path.write_bytes(talk(portrait(27)[::-1])),
        Reason.CHANGED_FILE,
    ),
    "one_byte": (lambda path: path.write_bytes(good()[:-1] + b"\0"), Reason.CHANGED_FILE),
    "emptied": (lambda path: path.write_bytes(b""), Reason.CHANGED_FILE),
    "pipe": (_pipe, Reason.NOT_A_FILE),
}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    root = tmp_path_factory.mktemp("between")
    for name in (*CHANGES, "hidden", "whole"):
        Kind(name, good, None, None).write(root / "vox")
    return Line(root)


def _probed(line: Line, name: str) -> tuple[Clip, Path]:
    (clip,) = line.clips(name)
    row = line.probed(clip)
    assert isinstance(row, Clip)
    return row, line.root / "vox" / row.path


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_is_not_what_ingest_saw_is_refused(line: Line, name: str) -> None:
    row, path = _probed(line, name)
    change, reason = CHANGES[name]
    change(path)
    fate = line.cropped(row)
    assert isinstance(fate, Fate)
    assert fate.reason is reason, fate.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_any_more_is_refused(line: Line) -> None:
    row, path = _probed(line, "hidden")
    path.chmod(0)
    fate = line.cropped(row)
    assert isinstance(fate, Fate)
    assert fate.reason is Reason.UNREADABLE


def test_a_file_that_stays_is_cropped(line: Line) -> None:
    row, path = _probed(line, "whole")
    os.utime(path, (1, 1))
    assert not isinstance(line.cropped(row), Fate)
