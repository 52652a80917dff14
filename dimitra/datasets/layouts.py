"""Every layout by its name, and what a dataset is made of: its layout, and perhaps a list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dimitra.datasets import celebvhq, folder, hdtf, voxceleb2, voxceleb2_meta
from dimitra.datasets.clip_list import choose, read_clip_list
from dimitra.datasets.face_boxes import check_boxes
from dimitra.datasets.listing import Listing

LAYOUTS: Mapping[str, Callable[..., Listing]] = {
    "voxceleb2": voxceleb2.read,
    "hdtf": hdtf.read,
    "celebvhq": celebvhq.read,
    "folder": folder.read,
}


def read_dataset(
    layout: str,
    root: Path,
    dataset: str,
    clip_list: Path | None = None,
    *,
    outside_links: bool = False,
) -> tuple[Listing, dict[str, Any]]:
    """List a dataset.

    Args:
        layout: a key of ``LAYOUTS``.
        root: the dataset's folder.
        dataset: its name, which begins every clip id.
        clip_list: list of the clips that make it up; None for all of them.
        outside_links: accept links to files outside of ``root``.

    Returns:
        its clips and bad files, and what was counted on the way, for a person.

    Raises:
        LayoutError: the folder has another layout, or a list or table of it is ill formed.
    """
    found = LAYOUTS[layout](root, dataset, outside_links=outside_links)
    counts: dict[str, Any] = {"layout": layout, "list": None}
    if clip_list is not None:
        found, listed = choose(found, dataset, read_clip_list(clip_list), clip_list.as_posix())
        counts |= {"list": clip_list.as_posix(), **listed}
    if layout == "voxceleb2":
        found, boxes = check_boxes(root, dataset, found)
        identities = {clip.identity for clip in found.clips}
        counts |= {"face_boxes": boxes, "speakers": voxceleb2_meta.summary(root, identities)}
    if layout == "folder":
        counts["at_the_top"] = sum("/" not in clip.path for clip in found.clips)
    return found, counts | {
        "clips": len(found.clips),
        "refused": len(found.bad),
        "other_files": found.others,
    }
