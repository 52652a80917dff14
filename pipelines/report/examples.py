"""Clips to look at: their videos beside the page, what is said in them, how they move."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dimitra.clips import Clip
from dimitra.metrics.definitions import Metric
from dimitra.shards import iterate_shard, write_atomic
from dimitra.speech.transcript import Transcript
from pipelines.params import Params
from pipelines.report.clip_table import RANKED, Rows, ranking, spread
from pipelines.report.motion import Curves, read_curves
from pipelines.report.tables import number
from pipelines.stores.work_cache import WorkCache, local_shards

VIDEOS = {"ground_truth": "mp4", "hp": "hp.mp4", "no_hp": "no_hp.mp4"}
"""Name of a video beside the page to the part of the shard that it is."""
_FOLDERS = {"data/crops": ("mp4",), "data/videos": ("hp.mp4", "no_hp.mp4")}


@dataclass(frozen=True)
class Example:
    """One clip whose videos lie beside the page.

    Attributes:
        clip_id: of the clip.
        dataset: of the clip.
        identity: who speaks.
        standing: its place among all clips, as text.
        frames: of each video.
        files: name of a video to its file, relative to the page.
        curves: how mouth and head move.
        words: start, end (seconds) and word; empty where times are not known.
    """

    clip_id: str
    dataset: str
    identity: str
    standing: str
    frames: int
    files: Mapping[str, str]
    curves: Curves
    words: tuple[tuple[float, float, str], ...]

    def to_json(self) -> dict[str, Any]:
        """For the page's script."""
        return dict(vars(self))


def choose(rows: Rows, count: int) -> dict[str, str]:
    """Clips at even ranks from the worst to the best, each with its standing as text."""
    metric, ranked = ranking(rows)
    values = {row["clip_id"]: row for row in rows if row["method"] == RANKED}
    return {
        clip_id: _standing(ranked.index(clip_id), len(ranked), metric, values[clip_id])
        for clip_id in spread(ranked, count)
    }


def _standing(place: int, of: int, metric: Metric | None, row: Mapping[str, Any]) -> str:
    if metric is None or row[metric.key] is None:
        return "not ranked"
    ends = {0: "worst", of - 1: "best"} if of > 1 else {0: "the only one"}
    told = ends.get(place, f"{place + 1} of {of}, worst first")
    return f"{told}, {metric.label} {number(row[metric.key], metric.decimals)}"


def read_transcripts(
    root: Path, clip_ids: Collection[str], cache: WorkCache
) -> dict[str, Transcript]:
    """Transcripts of some clips; of those that have one."""
    folder = root / "data/transcripts"
    return {
        clip_id: Transcript.from_bytes(parts["transcript.json"])
        for shard in local_shards(folder, cache, clip_ids)
        for clip_id, parts in iterate_shard(shard)
        if clip_id in clip_ids
    }


def _copy_videos(root: Path, clip_ids: Sequence[str], output: Path, cache: WorkCache) -> None:
    found: dict[str, dict[str, bytes]] = defaultdict(dict)
    for folder, names in _FOLDERS.items():
        for shard in local_shards(root / folder, cache, list(clip_ids)):
            for clip_id, parts in iterate_shard(shard):
                if clip_id in clip_ids:
                    found[clip_id].update({name: parts[name] for name in names})
    for clip_id in clip_ids:
        for name, part in VIDEOS.items():
            write_atomic(output / file_of(clip_id, name), found[clip_id][part])


def file_of(clip_id: str, name: str) -> str:
    """Of a video, relative to the page."""
    return f"videos/{clip_id}-{name}.mp4"


def copy_examples(
    root: Path,
    params: Params,
    chosen: Mapping[str, str],
    clips: Mapping[str, Clip],
    frames: Mapping[str, int],
    transcripts: Mapping[str, Transcript],
    output: Path,
    cache: WorkCache,
) -> list[Example]:
    """Copy the videos of the chosen clips beside the page, and gather what is shown with them.

    Args:
        root: of the run.
        params: of the run.
        chosen: clip id to its standing, in the order in which they are shown.
        clips: of the run, by id.
        frames: clip id to its number of frames.
        transcripts: of the clips that have one.
        output: folder of the page.
        cache: where shards are that do not lie beside their sidecars.

    Raises:
        KeyError: a shard misses a clip that has been evaluated.
    """
    ids = list(chosen)
    _copy_videos(root, ids, output, cache)
    curves = read_curves(root, params, [clips[clip_id] for clip_id in ids], cache)
    return [
        Example(
            clip_id=clip_id,
            dataset=clips[clip_id].dataset,
            identity=clips[clip_id].identity,
            standing=chosen[clip_id],
            frames=frames[clip_id],
            files={name: file_of(clip_id, name) for name in VIDEOS},
            curves=curves[clip_id],
            words=tuple(
                (word.start_s, word.end_s, word.word)
                for word in (transcripts[clip_id].words if clip_id in transcripts else ())
            ),
        )
        for clip_id in ids
    ]
