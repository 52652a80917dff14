"""Merge motion and speech into train and test shards: `python -m pipelines.shard`.

Writes `data/shards/{train,test}-<dataset>-NNNNN.tar`, and over all of them `index.parquet`,
`members.parquet` (where each part of each clip lies), `stats.json` (face model; mean and standard
deviation of the motion over the train frames) and `croissant.json` (Croissant metadata). Writes
`inventory/` too, which is committed: what the dataset consists of, and its card.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dimitra.clips import Clip, ClipError, Reason
from dimitra.datasets.members import encode, members_table
from dimitra.datasets.summary import Description
from dimitra.lineage.croissant import Table, describe
from dimitra.morphable.deng_coefficients import mouth_indices
from dimitra.shards import (
    Members,
    iterate_shard,
    json_bytes,
    list_sidecars,
    read_npz,
    read_sidecar,
    sha256_file,
    write_atomic,
)
from pipelines.lineage.inventory import write_inventory
from pipelines.lineage.record import with_lineage
from pipelines.params import Params, load
from pipelines.runtime.jobs import Job, Unit, Worker, read_manifest, run, units_of
from pipelines.runtime.mainguard import guarded
from pipelines.runtime.quarantine import write_table
from pipelines.stores.work_cache import WorkCache, local_shards

MOTION = Path("data/motion")
SPEECH = Path("data/speech")
SPLIT = Path("data/split/split.parquet")
OUTPUT = Path("data/shards")
MERGED_PARTS = ("motion.npz", "speech.npz", "text.npz")
STATISTICS = ("expression", "pose", "crop")
DEADLINE_S = 60.0
FPS = 25.0
"""Frames a second of everything in the shards."""

INDEX_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("identity", pa.string(), nullable=False),
        pa.field("frames", pa.int32(), nullable=False),
        pa.field("face_model", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("shard_sha256", pa.string(), nullable=False),
    ]
)


def read_split(path: Path) -> dict[str, str]:
    """Split (``train`` or ``test``) of each clip.

    Raises:
        FileNotFoundError: ``split`` has not run.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; run `python -m pipelines.split` first")
    table = pq.read_table(path, columns=["clip_id", "split"])
    ids, splits = table["clip_id"].to_pylist(), table["split"].to_pylist()
    return dict(zip(ids, splits, strict=True))


def units_by_split(units: Sequence[Unit], split: Mapping[str, str]) -> tuple[Unit, ...]:
    """Cut each shard number's unit by split and dataset: ``train-chorus-00003``.

    Clips outside the split are left out; ``split`` has accounted for them.
    """
    groups: dict[str, list[Clip]] = defaultdict(list)
    reads: dict[str, tuple[Path, ...]] = {}
    for unit in units:
        for clip in unit.clips:
            if clip.clip_id in split:
                name = f"{split[clip.clip_id]}-{clip.dataset}-{unit.name}"
                groups[name].append(clip)
                reads[name] = unit.reads
    return tuple(Unit(name, tuple(groups[name]), reads[name]) for name in sorted(groups))


def make_worker(params: dict[str, Any]) -> Worker:
    """Worker that merges the parts of one clip.

    Args:
        params: ``split``: path of the split table; ``face_model``: of the motion.
    """
    split = read_split(Path(params["split"]))

    def worker(clip: Clip, parts: Members) -> Members:
        motion = read_npz(parts["motion.npz"])
        frames = len(motion["expression"])
        phonemes = len(read_npz(parts["speech.npz"])["phonemes"])
        if phonemes != frames:
            raise ClipError(
                Reason.UNALIGNED,
                f"clip {clip.clip_id} has {frames} frames of motion but {phonemes} of phonemes",
            )
        for name in ("expression", "pose"):
            if not np.isfinite(motion[name]).all():
                raise ClipError(
                    Reason.FIT_RESIDUAL,
                    f"clip {clip.clip_id}: {name} holds values that are not finite",
                )
        description = {
            "clip_id": clip.clip_id,
            "dataset": clip.dataset,
            "identity": clip.identity,
            "source_video": clip.source_video,
            "split": split[clip.clip_id],
            "frames": frames,
            "face_model": params["face_model"],
        }
        return {part: parts[part] for part in MERGED_PARTS} | {"json": json_bytes(description)}

    return worker


def moments(arrays: Iterable[NDArray[np.float32]]) -> dict[str, list[float]]:
    """Mean and standard deviation over the rows of all arrays, in one pass.

    Chan et al. (1979): exact merging of counts, means and squared deviations, in float64.

    Raises:
        ValueError: there is no row.
    """
    count, mean, squares = 0, np.zeros(0), np.zeros(0)
    for array in arrays:
        rows = array.astype(np.float64)
        if not count:
            mean, squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
        delta = rows.mean(axis=0) - mean
        total = count + len(rows)
        squares += ((rows - rows.mean(axis=0)) ** 2).sum(axis=0)
        squares += delta**2 * count * len(rows) / total
        mean = mean + delta * len(rows) / total
        count = total
    if not count:
        raise ValueError("no rows to take statistics of")
    return {"mean": mean.tolist(), "std": np.sqrt(squares / count).tolist()}


