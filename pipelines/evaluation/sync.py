"""The sync columns of `evaluate`: which SyncNet, which other clip's sound, and the values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dimitra.assets import asset_path
from dimitra.clips import Clip
from dimitra.media.audio import decode_flac
from dimitra.media.video import iterate_frames, to_rgb
from dimitra.metrics.landmarks_distance import LandmarkTrack
from dimitra.metrics.summary import ClipValue
from dimitra.shards import iterate_shard
from dimitra.sync import compact, network
from dimitra.sync.evaluator import SyncEvaluator, TooShortError, score_of
from dimitra.sync.protocol import WINDOW
from pipelines.errors import ShardError
from pipelines.params import SyncParams
from pipelines.runtime.units import Unit

MODEL = Path("evaluators/sync")

NO_FACE = "dlib finds the face in no frame"
NO_OTHER = "no other test clip of the data set is of another identity"

Embeddings = NDArray[np.float32]
Row = dict[str, ClipValue]


def weights_of_sync(section: SyncParams) -> tuple[str, ...]:
    """References of a published network's weights."""
    return () if section.weights is None else (section.weights,)


def trained_inputs(section: SyncParams) -> tuple[Path, ...]:
    """The trained network, where it is used; its bytes enter the key of every number."""
    return (MODEL,) if section.network == "trained" else ()


def load_evaluator(section: Mapping[str, Any]) -> SyncEvaluator:
    """The network that the parameters name, with what it sees.

    Raises:
        FileNotFoundError: none was trained.
        AssetError: the published weights are not here.
        TorchFileError: they are of another network.
    """
    if section["network"] == "trained":
        return SyncEvaluator(compact.load(MODEL), section["region"])
    return SyncEvaluator(network.read_syncnet(asset_path(section["weights"])), section["region"])


def choose_donors(clips: Sequence[Clip]) -> dict[str, str]:
    """Whose sound a clip gets in the row of shuffled audio: clip id to clip id.

    The next clip of the data set by name that is of another identity and as long, else the longest
    of another identity; after the last comes the first. A data set with one identity has none.
    """
    sets: dict[str, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.clip_id):
        sets[clip.dataset].append(clip)
    donors = {}
    for members in sets.values():
        for number, clip in enumerate(members):
            order = (*members[number + 1 :], *members[:number])
            others = [other for other in order if other.identity != clip.identity]
            if others:
                longest = max(others, key=lambda other: other.duration_s)
                fitting = (other for other in others if other.duration_s >= clip.duration_s)
                donors[clip.clip_id] = next(fitting, longest).clip_id
    return donors


def _shards_of(units: Sequence[Unit], folder: Path) -> dict[str, Path]:
    """Clip id to the shard of ``folder`` that holds it."""
    return {
        clip.clip_id: next(path for path in unit.reads if path.parent == folder)
        for unit in units
        for clip in unit.clips
    }


def sound_places(
    donors: Mapping[str, str], units: Sequence[Unit], folder: Path
) -> dict[str, list[str]]:
    """Where the other sound of each clip lies: clip id to shard and donor's id, JSON values."""
    shards = _shards_of(units, folder)
    return {clip: [shards[donor].as_posix(), donor] for clip, donor in sorted(donors.items())}


def with_donors(unit: Unit, donors: Mapping[str, str], units: Sequence[Unit], folder: Path) -> Unit:
    """The unit with the shards that its clips' other sounds lie in."""
    shards = _shards_of(units, folder)
    wanted = {shards[donors[clip.clip_id]] for clip in unit.clips if clip.clip_id in donors}
    return replace(unit, files=tuple(sorted(wanted)))


def read_sound(shard: str, clip_id: str) -> bytes:
    """The FLAC of one clip.

    Raises:
        ShardError: it is not in the shard.
    """
    for _, parts in iterate_shard(Path(shard), {clip_id}):
        return parts["flac"]
    raise ShardError(f"{shard} holds no clip {clip_id}; run `python -m pipelines.crop` again")


def absent(reason: str, *, dropped: bool) -> Row:
    """No values, and why."""
    return {key: ClipValue(None, reason, dropped) for key in ("sync_dist", "sync_conf")}


def _row(lips: Embeddings | str, sound: Embeddings | str) -> Row:
    for one in (lips, sound):
        if isinstance(one, str):
            return absent(one, dropped=True)
    try:
        found = score_of(lips, sound)  # type: ignore[arg-type] # no str is left
    except TooShortError as error:
        return absent(str(error), dropped=True)
    return {"sync_dist": ClipValue(found.distance), "sync_conf": ClipValue(found.confidence)}


def _lips(evaluator: SyncEvaluator, video: bytes, track: LandmarkTrack) -> Embeddings | str:
    if evaluator.region != "frame" and not track.found.any():
        return NO_FACE
    frames = (to_rgb(frame) for frame in iterate_frames(video))
    try:
        return evaluator.lips(frames, track.points, track.found)
    except TooShortError as error:
        return str(error)


def _still(evaluator: SyncEvaluator, video: bytes, track: LandmarkTrack) -> Embeddings | str:
    """The first frame held: every window has the same embedding."""
    if evaluator.region != "frame" and not track.found.any():
        return NO_FACE
    count = len(track.found) - WINDOW
    if count < 1:
        return f"{len(track.found)} frames make no window of {WINDOW}"
    first = to_rgb(next(iterate_frames(video)))
    place = int(np.argmax(track.found))
    points = np.repeat(track.points[place : place + 1], WINDOW + 1, axis=0)
    one = evaluator.lips([first] * (WINDOW + 1), points, np.ones(WINDOW + 1, dtype=bool))
    return np.repeat(one, count, axis=0)


def _sound(evaluator: SyncEvaluator, flac: bytes, frames: int) -> Embeddings | str:
    try:
        return evaluator.sound(decode_flac(flac)[0], frames)
    except TooShortError as error:
        return str(error)


def sync_values(
    evaluator: SyncEvaluator,
    videos: Mapping[str, tuple[bytes, LandmarkTrack]],
    flac: bytes,
    other: bytes | None,
) -> tuple[dict[str, Row], dict[str, Embeddings]]:
    """Distance and confidence for each video, the frozen first frame and the shuffled audio.

    Args:
        evaluator: SyncNet.
        videos: ``ground_truth`` and the generated ones: mp4 and landmarks.
        flac: the clip's own sound; generated videos are held against it too, not against the copy
            that their mp4 has compressed.
        other: another clip's sound, None where there is none.

    Returns:
        Method to metric to value; and ``lips_fd.<method>`` to the pictures' embeddings ``[N, D]``,
        of windows that share no frame.
    """
    truth, track = videos["ground_truth"]
    frames = len(track.found)
    sound = _sound(evaluator, flac, frames)
    lips = {name: _lips(evaluator, video, found) for name, (video, found) in videos.items()}
    shuffled = NO_OTHER if other is None else _sound(evaluator, other, frames)
    rows = {"shuffled_audio": _row(lips["ground_truth"], shuffled)}
    lips["frozen_first_frame"] = _still(evaluator, truth, track)
    rows |= {name: _row(one, sound) for name, one in lips.items()}
    features = {
        f"lips_fd.{name}": one[::WINDOW] for name, one in lips.items() if not isinstance(one, str)
    }
    return rows, features
