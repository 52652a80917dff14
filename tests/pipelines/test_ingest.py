import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from dimitra.media.video import encode_mp4
from pipelines.closure import ROOT
from pipelines.errors import BudgetError
from pipelines.ingest import ingest
from pipelines.jobs import read_manifest
from pipelines.params import Params, parse
from pipelines.quarantine import read_quarantine


def video(seconds: float = 1.2, sound: bool = True) -> bytes:
    frames = [np.full((64, 96, 3), 40 + number, np.uint8) for number in range(int(25 * seconds))]
    tone = np.sin(np.arange(int(16000 * seconds)) / 9.0).astype(np.float32) * 0.2
    return encode_mp4(frames, audio=tone if sound else None)


def params(root: Path, budget: float) -> Params:
    values: dict[str, Any] = yaml.safe_load((ROOT / "conf" / "sample.yaml").read_text())
    values["datasets"] = {
        "root": str(root),
        "sets": {
            "vox": {"layout": "voxceleb2", "path": "vox", "split": "vox/v1"},
            "talks": {"layout": "hdtf", "path": "talks", "split": "talks/v1"},
        },
    }
    values["budgets"]["ingest"] = budget
    return parse(values)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    root = tmp_path / "datasets"
    good = video()
    files = {
        "vox/mp4/id1/va/00001.mp4": good,
        "vox/mp4/id1/va/00002.mp4": video(1.6),
        "vox/mp4/id2/vb/00001.mp4": b"",
        "vox/mp4/id2/vb/00002.mp4": video(sound=False),
        "vox/mp4/id2/vb/00003.mp4": b"RIFF\x24\x00\x00\x00WAVEfmt \x10\x00\x00\x00" + bytes(64),
        "vox/mp4/id2/vb/00004.mp4": b"this is no video at all\n" * 40,
        "vox/mp4/id2/vb/00005.mp4": video(0.4),
        "talks/videos/Ann_0.mp4": good,
        "talks/transcripts/Ann_0.txt": b"Hello there.\n",
        "talks/LEC_annotion_time.txt": b"Ann.mp4 00:00-00:01\n",
    }
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_good_clips_fill_the_manifest_and_bad_ones_the_quarantine(
    corpus: Path, tmp_path: Path
) -> None:
    output = tmp_path / "manifest"
    ingest(params(corpus, 1.0), output)
    clips = read_manifest(output / "clips.parquet")
    assert [clip.clip_id for clip in clips] == [
        "talks-ann_0",
        "vox-id1-va-00001",
        "vox-id1-va-00002",
    ]
    ann, first, second = clips
    assert ann.transcript == "Hello there."
    assert (ann.identity, first.identity, first.source_video) == ("Ann", "id1", "id1/va")
    assert (first.width, first.height, first.fps) == (96, 64, 25.0)
    assert first.duration_s == pytest.approx(1.2, abs=0.1)
    assert first.sha256 == hashlib.sha256((corpus / "vox" / first.path).read_bytes()).hexdigest()
    assert first.shard == second.shard
    reasons = {row.clip_id: row.reason for row in read_quarantine(output)}
    assert reasons["vox-id2-vb-00001"] == "empty_file"
    assert reasons["vox-id2-vb-00002"] == "no_audio"
    assert reasons["vox-id2-vb-00003"] in {"wrong_extension", "no_video"}
    assert reasons["vox-id2-vb-00004"] == "not_media"
    assert reasons["vox-id2-vb-00005"] == "too_short"
    assert all(row.input_sha256 for row in read_quarantine(output))
    balance = json.loads((output / "balance.json").read_text())
    assert (balance["clips_in"], balance["clips_out"], balance["quarantined"]) == (8, 3, 5)
    assert sorted(path.name for path in output.iterdir()) == [
        "balance.json",
        "clips.parquet",
        "quarantine.parquet",
    ]

    # Again, from the work cache: the same bytes; and a file that is added costs its shard alone.
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    shutil.rmtree(output)
    ingest(params(corpus, 1.0), output)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


def test_too_many_bad_files_fail_the_stage(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"62.5% of the clips, but budgets.ingest allows 5.0%"):
        ingest(params(corpus, 0.05), tmp_path / "manifest")
