"""A run folder with everything the page reads: two small data sets, real shards and videos.

Frame t of every video is of one grey, ``grey(t)``, so that a test can see which frame is shown.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dimitra.clips import MANIFEST_SCHEMA, QUARANTINE_SCHEMA, Clip
from dimitra.lineage.record import (
    Artefact,
    AssetUse,
    CodeVersion,
    LineageRecord,
    write_record,
)
from dimitra.media.mp4 import encode_mp4
from dimitra.metrics.definitions import METHODS, METRICS
from dimitra.metrics.records import CLIP_TABLE_SCHEMA, ClipRecord, clip_rows, tabulate
from dimitra.metrics.summary import ClipValue
from dimitra.shards import json_bytes, npz_bytes, write_atomic, write_shard
from dimitra.speech.transcript import Transcript, Word
from dimitra.statistics.intervals import mean_interval
from dimitra.statistics.paired import compare
from pipelines.params import Params, load
from pipelines.report.quarantined import BALANCES
from pipelines.runtime.quarantine import write_table
from tests.pipelines.toy_shards import SAMPLE

FRAMES = 50
HOSTILE = "</script><script>window.broken = 1</script><!-- & \u2028 'quoted' \"twice\""
"""What a text or a message from outside may hold."""
TEXTS = ("Boats <b>sail</b> in the bay", "Rain & wind", "Nobody spoke", HOSTILE)


def grey(frame: int) -> int:
    """Of every pixel of a frame."""
    return 20 + 4 * frame


def clips() -> list[Clip]:
    """Three test identities, one of them in another data set, and one to train on."""
    named = [
        *(("chorus", "id00013" if number % 2 else "id00014", number) for number in range(4)),
        ("chorus", "id00001", 0),
        ("lecture", "Avery", 0),
    ]
    return [
        Clip(
            clip_id=f"{dataset}-{identity.lower()}-v-{number:05d}",
            dataset=dataset,
            identity=identity,
            source_video=f"{identity}/v",
            path="a.mp4",
            audio_path=None,
            sha256="0" * 64,
            start_s=0.0,
            end_s=None,
            duration_s=FRAMES / 25 + number,
            fps=25.0,
            width=64,
            height=64,
            transcript=TEXTS[3] if dataset == "lecture" else None,
            shard=0,
        )
        for dataset, identity, number in named
    ]


def side(clip: Clip) -> str:
    return "train" if clip.identity == "id00001" else "test"


def evaluated() -> list[Clip]:
    """The test clips, each worse than the one before it."""
    return [one for one in clips() if side(one) == "test"]


def record(clip: Clip, place: int) -> ClipRecord:
    """Known numbers: method m, clip c: 1 + m + c / 10; SyncNet is absent."""
    values: dict[str, dict[str, ClipValue]] = {}
    for number, method in enumerate(METHODS):
        values[method.key] = {}
        for metric in METRICS:
            absent = metric.key.startswith("sync") or method.key == "ground_truth"
            values[method.key][metric.key] = (
                ClipValue(None, "<not measured>")
                if absent
                else ClipValue(1.0 + number + 0.1 * place)
            )
    return ClipRecord(clip.clip_id, clip.dataset, clip.identity, FRAMES, {}, values)


def with_intervals(table: dict[str, dict[str, Any]], records: list[ClipRecord]) -> None:
    """Add the intervals of docs/metrics.md to a table, by the library's bootstrap."""
    for method, row in table.items():
        for metric, item in row.items():
            found = [(r.values[method][metric].value, r.identity) for r in records]
            known = [(value, who) for value, who in found if value is not None]
            values, people = [value for value, _ in known], [who for _, who in known]
            clip, person = (
                mean_interval(values, draws=200),
                mean_interval(values, people, draws=200),
            )
            item |= {"low": clip.low, "high": clip.high, "identities": len(set(people))}
            item |= {"identities_low": person.low, "identities_high": person.high}


