"""Making a study: videos matched by clip, checked, copied under opaque names, paired."""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dimitra.clips import ClipError
from dimitra.media.container import MediaInfo
from dimitra.shards import sha256_file
from dimitra.study.errors import StudyError
from dimitra.study.gallery import FROZEN, Gallery
from dimitra.study.sources import list_videos, unmatched
from dimitra.study.study import (
    CONSENT,
    FILE,
    METHOD,
    QUESTION,
    VIDEOS,
    LeftOut,
    Pair,
    Study,
    Video,
)
from dimitra.study.videos import check_video

TRUTH = "ground truth"
_LENGTH_S = 0.2
"""A difference of length that a rater sees."""


@dataclass(frozen=True)
class Wishes:
    """What the study is to be.

    Attributes:
        ours: name of our method.
        seed: of names, sides and order.
        pairs_per_rater: None for all.
        checks: attention checks of a rater.
        question: None for the paper's.
        consent: paragraphs; None for the default text.
    """

    ours: str = "Dimitra"
    seed: int = 0
    pairs_per_rater: int | None = None
    checks: int = 0
    question: str = QUESTION
    consent: tuple[str, ...] = CONSENT


def build(
    out: Path, ours: Path, others: Mapping[str, Path], truth: Path | None, wishes: Wishes
) -> Study:
    """Make a study in a new folder.

    Args:
        out: the folder; nothing is left of it where this fails.
        ours: folder or pattern of our videos.
        others: name of another method to its folder or pattern, in the order of the table.
        truth: folder or pattern of the ground truth, which is then one more row.
        wishes: the rest.

    Raises:
        StudyError: an option does not fit, no clip is left to compare with a method, or more
            questions are wished than there are.
    """
    sources = dict(others)
    if truth is not None:
        sources[TRUTH] = truth
    _check(out, sources, truth, wishes)
    files = {method: list_videos(path) for method, path in ({wishes.ours: ours} | sources).items()}
    try:
        out.mkdir(parents=True)
    except OSError as error:
        raise StudyError(f"{out} cannot be made: {error.strerror}; name another folder") from None
    try:
        (out / VIDEOS).mkdir()
        out.chmod(0o700)
        study = _gather(out / VIDEOS, files, list(sources), wishes)
        (out / FILE).write_text(study.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except BaseException as error:
        shutil.rmtree(out)
        if isinstance(error, OSError):
            raise StudyError(f"{out} cannot be written: {error}; is the disk full?") from None
        raise
    return study


def _check(out: Path, sources: Mapping[str, Path], truth: Path | None, wishes: Wishes) -> None:
    if out.exists():
        raise StudyError(f"{out} is there already; name a new folder, or remove it")
    if not sources:
        raise StudyError("nothing to compare with; give --other NAME=DIR or --truth DIR")
    for name in (wishes.ours, *sources):
        if not re.fullmatch(METHOD, name) or not name.isprintable():
            raise StudyError(f"{name!r} is no name of a method: 1 to 60 characters, no / or \\")
    if wishes.ours in sources or FROZEN in {wishes.ours, *sources}:
        raise StudyError(
            f"{wishes.ours!r} and {', '.join(map(repr, sources))}: every method needs a name of "
            f"its own, and none of them {FROZEN!r}"
        )
    if wishes.checks < 0 or (wishes.checks and truth is None):
        raise StudyError(
            f"--checks {wishes.checks} needs --truth DIR: a check shows the truth beside its "
            "frozen first frame; or give --checks 0"
        )


def _gather(
    folder: Path, files: Mapping[str, Mapping[str, Path]], others: list[str], wishes: Wishes
) -> Study:
    left_out: list[LeftOut] = []
    infos: dict[Path, MediaInfo | None] = {}
    ours = files[wishes.ours]

    def playable(method: str, clip: str) -> bool:
        path = files[method][clip]
        if path not in infos:
            try:
                infos[path] = check_video(path)
            except ClipError as error:
                infos[path] = None
                left_out.append(LeftOut(method=method, clip=clip, reason=str(error)))
        return infos[path] is not None

    gallery = Gallery(folder, wishes.seed)

    def add(method: str, clip: str) -> int:
        path = files[method][clip]
        info = infos[path]
        assert info is not None  # noqa: S101 - asked for after ``playable``
        return gallery.add(method, clip, path, info)

    pairs: list[Pair] = []
    for method in others:
        only_ours, only_theirs = unmatched(ours, files[method])
        left_out += [
            LeftOut(method=wishes.ours, clip=clip, reason=f"{method} has no video of this clip")
            for clip in only_ours
        ]
        left_out += [
            LeftOut(method=method, clip=clip, reason=f"{wishes.ours} has no video of this clip")
            for clip in only_theirs
        ]
        before = len(pairs)
        for clip in sorted(ours.keys() & files[method].keys()):
            # Both are asked: each that cannot be played is listed.
            if not all([playable(wishes.ours, clip), playable(method, clip)]):
                continue
            if sha256_file(ours[clip]) == sha256_file(files[method][clip]):
                reason = f"the same bytes as {wishes.ours}'s; look at the folders"
                left_out.append(LeftOut(method=method, clip=clip, reason=reason))
                continue
            first, second = add(wishes.ours, clip), add(method, clip)
            pairs.append(Pair(kind="comparison", first=first, second=second))
        if len(pairs) == before:
            raise StudyError(_nothing_left(wishes.ours, ours, method, files[method], left_out))
    count = wishes.pairs_per_rater or len(pairs)
    if count > len(pairs):
        raise StudyError(f"--pairs-per-rater {count}, but there are {len(pairs)} pairs")
    clips = sorted(
        {gallery.videos[pair.second].clip for pair in pairs}
        & {video.clip for video in gallery.videos if video.method == TRUTH}
    )
    if wishes.checks > len(clips):
        raise StudyError(f"--checks {wishes.checks}, but there are {len(clips)} clips with truth")
    for clip in random.Random(f"{wishes.seed}/checks").sample(clips, wishes.checks):
        second = gallery.add_frozen(clip, files[TRUTH][clip])
        pairs.append(Pair(kind="check", first=add(TRUTH, clip), second=second))
    return Study(
        question=wishes.question,
        consent=wishes.consent,
        ours=wishes.ours,
        others=tuple(others),
        seed=wishes.seed,
        pairs_per_rater=count,
        videos=tuple(gallery.videos),
        pairs=tuple(pairs),
        left_out=tuple(left_out),
        notes=tuple(_notes(gallery.videos, pairs)),
    )


def _nothing_left(
    name: str,
    ours: Mapping[str, Path],
    method: str,
    theirs: Mapping[str, Path],
    left_out: list[LeftOut],
) -> str:
    reasons = Counter(item.reason for item in left_out if item.method in {name, method})
    common, count = reasons.most_common(1)[0]
    return (
        f"no clip of {name} can be compared with {method}: {name} has {len(ours)} clips (the first "
        f"is {min(ours)!r}), {method} has {len(theirs)} (the first is {min(theirs)!r}); the most "
        f"frequent reason ({count} times): {common}. Clips are matched by the path below the "
        "folder without suffix, or by what * stands for in 'DIR/*-hp.mp4'"
    )


def _notes(videos: list[Video], pairs: list[Pair]) -> list[str]:
    notes = []
    for pair in pairs:
        one, two = videos[pair.first], videos[pair.second]
        what = []
        if abs(one.duration_s - two.duration_s) > _LENGTH_S:
            what.append(f"{one.duration_s:g} s and {two.duration_s:g} s")
        # The frozen video has even sides.
        if max(abs(one.width - two.width), abs(one.height - two.height)) > 1:
            what.append(f"{one.width}x{one.height} and {two.width}x{two.height} pixels")
        if one.sound != two.sound:
            what.append("sound in one of both, which is played for both")
        if what:
            notes.append(f"{one.clip}, {one.method} and {two.method}: {'; '.join(what)}")
    return notes
