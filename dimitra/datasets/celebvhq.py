"""The layout of CelebV-HQ: ``<ytb_id>_<i>.mp4`` anywhere below the folder, and ``celebvhq_info.json``.

The JSON names every clip, the recording it was cut from, its time and the box that was cut out; the
released downloader writes the clips cut already. Whole recordings, which it keeps beside them
(``raw/<ytb_id>.mp4``), are no clips. No identities are read from the JSON: the recording stands for
the person in it (docs/datasets.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from dimitra.clips import Reason
from dimitra.datasets.face_boxes import refusal
from dimitra.datasets.listing import (
    BadFile,
    LayoutError,
    Listing,
    SourceClip,
    bad_file_id,
    clip_id_of,
    found_below,
    listing,
    shown,
)
from dimitra.datasets.text_lists import read_text

NAME = "celebvhq_info.json"


def read_info(path: Path) -> dict[str, Mapping[str, Any]]:
    """Entries of the JSON by clip name.

    Raises:
        LayoutError: it is no such JSON, or an entry has no ``ytb_id`` that begins its name.
    """
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        if isinstance(error, LayoutError):
            raise
        raise LayoutError(f"{path} is not JSON: {error}") from None
    except RecursionError:
        raise LayoutError(f"{path} is nested too deeply; is it the {NAME} of CelebV-HQ?") from None
    clips = content.get("clips") if isinstance(content, dict) else None
    if not isinstance(clips, dict) or not clips:
        raise LayoutError(f'{path} has no "clips"; is it the {NAME} of CelebV-HQ?')
    for name, entry in clips.items():
        video = entry.get("ytb_id") if isinstance(entry, dict) else None
        if not isinstance(video, str) or not video or not name.startswith(f"{video}_"):
            raise LayoutError(
                f"{path}: clip {name!r} has the ytb_id {video!r}; its name must be <ytb_id>_<i>"
            )
    return clips


def _refusal(entry: Mapping[str, Any]) -> str | None:
    """Why the annotation of a clip cannot be right; None if it can, or if it is absent."""
    try:
        span, box = entry.get("duration"), entry.get("bbox")
        if span is not None:
            begin, end = float(span["start_sec"]), float(span["end_sec"])
            if not 0.0 <= begin < end:
                return f"start_sec {begin:g} and end_sec {end:g} are no interval"
        if box is not None:
            top, bottom, left, right = (
                float(box[side]) for side in ("top", "bottom", "left", "right")
            )
            why = refusal(left, top, right - left, bottom - top)
            if why is not None:
                return (
                    f"the bbox top={top:g} bottom={bottom:g} left={left:g} right={right:g} {why}"
                )
    except (TypeError, KeyError, ValueError) as error:
        return f"duration or bbox is ill formed ({error!r})"
    return None


def read(root: Path, dataset: str, *, outside_links: bool = False) -> Listing:
    """List a CelebV-HQ folder.

    Args:
        root: folder that holds ``celebvhq_info.json``, and the clips at any depth.
        dataset: its name, which begins every clip id.
        outside_links: accept links to files outside of ``root``.

    Raises:
        LayoutError: the JSON is missing or ill formed.
    """
    info = read_info(root / NAME)
    videos = {entry["ytb_id"] for entry in info.values()}
    clips: list[SourceClip] = []
    bad: list[BadFile] = []
    seen: set[str] = set()
    others = 0
    for found in found_below(root, ".", outside_links=outside_links):
        path, name = found.path, found.path.stem
        reason, message = found.reason, found.message
        if found.folder and (name not in info or path.suffix.lower() != ".mp4"):
            continue
        if path.suffix.lower() != ".mp4" or (name not in info and name in videos):
            if reason is Reason.UNREADABLE or reason is Reason.NOT_A_FILE:  # perhaps a folder
                bad.append(BadFile(bad_file_id(dataset, path), str(path), reason, message))
            else:
                others += 1
            continue
        if reason is None and name not in info:
            reason = Reason.WRONG_EXTENSION
            message = f"{shown(path)} is no clip that {NAME} names"
        if reason is None and (why := _refusal(info[name])) is not None:
            reason, message = Reason.BAD_ANNOTATION, f"{NAME}: clip {name}: {why}"
        seen.add(name)
        if reason is not None:
            bad.append(BadFile(bad_file_id(dataset, path), str(path), reason, message))
            continue
        video = info[name]["ytb_id"]
        identifier = clip_id_of(dataset, PurePosixPath(f"{name}.mp4"))
        clips.append(SourceClip(identifier, video, video, str(path)))
    for name in info.keys() - seen:
        message = f"{NAME} names {name}.mp4, which is not there"
        identifier = bad_file_id(dataset, PurePosixPath(f"{name}.mp4"))
        bad.append(BadFile(identifier, f"{name}.mp4", Reason.MISSING_FILE, message, False))
    return listing(dataset, clips, bad, others)