def paired_tests(records: list[ClipRecord]) -> dict[str, list[dict[str, Any]]]:
    """Of M-LMD, between the two variants and a baseline."""
    people = [one.identity for one in records]

    def column(method: str) -> list[float | None]:
        return [one.values[method]["m_lmd"].value for one in records]

    tests = []
    for first, second in (("dimitra_hp", "dimitra_no_hp"), ("dimitra_hp", "frozen_first_frame")):
        test = compare(column(first), column(second), people)
        tests.append(
            {
                "first": first,
                "second": second,
                "n": test.n,
                "dropped": test.dropped,
                "difference": test.difference,
                "low": test.interval.low,
                "high": test.interval.high,
                "identities": test.identity_interval.groups,
                "identities_low": test.identity_interval.low,
                "identities_high": test.identity_interval.high,
                "permutation_p": test.permutation_p,
                "permutation_p_identities": test.identity_p,
                "wilcoxon_p": test.wilcoxon_p,
                "permutation_p_holm": 0.004,
            }
        )
    return {"m_lmd": tests}


def _write_metrics(root: Path, tested: list[Clip]) -> None:
    tests = {}
    for dataset in ("chorus", "lecture"):
        own = [record(one, place) for place, one in enumerate(tested) if one.dataset == dataset]
        table = {
            method: {metric: asdict(summary) for metric, summary in row.items()}
            for method, row in tabulate(own).items()
        }
        with_intervals(table, own)
        write_atomic(root / f"metrics/{dataset}.json", json_bytes(table))
        path = root / f"metrics/clips/{dataset}.parquet"
        write_table(path, clip_rows(own), CLIP_TABLE_SCHEMA)
        tests[dataset] = paired_tests(own)
    write_atomic(root / "metrics/paired.json", json_bytes(tests))


def _write_balances(root: Path, count: int) -> None:
    for stage, folder in BALANCES.items():
        bad = [
            {
                "clip_id": f"chorus-bad-{number}",
                "dataset": "chorus",
                "stage": stage,
                "reason": ("no_face", "truncated")[number],
                "message": (f"no face in any of 150 frames {HOSTILE}", "ends at byte 9")[number],
                "input_sha256": None,
                "attempts": 1,
            }
            for number in range(2)
        ] * (stage == "crop")
        write_table(root / folder / "quarantine.parquet", bad, QUARANTINE_SCHEMA)
        balance = {
            "stage": stage,
            "clips_in": count + len(bad),
            "clips_out": count,
            "quarantined": len(bad),
            "reasons": {"no_face": 1, "truncated": 1} if bad else {},
            "budget": 0.05,
        }
        write_atomic(root / folder / "balance.json", json_bytes(balance))


def _write_models(root: Path) -> None:
    steps = np.arange(300)
    for number, part in enumerate(("lips", "expression", "pose")):
        write_atomic(root / f"models/{part}/model.safetensors", part.encode())
        noise = np.random.default_rng(number).uniform(0.7, 1.3, len(steps))
        loss = (0.3 + 6.0 * np.exp(-steps / 60.0)) * noise
        lines = ["step,loss", *(f"{s},{v:.5f}" for s, v in zip(steps, loss, strict=True))]
        write_atomic(root / f"models/{part}/curve.csv", ("\n".join(lines) + "\n").encode())