def statistics(shards: Sequence[Path], face_model: str) -> dict[str, Any]:
    """Moments of the motion over all frames of the shards, with the counts they rest on.

    Also the face model, and which of its 64 expression values move the mouth.

    Raises:
        ValueError: unknown face model.
    """

    def arrays(name: str) -> Iterable[NDArray[np.float32]]:
        for path in shards:
            for _, parts in iterate_shard(path):
                yield read_npz(parts["motion.npz"])[name]

    lengths = [len(array) for array in arrays("pose")]
    counts: dict[str, Any] = {
        "face_model": face_model,
        "mouth": list(mouth_indices(face_model)),
        "clips": len(lengths),
        "frames": sum(lengths),
    }
    if not lengths:
        return counts
    return counts | {name: moments(arrays(name)) for name in STATISTICS}


def index_rows(shards: Sequence[Path]) -> Iterable[dict[str, Any]]:
    """One row a clip, ordered by shard and clip."""
    for path in shards:
        sha256 = read_sidecar(path).sha256
        for clip_id, parts in iterate_shard(path):
            row = json.loads(parts["json"])
            yield {
                "clip_id": clip_id,
                "dataset": row["dataset"],
                "split": row["split"],
                "identity": row["identity"],
                "frames": row["frames"],
                "face_model": row["face_model"],
                "shard": path.name,
                "shard_sha256": sha256,
            }


INDEX_COLUMNS = {
    "clip_id": ("Identifier of the clip.", "sc:Text"),
    "dataset": ("Dataset the clip comes from.", "sc:Text"),
    "split": ("train or test.", "sc:Text"),
    "identity": ("Who speaks; unique within the dataset.", "sc:Text"),
    "frames": ("Frames at 25 per second.", "sc:Integer"),
    "face_model": ("Whose coefficients the motion holds: open_head or bfm.", "sc:Text"),
    "shard": ("Shard that holds the clip.", "sc:Text"),
    "shard_sha256": ("Sha256 of that shard.", "sc:Text"),
}
MEMBER_COLUMNS = {
    "clip_id": ("Identifier of the clip.", "sc:Text"),
    "part": ("Which part of the clip: motion.npz, speech.npz, text.npz or json.", "sc:Text"),
    "shard": ("Shard that holds it.", "sc:Text"),
    "offset": ("First byte of the part in the shard's file.", "sc:Integer"),
    "size_bytes": ("Bytes of the part.", "sc:Integer"),
    "sha256": ("Sha256 of those bytes.", "sc:Text"),
}


def describe_dataset(params: Params) -> Description:
    """What no table tells of the dataset."""
    datasets = params.datasets
    split = json.loads(SPLIT.with_suffix(".json").read_text())
    return Description(
        name="dimitra-" + "-".join(sorted(datasets.sets)),
        version=datasets.version,
        licence=datasets.licence,
        creator=datasets.creator,
        published=datasets.published.isoformat(),
        face_model=params.fit.face_model,
        splits={name: entry.split for name, entry in sorted(datasets.sets.items())},
        split_digest=split["digest"],
    )


def croissant(output: Path, about: Description) -> bytes:
    """Croissant metadata of the finished shards and their tables."""
    tables = [
        Table(
            "clips",
            "index.parquet",
            sha256_file(output / "index.parquet"),
            "One row a clip: where it lies, its dataset, split and identity.",
            ("clip_id",),
            INDEX_COLUMNS,
        ),
        Table(
            "members",
            "members.parquet",
            sha256_file(output / "members.parquet"),
            "One row a part of a clip: the bytes of its shard that hold it.",
            ("clip_id", "part"),
            MEMBER_COLUMNS,
        ),
    ]
    description = (
        "Motion coefficients, speech features, phonemes and text features of talking heads, "
        f"25 frames per second, from: {', '.join(about.splits)}."
    )
    shards = list(list_sidecars(output).values())
    return json_bytes(describe(about, description, tables, shards))


def main() -> None:
    """Run the stage."""
    params = load()
    units = units_by_split(units_of(read_manifest(), [MOTION, SPEECH]), read_split(SPLIT))
    job = Job(
        stage="shard",
        worker="pipelines.shard:make_worker",
        params={"split": SPLIT.as_posix(), "face_model": params.fit.face_model},
        carried=(SPLIT,),
        units=units,
        output=OUTPUT,
        budget=params.budgets.shard,
        deadline_s=DEADLINE_S,
        seed=params.seed,
    )
    run(job, params.ray, params.storage)
    finish(params)


def finish(params: Params) -> None:
    """Write what is told of all shards together.

    Args:
        params: of the run whose shards are there.
    """
    shards = local_shards(OUTPUT, WorkCache.of(params.storage.root))
    index, members = list(index_rows(shards)), members_table(shards)
    write_table(OUTPUT / "index.parquet", index, INDEX_SCHEMA)
    write_atomic(OUTPUT / "members.parquet", encode(members))
    train = [path for path in shards if path.name.startswith("train-")]
    write_atomic(OUTPUT / "stats.json", json_bytes(statistics(train, params.fit.face_model)))
    about = describe_dataset(params)
    write_atomic(OUTPUT / "croissant.json", croissant(OUTPUT, about))
    write_inventory(about, OUTPUT, index, members, FPS)


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main)))
