"""Train and test by identity, from committed lists; a split that leaks is refused by name."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa

from dimitra.clips import Clip
from dimitra.datasets.sealing import SealError, verify

Side = Literal["train", "test"]
SIDES: tuple[Side, Side] = ("train", "test")
_COMMENT = re.compile(r"(?:^|\s)#.*")

SPLIT_SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("identity", pa.string(), nullable=False),
        pa.field("source_video", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)


class SplitError(ValueError):
    """A split is ill formed, or shares something between train and test."""


@dataclass(frozen=True)
class SplitLists:
    """The committed lists of one dataset.

    Attributes:
        version: folder below ``splits/``, for example ``chorus/v1``.
        train: identities to train on.
        test: identities to test on.
        sealed: the lists are those of their ``SHA256SUMS``; False where there is none.
    """

    version: str
    train: frozenset[str]
    test: frozenset[str]
    sealed: bool = field(default=False, compare=False)

    @property
    def digest(self) -> str:
        """Sha256 of who is on which side: one line ``<side>\\t<identity>`` each, sorted."""
        lines = sorted(
            f"{side}\t{name}\n"
            for side, names in (("train", self.train), ("test", self.test))
            for name in names
        )
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()

    def side(self, identity: str) -> Side | None:
        """Which list names an identity; None where neither does."""
        if identity in self.train:
            return "train"
        return "test" if identity in self.test else None


def read_names(text: str, name: str) -> frozenset[str]:
    """Identities of a list: one a line; empty lines are skipped, and comments: ``#`` at the
    beginning of a line or after a blank.

    Args:
        text: of the list.
        name: of the list, for messages.

    Raises:
        SplitError: it names someone twice.
    """
    lines = [_COMMENT.sub("", line).strip() for line in text.splitlines()]
    names = [line for line in lines if line]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise SplitError(f"{name} names {', '.join(twice)} more than once")
    return frozenset(names)


def _read_list(path: Path) -> frozenset[str]:
    if not path.is_file():
        raise SplitError(
            f"{path} does not exist; a split has a train.txt and a test.txt. `dimitra split` makes "
            "them (docs/datasets.md)"
        )
    return read_names(path.read_text("utf-8"), path.as_posix())


def read_lists(root: Path, version: str) -> SplitLists:
    """Read ``<root>/<version>/{train,test}.txt``, and hold them against their ``SHA256SUMS``.

    Raises:
        SplitError: a list is missing, names someone twice, or both name the same identity; or a
            sealed list has changed.
    """
    folder = root / version
    train, test = (_read_list(folder / f"{side}.txt") for side in SIDES)
    shared = sorted(train & test)
    if shared:
        raise SplitError(
            f"split {version}: identity {', '.join(shared)} is in train.txt and in test.txt; "
            "remove it from one of them"
        )
    try:
        sealed = verify(folder)
    except SealError as error:
        raise SplitError(f"split {version}: {error}") from None
    return SplitLists(version, train, test, sealed)


def _refuse_shared(
    version: str, what: str, members: Iterable[tuple[str, Side, Clip]], advice: str
) -> None:
    sides: dict[str, dict[Side, Clip]] = defaultdict(dict)
    for key, side, clip in members:
        sides[key].setdefault(side, clip)
    shared = {key: both for key, both in sorted(sides.items()) if len(both) == len(SIDES)}
    if shared:
        lines = [
            f"  {key}: {both['train'].clip_id} (train), {both['test'].clip_id} (test)"
            for key, both in shared.items()
        ]
        raise SplitError(
            f"split {version}: train and test share {len(shared)} {what}; {advice}\n"
            + "\n".join(lines)
        )


def assign(clips: Sequence[Clip], lists: SplitLists) -> Mapping[str, Side]:
    """Side of every clip of one dataset whose identity a list names, by clip id.

    Args:
        clips: of one dataset.
        lists: its split.

    Raises:
        SplitError: train and test share a source video, or a file with the same bytes.
    """
    placed = [(clip, side) for clip in clips if (side := lists.side(clip.identity)) is not None]
    _refuse_shared(
        lists.version,
        "source videos",
        ((clip.source_video, side, clip) for clip, side in placed),
        "put all of a video's identities on one side",
    )
    _refuse_shared(
        lists.version,
        "files with the same bytes",
        ((clip.sha256, side, clip) for clip, side in placed),
        "remove one of the copies",
    )
    return {clip.clip_id: side for clip, side in placed}


def absent(clips: Sequence[Clip], lists: SplitLists) -> dict[Side, list[str]]:
    """Identities that the lists name and no clip shows, sorted."""
    present = {clip.identity for clip in clips}
    return {"train": sorted(lists.train - present), "test": sorted(lists.test - present)}
