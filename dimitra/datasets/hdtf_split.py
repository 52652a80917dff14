"""``splits/hdtf``: HDTF is for the test alone, as in the paper; its public lists as one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dimitra.datasets.hdtf_lists import PARTS, TIMES, URLS, AnnotatedVideo, identity_of
from dimitra.datasets.split import SplitError
from dimitra.datasets.split_making import list_text

_CREDIT = (
    "HDTF: Zhang et al., Flow-guided One-shot Talking Face Generation with a High-resolution\n"
    "Audio-visual Dataset, CVPR 2021. Lists of github.com/MRzzm/HDTF, CC BY 4.0: names, addresses\n"
    "and times, put into one table; no picture, no sound."
)


def _time(seconds: int) -> str:
    return f"{seconds // 60:02d}:{seconds % 60:02d}"


def _table(videos: Mapping[str, AnnotatedVideo], urls: Mapping[str, str]) -> str:
    lines = [f"# {line}" for line in _CREDIT.splitlines()]
    lines.append("# part, name, address, and the intervals MM:SS-MM:SS that are clips 0, 1, ...")
    for key, video in sorted(videos.items()):
        spans = " ".join(f"{_time(begin)}-{_time(end)}" for begin, end in video.intervals)
        lines.append(f"{video.part}\t{video.name}\t{urls[key]}\t{spans}")
    return "".join(f"{line}\n" for line in lines)


def hdtf_texts(
    videos: Mapping[str, AnnotatedVideo], urls: Mapping[str, str], version: str, folder: Path
) -> dict[str, str]:
    """Files of a version of HDTF's split: ``test.txt``, an empty ``train.txt``, ``videos.tsv``.

    Args:
        videos: of the annotation lists.
        urls: of the address lists; videos without times are left out.
        version: ``hdtf/v1``.
        folder: of both lists, for messages.

    Raises:
        SplitError: there is no video, one without an address, or none of one of HDTF's parts.
    """
    if not videos:
        raise SplitError(f"no *{TIMES} in {folder}, or none that names a video")
    homeless = sorted(set(videos) - set(urls))
    if homeless:
        raise SplitError(f"no *{URLS} in {folder} gives the address of {', '.join(homeless[:10])}")
    lost = [part for part in PARTS if part not in {video.part for video in videos.values()}]
    if lost:
        files = ", ".join(f"{part}{ending}" for part in lost for ending in (TIMES, URLS))
        raise SplitError(
            f"{folder} lacks HDTF's part {' and '.join(lost)} ({files}, or no video in them): a "
            "split of the other parts would not be HDTF's; get all lists from "
            "https://github.com/MRzzm/HDTF"
        )
    remark = (
        f"{version}, test: everyone in HDTF's public lists. Several videos of one politician are\n"
        f"one identity.\n{_CREDIT}"
    )
    nobody = f"{version}, train: nobody; the paper tests on HDTF and trains on VoxCeleb2 alone."
    return {
        "test.txt": list_text({identity_of(key) for key in videos}, remark),
        "train.txt": list_text((), nobody),
        "videos.tsv": _table(videos, urls),
    }
