"""A folder of broken input: every kind is refused where it should be, with its own code."""

from __future__ import annotations

import pytest

from tests.faults.kinds import KINDS, Kind
from tests.faults.workers import Line


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    root = tmp_path_factory.mktemp("faults")
    for kind in KINDS:
        kind.write(root / "datasets" / "vox")
    return Line(root / "datasets")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_is_refused_with_its_own_code(line: Line, kind: Kind) -> None:
    fates = line.send(kind.name)
    refused = [fate for fate in fates if fate.reason is not None]
    if kind.stage is None:
        assert not refused
        return
    (fate,) = refused
    assert (fate.stage, fate.reason) == (kind.stage, kind.reason), fate.message
