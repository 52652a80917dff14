"""What is measured of which files, and what comes back: the words of a batch of foreign videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dimitra.evaluation.rows import Row
from dimitra.sync.pictures import Region


@dataclass(frozen=True)
class Settings:
    """What is measured, and how.

    Attributes:
        groups: of ``GROUPS``.
        max_reference_missed: share of reference frames in which dlib may miss the face.
        max_difference_s: by which two videos may differ in length.
        network: of SyncNet, None for none.
        weights: folder of a trained network, or asset or file of the published one.
        region: of the frame that SyncNet sees.
        crop: None, or the sections ``crop`` and ``limits`` of a parameter file as JSON.
    """

    groups: tuple[str, ...]
    max_reference_missed: float = 0.0
    max_difference_s: float = 0.2
    network: Literal["trained", "published"] | None = None
    weights: str = ""
    region: Region = "mouth"
    crop: str | None = None


@dataclass(frozen=True)
class Task:
    """One reference clip with what methods made of it.

    Attributes:
        clip: the reference's name.
        identity: who speaks, None where that is not known.
        reference: video.
        sound: of the clip, where it is a file of its own; None for the reference's own.
        generated: method to video.
        ground_truth: the reference's own row is wanted too.
    """

    clip: str
    identity: str | None
    reference: Path
    sound: Path | None
    generated: Mapping[str, Path]
    ground_truth: bool = True


@dataclass(frozen=True)
class Answer:
    """Rows of one task, and the sha256 of the bytes that were measured, by file."""

    rows: tuple[Row, ...]
    digests: Mapping[str, str]
