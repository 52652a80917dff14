"""List, probe and hash every clip of the datasets: `python -m pipelines.ingest`."""

from __future__ import annotations

import functools
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dimitra.clips import MANIFEST_SCHEMA, Clip, ClipError, Reason, shard_number
from dimitra.datasets.layouts import read_dataset
from dimitra.datasets.listing import LayoutError, SourceClip
from dimitra.datasets.original import original_files, sha256_of
from dimitra.media.container import MediaInfo, MediaLimits, inspect
from dimitra.shards import (
    Members,
    iterate_shard,
    json_bytes,
    list_sidecars,
    sidecar_path,
    write_atomic,
)
from pipelines.errors import BudgetError
from pipelines.lineage.record import with_lineage
from pipelines.params import DatasetsParams, Params, load
from pipelines.runtime.jobs import Job, Unit, run
from pipelines.runtime.mainguard import guarded
from pipelines.runtime.progress import console
from pipelines.runtime.quarantine import (
    QuarantineRow,
    read_quarantine,
    write_quarantine,
    write_table,
)
from pipelines.runtime.staging import stamp
from pipelines.runtime.workers import Worker
from pipelines.stores.work_cache import WorkCache, digest_of, local_shards

OUTPUT = Path("data/manifest")
_DEADLINE_S = 3600.0
_LATE_S = 1.0
"""Lists give whole seconds: an interval may end this much after its file."""


def _files(root: Path, path: str, audio_path: str | None) -> list[Path]:
    return [root / name for name in (path, audio_path) if name is not None]


def make_worker(params: dict[str, Any]) -> Worker:
    """A worker that probes and hashes one file, and returns its manifest row."""
    limits = MediaLimits(**params["limits"])
    roots = {name: Path(root) for name, root in params["roots"].items()}

    @functools.lru_cache(maxsize=4)  # the intervals of one video follow each other
    def examine(files: tuple[Path, ...]) -> tuple[MediaInfo, str]:
        info = inspect(files[0], limits, audio=len(files) == 1)
        for sound in files[1:]:
            inspect(sound, limits, video=False)
        return info, sha256_of(files)

    def work(clip: Clip, parts: Members) -> Members:  # noqa: ARG001 - there are no parts yet
        info, digest = examine(tuple(original_files(roots[clip.dataset], clip)))
        row = replace(
            clip,
            sha256=digest,
            duration_s=_length_s(clip, info.duration_s, limits),
            fps=info.fps,
            width=info.width,
            height=info.height,
        )
        return {"clip.json": json_bytes(asdict(row))}

    return work


def _length_s(clip: Clip, file_s: float, limits: MediaLimits) -> float:
    """Seconds of a clip: of its file, or of the interval that is cut out of it.

    Raises:
        ClipError: TRUNCATED or TOO_SHORT.
    """
    if clip.end_s is None and clip.start_s == 0.0:
        return file_s
    end_s = file_s if clip.end_s is None else clip.end_s
    interval = f"{clip.path}: the interval {clip.start_s:g} to {end_s:g} s"
    if end_s > file_s + _LATE_S:
        raise ClipError(
            Reason.TRUNCATED,
            f"{interval} ends after the file, which has {file_s:.2f} s; copy the whole file",
        )
    length_s = min(end_s, file_s) - clip.start_s
    if length_s < limits.min_duration_s:
        raise ClipError(
            Reason.TOO_SHORT,
            f"{interval} has {length_s:.2f} s in a file of {file_s:.2f} s, limits.min_duration_s "
            f"is {limits.min_duration_s}",
        )
    return length_s


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


@dataclass(frozen=True)
class Work:
    """What there is to do.

    Attributes:
        units: files to probe, by shard.
        refused: rows for files that their layout, or the list of clips, refuses already.
        counts: what was counted in each dataset.
    """

    units: tuple[Unit, ...]
    refused: tuple[QuarantineRow, ...]
    counts: dict[str, dict[str, Any]]


