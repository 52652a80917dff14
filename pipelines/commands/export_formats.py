"""The test clips in another method's formats: which parts a run can give, and the files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dimitra.evaluation.inputs.coefficients import SIDE_PX, Given
from dimitra.evaluation.inputs.commands import SCRIPT, script
from dimitra.evaluation.inputs.formats import PARTS, WAV2VEC, Format, Part, Source
from dimitra.shards import Members, iterate_shard, write_atomic
from pipelines.errors import StageError
from pipelines.params import Params
from pipelines.runtime.inputs import require_made
from pipelines.stores.work_cache import WorkCache, local_shards

STAGES: Mapping[Source, str] = {"motion": "fit", "speech": "speech"}
"""The stage that makes a source."""
LOCK = Path("dvc.lock")
TABLE = "parts.csv"


@dataclass(frozen=True)
class PartRow:
    """One part of one clip: its file, or why there is none."""

    clip: str
    part: str
    file: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Exported:
    """What was written in one format.

    Attributes:
        method: its name.
        rows: by part and clip.
        refused: part that no clip of this run can give, to the reason and the remedy.
        complete: clips that the method can be run on.
    """

    method: Format
    rows: tuple[PartRow, ...]
    refused: Mapping[str, str]
    complete: tuple[str, ...]


def refusal(part: Part, params: Params) -> str | None:
    """Why a run with these parameters cannot give a part, and how to get it; None where it can."""
    if part.basel and params.fit.face_model != "bfm":
        return (
            f"fit.face_model is {params.fit.face_model}, and its coefficients mean another face "
            "to a method that has the Basel model. Fit with the Basel model and Deng's encoder "
            "(fit.face_model: bfm, fit.method: deng; docs/morphable.md), or run PIRender's "
            "scripts/face_recon_videos.py on crops/*.mp4"
        )
    if part.wav2vec and params.speech.encoder != WAV2VEC:
        return (
            f"speech.encoder is {params.speech.encoder}, and DreamTalk reads features of "
            f"{WAV2VEC}: set that encoder, or let DreamTalk's own script make them of wav/*.wav, "
            "as it does anyway"
        )
    return None


def check_unedited(params: Params, lock: Path = LOCK) -> None:
    """Refuse parameters that were edited after the run: they would name another face model.

    Raises:
        StageError: naming the parameter, and both values.
    """
    if not lock.is_file():
        return
    stages: Mapping[str, Any] = yaml.safe_load(lock.read_text())["stages"]
    for stage, key, now in (
        ("fit", "face_model", params.fit.face_model),
        ("speech", "encoder", params.speech.encoder),
    ):
        section = stages.get(stage, {}).get("params", {}).get("params.yaml", {}).get(stage, {})
        made = section.get(key, now)
        if made != now:
            raise StageError(
                f"{stage}.{key} is {now} in params.yaml, but data/ was made with {made}: run "
                "`dvc repro`, or set it back"
            )


def check_side(params: Params) -> None:
    """Refuse crops of a size that the methods do not draw.

    Raises:
        StageError: naming it.
    """
    if params.crop.size != SIDE_PX:
        raise StageError(
            f"crop.size is {params.crop.size}; StyleTalk, SadTalker and DreamTalk take pictures "
            f"of {SIDE_PX} pixels"
        )


def _clips_of(source: Source, wanted: set[str], cache: WorkCache) -> Iterator[tuple[str, Members]]:
    for shard in local_shards(Path("data", source), cache, wanted):
        yield from iterate_shard(shard, wanted)


def write_format(
    method: Format, clips: Sequence[str], folder: Path, params: Params, given: Given
) -> Exported:
    """Write the files of one method below ``folder/<method>``.

    Args:
        method: other than ``plain``.
        clips: ids of those that have the plain files.
        folder: of the export.
        params: of the run.
        given: what the method is told of the true motion.

    Raises:
        StageError: a stage that a part is made of has not run.
    """
    own = folder / method
    parts = {part.name: part for part in PARTS[method]}
    refused = {
        name: reason
        for name, part in parts.items()
        if (reason := refusal(part, params)) is not None
    }
    possible = [part for name, part in parts.items() if name not in refused]
    sources = {part.source for part in possible}
    require_made({Path("data", one, "balance.json"): STAGES[one] for one in sorted(sources)})
    rows = {
        (name, clip): PartRow(clip, name, reason=refused[name])
        for name in refused
        for clip in clips
    }
    cache = WorkCache.of(params.storage.root)
    for source in sorted(sources):
        mine = [part for part in possible if part.source == source]
        lost = f"the clip is not in data/{source}: data/{source}/quarantine.parquet says why"
        rows |= {
            (part.name, clip): PartRow(clip, part.name, reason=lost)
            for part in mine
            for clip in clips
        }
        for clip, members in _clips_of(source, set(clips), cache):
            for part in mine:
                rows[part.name, clip] = _write(part, clip, members, own, given)
    complete = tuple(
        clip
        for clip in clips
        if not any(rows[name, clip].reason for name, part in parts.items() if part.needed)
    )
    ordered = tuple(rows[name, clip] for clip in clips for name in parts)
    write_atomic(own / TABLE, table(ordered).encode())
    if complete:
        write_atomic(own / SCRIPT, script(method, complete, given).encode())
    return Exported(method, ordered, refused, complete)


def _write(part: Part, clip: str, members: Members, own: Path, given: Given) -> PartRow:
    try:
        data = part.make(members, given)
    except (KeyError, ValueError) as error:
        return PartRow(clip, part.name, reason=f"{clip}: {error}")
    file = part.file.format(clip=clip)
    write_atomic(own / file, data)
    return PartRow(clip, part.name, file)


def table(rows: Sequence[PartRow]) -> str:
    """The rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["clip", "part", "file", "reason"])
    writer.writerows([row.clip, row.part, row.file, row.reason] for row in rows)
    return text.getvalue()
