"""A run with every artefact of every stage, made in a second: small shards, real records.

Shards, sidecars, manifest, split, tables and records are written by the functions of the pipeline;
what lies in the shards of the stages between is of no use but to have digests.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import yaml

from dimitra.clips import MANIFEST_SCHEMA, Clip, Reason
from dimitra.lineage.record import write_record
from dimitra.metrics.definitions import METHODS, METRICS
from dimitra.metrics.records import ClipRecord
from dimitra.metrics.summary import ClipValue
from dimitra.shards import json_bytes, npz_bytes, write_shard
from pipelines import evaluate
from pipelines.lineage.record import make_record
from pipelines.lineage.stages import read_stages
from pipelines.params import Params, load
from pipelines.runtime.quarantine import quarantine_row, settle, write_table
from pipelines.split import split
from tests.lineage.trees import ROOT

TESTED = "chorus-id00013-a-00001"
REFUSED = "chorus-id00001-a-00002"


def clips(folder: Path) -> list[Clip]:
    """Three clips of two identities, with their raw files."""
    found = []
    for identity, number in (("id00001", 1), ("id00001", 3), ("id00013", 1)):
        path = f"mp4/{identity}/a/{number:05d}.mp4"
        file = folder / "datasets" / "chorus" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"{identity} {number}".encode())
        found.append(
            Clip(
                clip_id=f"chorus-{identity}-a-{number:05d}",
                dataset="chorus",
                identity=identity,
                source_video=f"{identity}/a",
                path=path,
                audio_path=None,
                sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
                start_s=0.0,
                end_s=None,
                duration_s=4.0,
                fps=25.0,
                width=64,
                height=64,
                transcript=None,
                shard=0,
            )
        )
    return found


def _shards(folder: Path, stage: str, listed: list[Clip], refused: Clip | None = None) -> None:
    write_shard(folder / "00000.tar", {c.clip_id: {"bin": stage.encode() * 50} for c in listed})
    rows = []
    if refused is not None:
        rows.append(quarantine_row(refused, stage, Reason.NO_FACE, "no face in 100 frames"))
    settle(folder, stage, len(listed) + len(rows), len(listed), rows, budget=1.0)


def _evaluated(folder: Path, clip: Clip, params: Params) -> None:
    """Records of one test clip, and the tables made of them."""
    values = {
        method.key: {
            metric.key: ClipValue(round(0.5 + 0.01 * number, 4))
            for number, metric in enumerate(METRICS)
        }
        for method in METHODS
    }
    record = ClipRecord(clip.clip_id, clip.dataset, clip.identity, 100, {}, values)
    parts = {"metrics.json": json_bytes(record.to_json()), "features.npz": npz_bytes({})}
    output = folder / "data" / "evaluation"
    write_shard(output / "00000.tar", {clip.clip_id: parts})
    settle(output, "evaluate", 1, 1, [], budget=1.0)
    scores = folder / "data" / "scores"
    scores.mkdir(parents=True)
    (scores / "chorus.json").write_bytes(json_bytes({"clips": [record.to_json()], "table": {}}))
    with contextlib.chdir(folder):
        evaluate.write_all([output / "00000.tar"], params)


def make_run(folder: Path) -> Path:
    """Write the run into an empty folder."""
    for name in ("dvc.yaml", "weights.yaml", "constraints.txt"):
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(ROOT / "splits", folder / "splits")
    (folder / "metrics").mkdir()
    shutil.copyfile(ROOT / "metrics" / "tolerance.yaml", folder / "metrics" / "tolerance.yaml")
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    del values["datasets"]["sets"]["lecture"]
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    text = (folder / "dvc.yaml").read_text()
    (folder / "dvc.yaml").write_text(
        text.replace("    - metrics/lecture.json:\n        cache: false\n", "").replace(
            "    - metrics/lecture.json\n", ""
        )
    )
    params = load(folder / "params.yaml")
    whole = clips(folder)
    refused = replace(whole[1], clip_id=REFUSED)
    manifest = folder / "data" / "manifest"
    manifest.mkdir(parents=True)
    listed = [*whole, refused]
    write_table(manifest / "clips.parquet", (asdict(clip) for clip in listed), MANIFEST_SCHEMA)
    settle(manifest, "ingest", 4, 4, [], budget=1.0)
    split(listed, params.datasets, folder / "splits", folder / "data" / "split")
    _shards(folder / "data" / "crops", "crop", whole, refused)
    for stage, output in (
        ("fit", "motion"),
        ("transcribe", "transcripts"),
        ("speech", "speech"),
        ("shard", "shards"),
    ):
        _shards(folder / "data" / output, stage, whole)
    for stage, output in (("generate", "generated"), ("render", "videos")):
        _shards(folder / "data" / output, stage, whole[2:])
    for name in ("models/aligner", *(f"models/{part}" for part in params.train.parts)):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.safetensors").write_bytes(name.encode() * 20)
        (folder / name / "curve.csv").write_text("step,loss\n0,1.0\n")
    (folder / "evaluators" / "sync").mkdir(parents=True)
    (folder / "evaluators" / "sync" / "model.safetensors").write_bytes(b"sync" * 20)
    (folder / "truth" / "chorus").mkdir(parents=True)
    (folder / "truth" / "chorus" / "one.npz").write_bytes(b"truth")
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text("<p>report</p>\n")
    _evaluated(folder, whole[2], params)
    for stage in read_stages(folder):
        write_record(make_record(stage, folder), folder)
    return folder


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder, with a work cache of its own."""
    before = os.environ.get("DIMITRA_CACHE_DIR")
    os.environ["DIMITRA_CACHE_DIR"] = str(folder / ".cache")
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        if before is None:
            del os.environ["DIMITRA_CACHE_DIR"]
        else:
            os.environ["DIMITRA_CACHE_DIR"] = before
