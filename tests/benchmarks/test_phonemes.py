import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.phonemes import agreement, main


def test_agreement_counts_where_both_have_frames() -> None:
    own = np.array([31, 1, 2, 3], dtype=np.int16)
    other = np.array([31, 31, 1, 2, 9], dtype=np.int16)
    assert agreement(own, other, 0) == 0.25
    assert agreement(own, other, 1) == 0.75
    assert agreement(own, other, 1, speech=True) == pytest.approx(2 / 3)
    assert agreement(own, other, -1) == 0.0


@pytest.mark.skipif("DIMITRA_REAL_DATA" not in os.environ, reason="needs DIMITRA_REAL_DATA")
def test_pocketsphinx_agrees_with_styletalks_phonemes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["phonemes", "--aligner", str(tmp_path)])
    assert main() == 0
    printed = capsys.readouterr().out
    assert f"{tmp_path} holds no trained aligner" in printed
    rows = [line.split() for line in printed.splitlines() if " pocketsphinx " in line]
    assert [row[0] for row in rows] == ["KristiNoem", "Obama_clip1", "mean"]
    for row in rows:
        best = float(row[3] if row[0] != "mean" else row[2])
        assert best > 0.65, printed
