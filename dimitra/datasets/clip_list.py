"""Lists of the clips that make up a dataset, where that is a part of what lies in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from dimitra.clips import Reason
from dimitra.datasets.listing import BadFile, LayoutError, Listing, bad_file_id
from dimitra.datasets.text_lists import read_text


def read_clip_list(path: Path) -> tuple[str, ...]:
    """Paths of a list, sorted: one a line; empty lines, and lines that begin with ``#``, are not.

    Raises:
        LayoutError: the list is missing, empty, names a path twice, or one that does not lie below
            the dataset's folder.
    """
    if not path.is_file():
        raise LayoutError(
            f"the list of clips {path} does not exist; `dimitra split voxceleb2` makes that of "
            "VoxCeleb2 from your files (docs/datasets.md)"
        )
    first: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        parts = PurePosixPath(text).parts
        if text.startswith("/") or ".." in parts or str(PurePosixPath(text)) != text:
            raise LayoutError(
                f"{path}:{number}: {text!r} is no path below the dataset's folder, such as "
                "mp4/id00012/21Uxsk56VDQ/00001.mp4"
            )
        if text in first:
            raise LayoutError(
                f"{path}:{number}: {text} is named a second time (line {first[text]})"
            )
        first[text] = number
    if not first:
        raise LayoutError(f"{path} names no clip")
    return tuple(sorted(first))


def choose(
    found: Listing, dataset: str, wanted: tuple[str, ...], name: str
) -> tuple[Listing, Mapping[str, int]]:
    """Keep what a list names, and add a row for what it names in vain.

    Args:
        found: what the dataset's folder holds.
        dataset: its name.
        wanted: paths relative to its folder; of a video that is cut, all its clips.
        name: how messages call the list.

    Returns:
        the dataset, and the number of files that the list names, of those that are not there, and
        of those in the folder that it does not name.
    """
    chosen = frozenset(wanted)
    present = {clip.path for clip in found.clips} | {file.path for file in found.bad if file.present}
    clips = tuple(clip for clip in found.clips if clip.path in chosen)
    bad = [file for file in found.bad if file.path in chosen]
    told = {file.path for file in bad}
    absent = chosen - present
    for path in absent - told:
        message = f"{name} names {path}, which is not there"
        identifier = bad_file_id(dataset, PurePosixPath(path))
        bad.append(BadFile(identifier, path, Reason.MISSING_FILE, message, False))
    counts = {
        "listed": len(chosen),
        "listed_but_absent": len(absent),
        "present_but_not_listed": len(present - chosen),
    }
    return replace(found, clips=clips, bad=tuple(sorted(bad, key=lambda f: f.clip_id))), counts
