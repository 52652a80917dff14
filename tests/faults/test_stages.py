"""The folder of broken input through the real stages, on a real Ray: nothing is lost."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from dimitra.clips import Reason
from dimitra.shards import list_shards, read_shard
from pipelines import crop, ingest
from pipelines.runtime.jobs import read_manifest
from pipelines.runtime.quarantine import QuarantineRow, read_quarantine
from tests.faults.kinds import CROP, INGEST, KINDS, LISTING
from tests.faults.workers import params_of


def _kind_of(row: QuarantineRow) -> str:
    return row.clip_id.removeprefix("vox-").removeprefix("mp4-").partition("-")[0]


def _balance(folder: Path) -> tuple[int, int, int]:
    values = json.loads((folder / "balance.json").read_text())
    return values["clips_in"], values["clips_out"], values["quarantined"]


def test_every_clip_comes_out_or_has_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIMITRA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        kind.write(Path("datasets/vox"))
    params = params_of(Path("datasets"))
    values = params.model_dump(mode="json")
    values["budgets"] |= {"ingest": 1.0, "crop": 1.0}
    values["ray"] |= {"workers": 2, "mlflow": False}
    Path("params.yaml").write_text(yaml.safe_dump(values))

    ingest.main()
    manifest = Path("data/manifest")
    rows = read_quarantine(manifest)
    expected = {kind.name: str(kind.reason) for kind in KINDS if kind.stage in (LISTING, INGEST)}
    assert {_kind_of(row): row.reason for row in rows} == expected
    assert len(rows) == len(expected)
    clips = read_manifest()
    passing = Counter(kind.name for kind in KINDS if kind.stage in (CROP, None))
    beside = Counter({"same_id": 1, "link_inside": 1})  # the file that stays, and the link's target
    assert Counter(clip.identity for clip in clips) == passing + beside
    assert _balance(manifest) == (len(clips) + len(rows), len(clips), len(rows))
    for row in rows:
        kind = next(kind for kind in KINDS if kind.name == _kind_of(row))
        if kind.stage == INGEST and kind.name != "sound_text":
            file = Path("datasets/vox/mp4") / kind.name / "v/00001.mp4"
            assert row.input_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        elif kind.stage == LISTING:
            assert row.input_sha256 is None

    gone = next(clip for clip in clips if clip.identity == "good")
    (Path("datasets/vox") / gone.path).unlink()
    crop.main()
    crops = Path("data/crops")
    refused = read_quarantine(crops)
    expected = {kind.name: str(kind.reason) for kind in KINDS if kind.stage == CROP}
    assert {_kind_of(row): row.reason for row in refused} == expected | {
        "good": str(Reason.MISSING_FILE)
    }
    out = {clip_id for path in list_shards(crops) for clip_id in read_shard(path)}
    assert out == {clip.clip_id for clip in clips} - {row.clip_id for row in refused}
    assert _balance(crops) == (len(clips), len(out), len(refused))
    assert not list((tmp_path / "cache").rglob("tracebacks/*/*.txt"))
