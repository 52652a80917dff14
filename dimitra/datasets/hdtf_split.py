"""``splits/hdtf``: HDTF is for the test alone, as in the paper; its public lists as one table."""

from __future__ import annotations

from collections.abc import Mapping

from dimitra.datasets.hdtf_lists import AnnotatedVideo, identity_of
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
    videos: Mapping[str, AnnotatedVideo], urls: Mapping[str, str], version: str
) -> dict[str, str]:
    """Files of a version of HDTF's split: ``test.txt``, an empty ``train.txt``, ``videos.tsv``.

    Args:
        videos: of the annotation lists.
        urls: of the address lists; videos without times are left out.
        version: ``hdtf/v1``.

    Raises:
        SplitError: there is no video, or one without an address.
    """
    if not videos:
        raise SplitError("no *_annotion_time.txt there, or none that names a video")
    homeless = sorted(set(videos) - set(urls))
    if homeless:
        raise SplitError(f"no *_video_url.txt gives the address of {', '.join(homeless[:10])}")
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
