"""List, probe and hash every clip of the datasets: `python -m pipelines.ingest`."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from dimitra.clips import MANIFEST_SCHEMA, Clip, ClipError, shard_number
from dimitra.datasets import hdtf, voxceleb2
from dimitra.datasets.listing import LayoutError, Listing, SourceClip
from dimitra.datasets.original import original_files, sha256_of
from dimitra.media.container import MediaLimits, inspect
from dimitra.shards import Members, iterate_shard, json_bytes, list_sidecars, sidecar_path
from pipelines.jobs import Job, Unit, run
from pipelines.mainguard import guarded
from pipelines.params import DatasetsParams, Params, load
from pipelines.quarantine import QuarantineRow, read_quarantine, write_quarantine, write_table
from pipelines.staging import stamp
from pipelines.work_cache import WorkCache, digest_of, local_shards
from pipelines.workers import Worker

OUTPUT = Path("data/manifest")
_DEADLINE_S = 3600.0
_LAYOUTS: Mapping[str, Callable[..., Listing]] = {
    "voxceleb2": voxceleb2.read,
    "hdtf": hdtf.read,
}


def _files(root: Path, path: str, audio_path: str | None) -> list[Path]:
    return [root / name for name in (path, audio_path) if name is not None]


def make_worker(params: dict[str, Any]) -> Worker:
    """A worker that probes and hashes one file, and returns its manifest row."""
    limits = MediaLimits(**params["limits"])
    roots = {name: Path(root) for name, root in params["roots"].items()}

    def work(clip: Clip, parts: Members) -> Members:  # noqa: ARG001 - there are no parts yet
        root = roots[clip.dataset]
        separate = clip.audio_path is not None
        info = inspect(root / clip.path, limits, audio=not separate)
        if clip.audio_path is not None:
            inspect(root / clip.audio_path, limits, video=False)
        row = replace(
            clip,
            sha256=sha256_of(original_files(root, clip)),
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
    """Digest of the stamps of the clips' files, which have not been read yet."""
    return digest_of(
        [
            stamp(path)
            for clip in clips
            for path in _files(roots[clip.dataset], clip.path, clip.audio_path)
        ]
    )


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
        listing = _LAYOUTS[entry.layout](roots[name], name, outside_links=entry.outside_links)
        if not listing.clips and not listing.bad:
            raise LayoutError(
                f"dataset {name!r}: no clip below {roots[name]}; is the data there (`make data` "
                "for the sample), and its layout right?"
            )
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


def _gather(output: Path, cache: WorkCache) -> list[Clip]:
    """Take the manifest rows out of the job's shards, which are then removed."""
    clips = []
    for path in local_shards(output, cache):
        for _, parts in iterate_shard(path):
            clips.append(Clip(**json.loads(parts["clip.json"])))
    for path in list_sidecars(output):
        path.unlink(missing_ok=True)
        sidecar_path(path).unlink()
    return sorted(clips, key=lambda clip: clip.clip_id)


def _hash_quarantined(output: Path, units: Sequence[Unit], roots: Mapping[str, Path]) -> None:
    """Add the sha256 of the files to the quarantine rows, which were written without."""
    clips = {clip.clip_id: clip for unit in units for clip in unit.clips}
    rows = []
    for row in read_quarantine(output):
        clip = clips.get(row.clip_id)
        digest = None
        if clip is not None:
            with suppress(ClipError):  # no file, or none that may be read
                digest = sha256_of(original_files(roots[clip.dataset], clip))
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
            media={name: root.as_posix() for name, root in roots.items()},
        ),
        params.ray,
        params.storage,
    )
    clips = _gather(output, WorkCache.of(params.storage.root))
    write_table(output / "clips.parquet", (asdict(clip) for clip in clips), MANIFEST_SCHEMA)
    _hash_quarantined(output, units, roots)


def main() -> None:
    """Read the datasets named in ``params.yaml``."""
    ingest(load())


if __name__ == "__main__":
    sys.exit(guarded(main, LayoutError))
