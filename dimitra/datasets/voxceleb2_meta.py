"""VoxCeleb2's table of speakers, ``vox2_meta.csv``: VoxCeleb2 ID, VGGFace2 ID, Gender, Set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dimitra.datasets.listing import LayoutError
from dimitra.datasets.text_lists import read_text

NAME = "vox2_meta.csv"
_HEADER = ["voxceleb2 id", "vggface2 id", "gender", "set"]
_VALUES = {"gender": ("m", "f"), "set": ("dev", "test")}


@dataclass(frozen=True)
class Speaker:
    """One line of the table.

    Attributes:
        identity: ``id00012``.
        vggface2: the person's id in VGGFace2.
        gender: ``m`` or ``f``.
        subset: ``dev`` or ``test``, the official one.
    """

    identity: str
    vggface2: str
    gender: str
    subset: str


def _fields(line: str) -> list[str]:
    """Fields of a line; the released file has blanks and tabs around them."""
    return [field.strip() for field in line.split(",")]


def read_speakers(path: Path) -> dict[str, Speaker]:
    """Speakers by identity.

    Raises:
        LayoutError: naming file, line and values where it is not the table, or names someone
            twice.
    """
    lines = read_text(path).splitlines()
    if not lines or [field.lower() for field in _fields(lines[0])] != _HEADER:
        first = lines[0].strip()[:80] if lines else ""
        raise LayoutError(
            f"{path}:1: {first!r} is not VoxCeleb2 ID,VGGFace2 ID,Gender,Set; is it the table of "
            "VoxCeleb2, and not that of VoxCeleb1?"
        )
    speakers: dict[str, Speaker] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        fields = _fields(line)
        if len(fields) != len(_HEADER) or not all(fields):
            raise LayoutError(f"{path}:{number}: {line.strip()[:80]!r} has not four fields")
        speaker = Speaker(fields[0], fields[1], fields[2].lower(), fields[3].lower())
        for name, value in (("gender", speaker.gender), ("set", speaker.subset)):
            if value not in _VALUES[name]:
                raise LayoutError(
                    f"{path}:{number}: {name} of {speaker.identity} is {value!r}, not "
                    f"{' or '.join(_VALUES[name])}"
                )
        if speaker.identity in speakers:
            raise LayoutError(f"{path}:{number}: {speaker.identity} is named a second time")
        speakers[speaker.identity] = speaker
    if not speakers:
        raise LayoutError(f"{path} names nobody")
    return speakers


def summary(root: Path, identities: Iterable[str]) -> dict[str, Any] | None:
    """How a dataset's clips and its table of speakers fit together; None without a table.

    Args:
        root: the dataset's folder.
        identities: of its clips.

    Raises:
        LayoutError: the table is ill formed.
    """
    if not (root / NAME).exists():
        return None
    speakers = read_speakers(root / NAME)
    shown = set(identities)
    known = [speakers[identity] for identity in sorted(shown & set(speakers))]
    return {
        "identities": len(speakers),
        "with_clips": len(known),
        "gender": dict(sorted(Counter(speaker.gender for speaker in known).items())),
        "set": dict(sorted(Counter(speaker.subset for speaker in known).items())),
        "not_in_table": sorted(shown - set(speakers)),
    }
