"""List, probe and hash every clip of the datasets: `python -m pipelines.ingest`."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dimitra.clips import MANIFEST_SCHEMA, Clip, ClipError, Reason, shard_number
from dimitra.datasets import hdtf, voxceleb2
from dimitra.datasets.listing import LayoutError, Listing, SourceClip
from dimitra.media.container import MediaLimits, probe
from dimitra.shards import Members, iterate_shard, json_bytes, list_shards, sidecar_path
from pipelines.jobs import Job, Unit, run
from pipelines.mainguard import guarded
from pipelines.params import DatasetsParams, Params, load
from pipelines.quarantine import QuarantineRow, read_quarantine, write_quarantine, write_table
from pipelines.work_cache import digest_of
from pipelines.workers import Worker

OUTPUT = Path("data/manifest")
_DEADLINE_S = 3600.0
_BLOCK = 1 << 20
_LAYOUTS: Mapping[str, Callable[[Path, str], Listing]] = {
    "voxceleb2": voxceleb2.read,
    "hdtf": hdtf.read,
}


def _files(root: Path, path: str, audio_path: str | None) -> list[Path]:
    return [root / name for name in (path, audio_path) if name is not None]


def _sha256(files: Sequence[Path]) -> str:
    """Sha256 of the bytes of the files, one after the other."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def make_worker(params: dict[str, Any]) -> Worker:
    """A worker that probes and hashes one file, and returns its manifest row."""
    limits = MediaLimits(**params["limits"])
    roots = {name: Path(root) for name, root in params["roots"].items()}

    def work(clip: Clip, parts: Members) -> Members:  # noqa: ARG001 - there are no parts yet
        root = roots[clip.dataset]
        separate = clip.audio_path is not None
        for path in _files(root, clip.path, clip.audio_path):
            if not path.is_file():
                raise ClipError(
                    Reason.MISSING_FILE, f"{path} is no file; a link whose target is gone?"
                )
        info = probe(root / clip.path, limits, audio=not separate)
        if clip.audio_path is not None:
            probe(root / clip.audio_path, limits, video=False)
        row = replace(
            clip,
            sha256=_sha256(_files(root, clip.path, clip.audio_path)),
            duration_s=info.duration_s,
            fps=info.fps,
            width=info.width,
            height=info.height,
        )
        return {"clip.json": json_bytes(asdict(row))}

    return work


def _unprobed(dataset: str, clip: SourceClip, shards: int) -> Clip:
    """A manifest row with what only the file itself can tell left at zero."""
    return Clip(
        clip_id=clip.clip_id,
        dataset=dataset,
        identity=clip.identity,
        source_video=clip.source_video,
        path=clip.path,
        audio_path=clip.audio_path,
        sha256="",
        start_s=clip.start_s,
        end_s=clip.end_s,
        duration_s=0.0,
        fps=0.0,
        width=0,
        height=0,
        transcript=clip.transcript,
        shard=shard_number(dataset, clip.source_video, shards),
    )


def _stamp(roots: Mapping[str, Path], clips: Sequence[Clip]) -> str:
    """Digest of size, inode, modification and change time of the clips' files.

    They stand for the bytes, which have not been read yet, as they do for DVC and git. The change
    time cannot be set by hand, so an edit that restores the modification time is seen too.
    """
    stamps: list[list[str | int]] = []
    for clip in clips:
        for path in _files(roots[clip.dataset], clip.path, clip.audio_path):
            if not path.exists():
                stamps.append([path.as_posix()])
                continue
            status = path.stat()
            times = (status.st_mtime_ns, status.st_ctime_ns)
            stamps.append([path.as_posix(), status.st_size, status.st_ino, *times])
    return digest_of(stamps)


def list_datasets(
    datasets: DatasetsParams, shards: int
) -> tuple[tuple[Unit, ...], tuple[QuarantineRow, ...]]:
    """Units of files to probe, and rows for files that their layout already refuses.

    Raises:
        LayoutError: a dataset's folder is missing, or has another layout.
    """
    roots = {name: Path(datasets.root) / entry.path for name, entry in datasets.sets.items()}
    by_shard: dict[int, list[Clip]] = defaultdict(list)
    refused = []
    for name, entry in sorted(datasets.sets.items()):
        listing = _LAYOUTS[entry.layout](roots[name], name)
        for source in listing.clips:
            clip = _unprobed(name, source, shards)
            by_shard[clip.shard].append(clip)
        refused += [
            QuarantineRow(bad.clip_id, name, "ingest", str(bad.reason), bad.message, None, 1)
            for bad in listing.bad
        ]
    units = []
    for number, clips in sorted(by_shard.items()):
        ordered = tuple(sorted(clips, key=lambda clip: clip.clip_id))
        units.append(Unit(f"{number:05d}", ordered, (), _stamp(roots, ordered)))
    return tuple(units), tuple(refused)


def _gather(output: Path) -> list[Clip]:
    """Take the manifest rows out of the job's shards, which are then removed."""
    clips = []
    for path in list_shards(output):
        for _, parts in iterate_shard(path):
            clips.append(Clip(**json.loads(parts["clip.json"])))
        path.unlink()
        sidecar_path(path).unlink()
    return sorted(clips, key=lambda clip: clip.clip_id)


def _hash_quarantined(output: Path, units: Sequence[Unit], roots: Mapping[str, Path]) -> None:
    """Add the sha256 of the files to the quarantine rows, which were written without."""
    clips = {clip.clip_id: clip for unit in units for clip in unit.clips}
    rows = []
    for row in read_quarantine(output):
        clip = clips.get(row.clip_id)
        digest = None
        if clip is not None and row.reason != Reason.MISSING_FILE:
            digest = _sha256(_files(roots[clip.dataset], clip.path, clip.audio_path))
        rows.append(replace(row, input_sha256=digest))
    write_quarantine(output, rows)


def ingest(params: Params, output: Path = OUTPUT) -> None:
    """Write ``clips.parquet``, the quarantine table and the balance.

    Raises:
        LayoutError: a dataset's folder is missing, or has another layout.
        BudgetError: too many files were refused.
    """
    units, refused = list_datasets(params.datasets, params.shards.count)
    roots = {n: Path(params.datasets.root) / e.path for n, e in params.datasets.sets.items()}
    run(
        Job(
            stage="ingest",
            worker="pipelines.ingest:make_worker",
            params={
                "roots": {name: root.as_posix() for name, root in roots.items()},
                "limits": params.limits.model_dump(),
            },
            units=units,
            output=output,
            budget=params.budgets.ingest,
            deadline_s=_DEADLINE_S,
            refused=refused,
            packages=("av",),
        ),
        params.ray,
    )
    clips = _gather(output)
    write_table(output / "clips.parquet", (asdict(clip) for clip in clips), MANIFEST_SCHEMA)
    _hash_quarantined(output, units, roots)


def main() -> None:
    """Read the datasets named in ``params.yaml``."""
    ingest(load())


if __name__ == "__main__":
    sys.exit(guarded(main, LayoutError))