def motion_of(place: int, turn: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """``[T, 70]``: a mouth that opens and closes, a head whose pitch is ``turn`` and whose yaw
    goes evenly from 0 to a tenth."""
    motion = np.zeros((FRAMES, 70), np.float32)
    motion[:, :13] = 0.2 * np.sin(np.arange(FRAMES) / (3.0 + place))[:, None]
    motion[:, 64] = turn
    motion[:, 65] = np.linspace(0.0, 0.1, FRAMES)
    return motion


def _parts(motion: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    return npz_bytes({"expression": motion[:, :64], "pose": motion[:, 64:]})


def _write_shards(root: Path, tested: list[Clip]) -> None:
    video = encode_mp4([np.full((64, 64, 3), grey(t), np.uint8) for t in range(FRAMES)])
    ids = [one.clip_id for one in tested]
    places = {clip_id: place for place, clip_id in enumerate(ids)}
    write_shard(root / "data/crops/00000.tar", {i: {"mp4": video, "flac": b""} for i in ids})
    films = {i: {"hp.mp4": video, "no_hp.mp4": video} for i in ids}
    write_shard(root / "data/videos/00000.tar", films)
    fitted = {i: {"motion.npz": _parts(motion_of(places[i], 0.2))} for i in ids}
    write_shard(root / "data/motion/00000.tar", fitted)
    made = {i: {"generated.npz": npz_bytes({"motion": motion_of(places[i], 0.3)})} for i in ids}
    write_shard(root / "data/generated/00000.tar", made)
    spoken = {
        one.clip_id: Transcript(
            TEXTS[place % 3],
            "en",
            "asr",
            tuple(
                Word(w, 0.4 * at, 0.4 * at + 0.3) for at, w in enumerate(("one", "two", "three"))
            ),
        )
        for place, one in enumerate(tested)
        if one.dataset == "chorus"
    }
    texts = {clip_id: {"transcript.json": one.to_bytes()} for clip_id, one in spoken.items()}
    write_shard(root / "data/transcripts/00000.tar", texts)
    for clip_id in ids[:2]:
        path = root / f"truth/chorus/{clip_id}.npz"
        write_atomic(path, _parts(motion_of(places[clip_id], 0.1)))


FLOW: dict[str, tuple[list[str], str]] = {
    "ingest": (["datasets"], "data/manifest"),
    "split": (["data/manifest", "splits"], "data/split"),
    "crop": (["data/manifest", "datasets"], "data/crops"),
    "fit": (["data/manifest", "data/crops"], "data/motion"),
    "transcribe": (["data/manifest", "data/crops"], "data/transcripts"),
    "align_train": (["data/crops", "data/transcripts", "data/split"], "models/aligner"),
    "speech": (["data/crops", "data/transcripts", "models/aligner"], "data/speech"),
    "shard": (["data/motion", "data/speech", "data/split"], "data/shards"),
    "train@lips": (["data/shards"], "models/lips"),
    "train@expression": (["data/shards"], "models/expression"),
    "train@pose": (["data/shards"], "models/pose"),
    "generate": (
        ["data/shards", "models/lips", "models/expression", "models/pose"],
        "data/generated",
    ),
    "render": (["data/generated", "data/crops"], "data/videos"),
    "score": (["data/generated", "data/motion", "data/split", "truth"], "data/scores"),
    "train_sync": (["data/crops", "data/split"], "evaluators/sync"),
    "evaluate": (
        ["data/videos", "data/crops", "data/scores", "evaluators/sync"],
        "metrics/chorus.json",
    ),
}
"""Stage to what it reads and writes."""


def digest(*words: str) -> str:
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def artefact(path: str, size: int) -> Artefact:
    return Artefact(path, digest(path), size)


def write_lineage(root: Path) -> None:
    """Records of every stage of ``FLOW``, with digests of their own."""
    for stage, (inputs, output) in FLOW.items():
        name, _, part = stage.partition("@")
        record = LineageRecord(
            stage=stage,
            command=f"python -m pipelines.{name}" + (f" --part {part}" if part else ""),
            code=CodeVersion(
                commit=digest("commit", name)[:40],
                uncommitted=digest("changed") if stage == "render" else None,
                digest=digest("code", name),
                files={f"pipelines/{name}.py": digest("file", name)},
            ),
            params={"seed": 20250217, f"{name}.deadline_s": 300.0},
            inputs=tuple(artefact(one, 123_456) for one in sorted(inputs)),
            outputs=(artefact(output, 1_234_567),),
            clips={"in": 8, "out": 6, "quarantined": 2, "reasons": {"no_face": 2}}
            if stage == "crop"
            else None,
            assets=(AssetUse("dlib_68", "dlib_68", digest("dlib"), "CC0-1.0", "pypi:a==1!b"),)
            if stage == "evaluate"
            else (),
            tools={"ffmpeg": "8.0"},
            packages={"lock_sha256": digest("lock")},
            seeds={"seed": 20250217},
            environment={"cpu": "x86_64"},
            digests={"model": digest("model", part)} if part else {},
        )
        write_record(record, root)


def make_run(root: Path) -> Params:
    """Write the folder; returns its parameters."""
    every = clips()
    tested = evaluated()
    _write_balances(root, len(every))
    write_table(
        root / "data/manifest/clips.parquet", [asdict(one) for one in every], MANIFEST_SCHEMA
    )
    schema = pa.schema([("clip_id", pa.string()), ("split", pa.string())])
    rows = [{"clip_id": one.clip_id, "split": side(one)} for one in every]
    write_table(root / "data/split/split.parquet", rows, schema)
    write_atomic(root / "data/split/split.json", b'{"digest": "5p1it"}')
    _write_models(root)
    _write_metrics(root, tested)
    _write_shards(root, tested)
    return load(SAMPLE)
