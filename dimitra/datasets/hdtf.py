"""The layout of HDTF: clips that are cut already, or the videos as they were downloaded.

``videos/<name>_<index>.mp4`` is a clip. ``videos/<name>.mp4`` is a video that the intervals of
``*_annotion_time.txt`` cut into clips: they are numbered in the order of the list, and nothing is
written. Names are those of the lists, with or without the part (``RD_Radio1`` or ``Radio1``). A
clip that a list promises and that is not there is reported. ``transcripts/<name>_<index>.txt``
holds the words of a clip, where there are any.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from dimitra.clips import ClipError, Reason
from dimitra.datasets.hdtf_lists import AnnotatedVideo, identity_of, of_file, read_annotations
from dimitra.datasets.listing import (
    BadFile,
    Found,
    Listing,
    SourceClip,
    bad_file_id,
    clip_id_of,
    found_below,
    listing,
    shown,
)
from dimitra.datasets.transcripts import read_transcript

_CLIP = re.compile(r"^(?P<name>.+)_(?P<index>\d+)\.mp4$", re.IGNORECASE)
_UNCUT = frozenset((".mp4", ".mkv", ".webm"))


@dataclass
class _Folder:
    """What was found so far; ``cut`` has the key and index of every clip that is there."""

    root: Path
    dataset: str
    videos: dict[str, AnnotatedVideo]
    clips: list[SourceClip] = field(default_factory=list)
    bad: list[BadFile] = field(default_factory=list)
    cut: dict[tuple[str, int], str] = field(default_factory=dict)

    def refuse(self, path: PurePosixPath, reason: Reason, message: str, name: str = "") -> None:
        identifier = bad_file_id(self.dataset, PurePosixPath(name) if name else path)
        self.bad.append(BadFile(identifier, f"videos/{path}", reason, message))

    def key(self, name: str) -> str:
        video = of_file(name, self.videos)
        return name if video is None else video.key

    def add(
        self, path: PurePosixPath, name: str, index: str, span: tuple[int, int] | None = None
    ) -> None:
        """A clip: a file, or an interval of one."""
        clip = PurePosixPath(f"{name}_{index}.mp4")
        transcript = f"transcripts/{clip.with_suffix('.txt')}"
        try:
            words = read_transcript(self.root / transcript, transcript)
        except ClipError as error:
            self.refuse(path, error.reason, error.message, str(clip))
            return
        self.clips.append(
            SourceClip(
                clip_id=clip_id_of(self.dataset, clip),
                identity=identity_of(self.key(name)),
                source_video=name,
                path=f"videos/{path}",
                transcript=words,
                start_s=0.0 if span is None else float(span[0]),
                end_s=None if span is None else float(span[1]),
            )
        )


def _take_cut(folder: _Folder, found: Found, match: re.Match[str] | None) -> None:
    """One entry that is no uncut video of the lists."""
    path = found.path
    formed = match is not None and len(path.parts) == 1
    if found.folder and not formed:
        return
    if match is not None and formed:
        folder.cut[folder.key(match["name"]), int(match["index"])] = f"videos/{path}"
    if found.reason is not None:
        folder.refuse(path, found.reason, found.message)
    elif match is None or not formed:
        folder.refuse(
            path,
            Reason.WRONG_EXTENSION,
            f"videos/{shown(path)} is not of the form videos/<name>_<index>.mp4, and no "
            "*_annotion_time.txt names it as a video to cut",
        )
    else:
        folder.add(path, match["name"], match["index"])


def _take_uncut(folder: _Folder, found: Found, video: AnnotatedVideo) -> None:
    """One video as it was downloaded: its intervals are clips."""
    if found.reason is not None:
        folder.refuse(found.path, found.reason, found.message)
    for index, span in enumerate(video.intervals):
        already = folder.cut.setdefault((video.key, index), f"videos/{found.path}")
        if already != f"videos/{found.path}":
            folder.refuse(
                found.path,
                Reason.DUPLICATE_ID,
                f"{span[0]} to {span[1]} s of videos/{shown(found.path)} is there as "
                f"{shown(already)} too; remove one of them",
                f"{found.path.stem}_{index}.cut.mp4",
            )
        elif found.reason is None:
            folder.add(found.path, found.path.stem, str(index), span)


def read(root: Path, dataset: str, *, outside_links: bool = False) -> Listing:
    """List an HDTF folder.

    Args:
        root: folder that holds ``videos/``, the lists and perhaps ``transcripts/``.
        dataset: its name, which begins every clip id.
        outside_links: accept links to files outside of ``root``.

    Raises:
        LayoutError: there is no ``videos/`` below ``root``, or a list is ill formed.
    """
    folder = _Folder(root, dataset, read_annotations(root))
    uncut: list[tuple[Found, AnnotatedVideo]] = []
    for found in found_below(root, "videos", outside_links=outside_links):
        path = found.path
        video = of_file(path.stem, folder.videos)
        if video is not None and len(path.parts) == 1 and path.suffix.lower() in _UNCUT:
            uncut.append((found, video))
        else:
            _take_cut(folder, found, _CLIP.match(path.name))
    for found, video in uncut:
        _take_uncut(folder, found, video)
    for video in folder.videos.values():
        for index in range(len(video.intervals)):
            if (video.key, index) not in folder.cut:
                missing = PurePosixPath(f"{video.name}_{index}.mp4")
                message = f"{video.source} promises videos/{missing}, which is not there"
                name = bad_file_id(dataset, missing)
                row = BadFile(name, f"videos/{missing}", Reason.MISSING_FILE, message, False)
                folder.bad.append(row)
    return listing(dataset, folder.clips, folder.bad)
