"""Toy clips and the files that the stages around training read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import yaml

from dimitra.clips import MANIFEST_SCHEMA, Clip
from dimitra.shards import json_bytes, write_atomic, write_shard
from pipelines.params import Params, parse
from pipelines.runtime.quarantine import write_table
from pipelines.shard import OUTPUT, statistics
from tests.cmdt.corpus import toy_clip, toy_parts
from tests.pipelines.balances import write_balance

FRAMES = 40
SAMPLE = Path(__file__).parents[2] / "conf" / "sample.yaml"


def clip(dataset: str, number: int, shard: int) -> Clip:
    return Clip(
        clip_id=f"{dataset}-{number:03d}",
        dataset=dataset,
        identity=f"id{number:03d}",
        source_video=f"v{number:03d}",
        path=f"{number:03d}.mp4",
        audio_path=None,
        sha256=f"{number:064x}",
        start_s=0.0,
        end_s=None,
        duration_s=FRAMES / 25,
        fps=25.0,
        width=64,
        height=64,
        transcript=None,
        shard=shard,
    )


CLIPS = [clip("aaa", number, number % 2) for number in range(6)] + [clip("bbb", 9, 1)]
SPLIT = {
    c.clip_id: "test" if c.dataset == "bbb" or c.identity == "id000" else "train" for c in CLIPS
}


def small_params(**sections: dict[str, object]) -> Params:
    """The sample profile with a model of a few thousand weights, written to ``params.yaml``."""
    values = yaml.safe_load(SAMPLE.read_text())
    values["model"] |= {
        "frames": 20,
        "width": 16,
        "speech_hidden": 16,
        "feed_forward": 16,
        "layers": 1,
        "heads": 2,
        "encoder_layers": 1,
        "encoder_heads": 2,
        "window": 1,
    }
    values["train"] |= {"batch": 2, "threads": 1}
    for part in ("lips", "expression", "pose"):
        values["train"][part] |= {"steps": 3}
    values["generate"] |= {"steps": 5, "overlap": 8}
    for name, section in sections.items():
        values[name] |= section
    Path("params.yaml").write_text(yaml.safe_dump(values))
    return parse(values)


def write_manifest(clips: list[Clip]) -> None:
    path = Path("data/manifest/clips.parquet")
    write_table(path, [asdict(c) for c in clips], MANIFEST_SCHEMA)
    write_balance(path.parent, "ingest", len(clips))


def write_merged(face_model: str = "open_head") -> None:
    """Train and test shards as ``shard`` makes them, without Ray."""
    write_manifest(CLIPS)
    groups: dict[str, list[Clip]] = {}
    for c in CLIPS:
        groups.setdefault(f"{SPLIT[c.clip_id]}-{c.dataset}-{c.shard:05d}", []).append(c)
    for name, clips in groups.items():
        samples = {
            c.clip_id: toy_parts(toy_clip(c.clip_id, FRAMES, index))
            for index, c in enumerate(clips)
        }
        write_shard(OUTPUT / f"{name}.tar", samples)
    train = sorted(OUTPUT.glob("train-*.tar"))
    write_balance(OUTPUT)
    write_atomic(OUTPUT / "stats.json", json_bytes(statistics(train, face_model)))