def list_datasets(datasets: DatasetsParams, shards: int) -> Work:
    """List the datasets' folders; no file of theirs is opened but lists and annotations.

    Raises:
        LayoutError: a dataset's folder is missing, has another layout, or a list is ill formed.
    """
    roots = {name: Path(datasets.root) / entry.path for name, entry in datasets.sets.items()}
    by_shard: dict[int, list[Clip]] = defaultdict(list)
    refused = []
    counts = {}
    for name, entry in sorted(datasets.sets.items()):
        clip_list = None if entry.clips is None else Path(entry.clips)
        listing, counts[name] = read_dataset(
            entry.layout, roots[name], name, clip_list, outside_links=entry.outside_links
        )
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
    return Work(tuple(units), tuple(refused), counts)


def _tell(counts: Mapping[str, Mapping[str, Any]]) -> None:
    """Print what lies outside of the datasets, or is promised in vain."""
    for name, of in counts.items():
        parts = []
        if of["list"] is not None:
            parts.append(
                f"{of['list']} lists {of['listed']} files, {of['listed_but_absent']} of them are "
                f"not there; {of['present_but_not_listed']} files in the folder are not listed and "
                "stay outside"
            )
        if of["other_files"]:
            parts.append(f"{of['other_files']} files are no videos and stay outside")
        strangers = (of.get("speakers") or {}).get("not_in_table", ())
        if of.get("at_the_top", 0) > 1:
            parts.append(
                f"{of['at_the_top']} videos lie at the top and count as a person each; put those "
                "of one person into one folder, or a split cannot keep them together"
            )
        if strangers:
            parts.append(f"{len(strangers)} identities are not in vox2_meta.csv")
        if parts:
            console.print(f"ingest: {name}: {'; '.join(parts)}", soft_wrap=True)


def _gather(output: Path, cache: WorkCache) -> list[Clip]:
    """Take the manifest rows out of the job's shards."""
    clips = []
    for path in local_shards(output, cache):
        for _, parts in iterate_shard(path):
            clips.append(Clip(**json.loads(parts["clip.json"])))
    return sorted(clips, key=lambda clip: clip.clip_id)


def _clear_shards(output: Path) -> None:
    """Remove the job's shards: the manifest holds what was in them, or the stage has failed."""
    for path in list_sidecars(output):
        sidecar_path(path).unlink()
        path.unlink(missing_ok=True)


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
    """Write ``clips.parquet``, the quarantine table, ``listing.json``, and then the balance.

    Raises:
        LayoutError: a dataset's folder is missing, or has another layout.
        BudgetError: too many files were refused; there is no ``clips.parquet`` then.
    """
    for name in ("balance.json", "clips.parquet", "listing.json"):  # of an earlier run
        (output / name).unlink(missing_ok=True)
    work = list_datasets(params.datasets, params.shards.count)
    _tell(work.counts)
    roots = {n: Path(params.datasets.root) / e.path for n, e in params.datasets.sets.items()}
    job = Job(
        stage="ingest",
        worker="pipelines.ingest:make_worker",
        params={
            "roots": {name: root.as_posix() for name, root in roots.items()},
            "limits": params.limits.model_dump(),
        },
        units=work.units,
        output=output,
        budget=params.budgets.ingest,
        deadline_s=_DEADLINE_S,
        refused=work.refused,
        packages=("av",),
        media={name: root.as_posix() for name, root in roots.items()},
    )
    try:
        run(job, params.ray, params.storage)
    except BudgetError:
        _clear_shards(output)
        _hash_quarantined(output, work.units, roots)
        raise
    balance = output / "balance.json"
    settled = balance.read_bytes()
    balance.unlink()  # until all is there: a kill leaves an unfinished folder
    clips = _gather(output, WorkCache.of(params.storage.root))
    _clear_shards(output)
    write_table(output / "clips.parquet", (asdict(clip) for clip in clips), MANIFEST_SCHEMA)
    write_atomic(output / "listing.json", json_bytes(work.counts))
    _hash_quarantined(output, work.units, roots)
    write_atomic(balance, settled)


def main() -> None:
    """Read the datasets named in ``params.yaml``."""
    ingest(load())


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main), LayoutError))
