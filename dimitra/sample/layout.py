"""The lists that come with the datasets, as VoxCeleb2 and HDTF have them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dimitra.sample.corpus import SpokenClip

TEST_IDENTITIES = frozenset({"id00013", "id00014", "id00015", "id00016"})


def write_lists(datasets: Path, clips: Sequence[SpokenClip]) -> None:
    """Write ``vox2_meta.csv`` of chorus, and HDTF's lists and the transcripts of lecture.

    Args:
        datasets: the folder that holds both datasets.
        clips: all clips made.
    """
    chorus = sorted(
        {(c.plan.identity, c.plan.voice.gender) for c in clips if c.plan.dataset == "chorus"}
    )
    if chorus:
        rows = ["VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set "]
        for identity, gender in chorus:
            group = "test" if identity in TEST_IDENTITIES else "dev"
            rows.append(f"{identity} ,n1{identity[2:]} ,{gender} ,{group} ")
        _write(datasets / "chorus" / "vox2_meta.csv", rows)
    lecture = sorted(
        (c for c in clips if c.plan.dataset == "lecture"), key=lambda c: c.plan.identity
    )
    if not lecture:
        return
    folder = datasets / "lecture"
    names = [clip.plan.identity for clip in lecture]
    _write(
        folder / "LEC_video_url.txt",
        [f"{name}.mp4 https://example.invalid/{name}" for name in names],
    )
    _write(
        folder / "LEC_annotion_time.txt",
        [f"{c.plan.identity}.mp4 00:00-00:{int(c.speech.duration_s):02d}" for c in lecture],
    )
    _write(
        folder / "LEC_crop_wh.txt",
        [f"{c.plan.identity}_0.mp4 0 {c.plan.size} 0 {c.plan.size}" for c in lecture],
    )
    _write(folder / "LEC_resolution.txt", [f"{c.plan.identity}.mp4 {c.plan.size}" for c in lecture])
    for clip in lecture:
        _write(folder / "transcripts" / f"{clip.plan.identity}_0.txt", [clip.plan.text])


def _write(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
