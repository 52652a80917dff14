"""The files of an evaluation: references, each method's videos, and what belongs together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dimitra.evaluation.definitions import GROUND_TRUTH
from dimitra.evaluation.matching import (
    Matching,
    identity_of,
    list_videos,
    match_with,
    read_table,
)
from dimitra.evaluation.rows import NO_GENERATED, NO_REFERENCE, Row
from dimitra.evaluation.tasks import Task

_SOUNDS = (".flac", ".wav")


class UsageError(ValueError):
    """Options do not go together; the message says which, and what to do."""


@dataclass(frozen=True)
class Files:
    """Everything that goes in.

    Attributes:
        references: name to video.
        generated: method to name to video.
        matchings: method to what belongs together.
        identities: reference's name to who speaks; those not known are left out.
        match: the table, None without one.
    """

    references: Mapping[str, Path]
    generated: Mapping[str, Mapping[str, Path]]
    matchings: Mapping[str, Matching]
    identities: Mapping[str, str]
    match: Path | None

    @property
    def every(self) -> tuple[Path, ...]:
        """All of them, the table among them; sound beside a reference is not."""
        videos = (path for found in self.generated.values() for path in found.values())
        return (*self.references.values(), *videos, *((self.match,) if self.match else ()))


def read_methods(generated: Sequence[str], method: str | None) -> dict[str, Path]:
    """Method to folder, of ``NAME=DIR`` or ``DIR``; a folder alone is called as it is itself.

    Raises:
        UsageError: two methods of one name, or a name for several folders.
    """
    if method is not None and len(generated) > 1:
        raise UsageError("--method names one folder; with several: --generated NAME=DIR")
    found: dict[str, Path] = {}
    for text in generated:
        name, equals, folder = text.partition("=")
        if not equals or Path(text).is_dir():
            name, folder = Path(text).resolve().name, text
        name = method or name
        if not name or name in found or name == GROUND_TRUTH:
            raise UsageError(f"--generated {text}: the name {name!r} is empty, taken or reserved")
        found[name] = Path(folder)
    return found


def find_files(methods: Mapping[str, Path], reference: Path, match: Path | None) -> Files:
    """List and match all files.

    Args:
        methods: method to folder.
        reference: folder of the true videos.
        match: a table, None without one.

    Raises:
        MatchError: a folder is missing or empty, or files cannot be matched.
    """
    references = list_videos(reference)
    generated = {method: list_videos(folder) for method, folder in methods.items()}
    table = None if match is None else read_table(match, references, generated)
    matchings = {
        method: match_with(None if table is None else table.pairs.get(method), references, videos)
        for method, videos in generated.items()
    }
    identities = {name: found for name in references if (found := identity_of(name)) is not None}
    identities |= {} if table is None else table.identities
    return Files(references, generated, matchings, identities, match)


def make_tasks(files: Files) -> list[Task]:
    """One task for each reference that some method has made something of."""
    tasks = []
    for name, path in files.references.items():
        made = {
            method: matching.pairs[name]
            for method, matching in files.matchings.items()
            if name in matching.pairs
        }
        if made:
            beside = (path.with_suffix(suffix) for suffix in _SOUNDS)
            sound = next((one for one in beside if one.is_file()), None)
            tasks.append(Task(name, files.identities.get(name), path, sound, made))
    return tasks


def unmatched(files: Files) -> list[Row]:
    """Rows of what belongs to nothing."""
    rows = []
    for method, matching in files.matchings.items():
        rows += [
            Row(
                clip=name,
                method=method,
                identity=files.identities.get(name),
                outcome=NO_GENERATED,
                message="the method has no video of this name",
                reference=str(files.references[name]),
            )
            for name in matching.missing
        ]
        rows += [
            Row(
                clip=path.stem,
                method=method,
                identity=None,
                outcome=NO_REFERENCE,
                message="there is no reference of this name",
                generated=str(path),
            )
            for path in matching.extra
        ]
    return rows
