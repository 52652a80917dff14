"""Clips: identifiers, the manifest and quarantine schemas, and the reasons a clip can fail.

A *clip* is one continuous piece of video of one person speaking. Its id is the key of every
artefact derived from it, so it is made once, by ``ingest``, and never changes.
"""

from __future__ import annotations

import enum
import hashlib
import re
from dataclasses import dataclass

import pyarrow as pa

CLIP_ID_PATTERN = re.compile(r"^[a-z0-9][a-z0-9_-]{0,127}$")
"""No dots (WebDataset cuts a key at its first dot), no slashes, lower case."""


class Reason(enum.StrEnum):
    """Closed set of reason codes under which a clip is quarantined."""

    NOT_A_FILE = "not_a_file"
    UNREADABLE = "unreadable"
    BAD_NAME = "bad_name"
    OUTSIDE_LINK = "outside_link"
    CHANGED_FILE = "changed_file"
    EMPTY_FILE = "empty_file"
    NOT_MEDIA = "not_media"
    TRUNCATED = "truncated"
    NO_VIDEO = "no_video"
    NO_AUDIO = "no_audio"
    SILENT_AUDIO = "silent_audio"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    TOO_LARGE = "too_large"
    TOO_MANY_STREAMS = "too_many_streams"
    BAD_FRAME_RATE = "bad_frame_rate"
    BAD_SOUND = "bad_sound"
    REFUSED_MEDIA = "refused_media"
    WRONG_EXTENSION = "wrong_extension"
    DECODE_ERROR = "decode_error"
    NO_FACE = "no_face"
    FACE_LOST = "face_lost"
    FACE_CUT = "face_cut"
    SEVERAL_FACES = "several_faces"
    FIT_RESIDUAL = "fit_residual"
    BAD_COEFFICIENTS = "bad_coefficients"
    BAD_TRANSCRIPT = "bad_transcript"
    BAD_ANNOTATION = "bad_annotation"
    NO_TRANSCRIPT = "no_transcript"
    UNALIGNED = "unaligned"
    DUPLICATE_ID = "duplicate_id"
    MISSING_FILE = "missing_file"
    NOT_IN_SPLIT = "not_in_split"
    DEADLINE = "deadline"
    WORKER_KILLED = "worker_killed"
    OUT_OF_MEMORY = "out_of_memory"
    INTERNAL_ERROR = "internal_error"


class ClipError(Exception):
    """A clip cannot be processed, for a reason that belongs to the clip.

    Library code raises it; the shard-job runtime turns it into one quarantine row.

    Args:
        reason: the code under which the clip is quarantined.
        message: names the value and the limit, for a person.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message

    def __reduce__(self) -> tuple[type[ClipError], tuple[Reason, str]]:
        return (ClipError, (self.reason, self.message))


@dataclass(frozen=True)
class Clip:
    """One manifest row.

    Attributes:
        clip_id: unique over all datasets, see ``CLIP_ID_PATTERN``.
        dataset: dataset name as in ``params.yaml``, for example ``chorus``.
        identity: who speaks; unique within the dataset (``id00012``).
        source_video: the recording the clip was cut from; unique within the dataset.
        path: the video file, relative to the dataset's root, with forward slashes.
        audio_path: a separate sound file, or None when muxed in ``path``.
        sha256: of the bytes of ``path`` (followed by those of ``audio_path`` where there is one).
        start_s: start of the clip in the file, seconds.
        end_s: end of the clip in the file, seconds; None for the end of the file.
        duration_s: seconds.
        fps: the container's average frame rate.
        width: pixels.
        height: pixels.
        transcript: the dataset's own text, or None.
        shard: shard number, a function of dataset and source video alone.
    """

    clip_id: str
    dataset: str
    identity: str
    source_video: str
    path: str
    audio_path: str | None
    sha256: str
    start_s: float
    end_s: float | None
    duration_s: float
    fps: float
    width: int
    height: int
    transcript: str | None
    shard: int


MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("identity", pa.string(), nullable=False),
        pa.field("source_video", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("audio_path", pa.string()),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),
        pa.field("end_s", pa.float64()),
        pa.field("duration_s", pa.float64(), nullable=False),
        pa.field("fps", pa.float64(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("transcript", pa.string()),
        pa.field("shard", pa.int32(), nullable=False),
    ]
)

QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("input_sha256", pa.string()),
        pa.field("attempts", pa.int32(), nullable=False),
    ]
)


def check_clip_id(clip_id: str) -> str:
    """Return ``clip_id`` if it is well formed.

    Raises:
        ValueError: the id holds a character that shard keys cannot carry, or is too long.
    """
    if not CLIP_ID_PATTERN.match(clip_id):
        raise ValueError(
            f"clip id {clip_id!r} is not of the form {CLIP_ID_PATTERN.pattern}: "
            "lower-case letters, digits, '_' and '-', at most 128"
        )
    return clip_id


def shard_number(dataset: str, source_video: str, count: int) -> int:
    """Shard of a source video: a stable hash modulo ``count``.

    It depends on the source video alone, so adding videos touches only the shards that receive
    them, and all clips of a video share a shard.

    Raises:
        ValueError: ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"shards.count is {count}, but at least one shard is needed")
    digest = hashlib.sha256(f"{dataset}\0{source_video}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % count
