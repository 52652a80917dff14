"""The rules of ``splits/voxceleb2``: 39 of the 118 official test identities, and 50,000 clips.

The paper (Section IV-A) uses 50,000 clips of VoxCeleb2, 3,931 of them, of 39 identities, for the
test. Its lists are unpublished. These rules put published ones in their place: the same numbers,
test identities out of the official test set, a seed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dimitra.datasets.choice import lowest, spread
from dimitra.datasets.split import SplitError
from dimitra.datasets.split_making import list_text
from dimitra.datasets.voxceleb2_meta import Speaker

SEED = 20250217
TEST_COUNT = 39
CLIPS = 50_000
TEST_CLIPS = 3_931

OFFICIAL_TEST = tuple(
    f"id{number}"
    for number in (
        "00017 00061 00081 00154 00419 00562 00812 00817 00866 00926 01000 01041 01066 01106 01224 "
        "01228 01298 01333 01437 01460 01509 01541 01567 01593 01618 01822 01892 01989 02019 02057 "
        "02086 02181 02286 02317 02445 02465 02542 02548 02576 02577 02685 02725 02745 03030 03041 "
        "03127 03178 03347 03382 03524 03677 03789 03839 03862 03969 03978 03980 03981 04006 04030 "
        "04094 04119 04232 04253 04276 04295 04366 04478 04536 04570 04627 04656 04657 04862 04950 "
        "05015 05055 05124 05176 05202 05459 05594 05654 05714 05816 05850 05999 06104 06209 06310 "
        "06484 06692 06811 06816 06913 07312 07354 07396 07414 07426 07494 07620 07621 07663 07802 "
        "07868 07874 07961 08149 08374 08392 08456 08548 08552 08696 08701 08911 09017"
    ).split()
)
"""The identities of VoxCeleb2's official test set: Set is ``test`` in its ``vox2_meta.csv``."""


@dataclass(frozen=True)
class VoxCeleb2Split:
    """What the rules choose.

    Attributes:
        train: all dev identities.
        test: the chosen test identities.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]


def choose_test(seed: int = SEED, count: int = TEST_COUNT) -> tuple[str, ...]:
    """Test identities: the ``count`` official ones with the lowest places (``choice.place``).

    Raises:
        SplitError: ``count`` is not 1 to 118.
    """
    if not 1 <= count <= len(OFFICIAL_TEST):
        raise SplitError(
            f"cannot choose {count} test identities of the {len(OFFICIAL_TEST)} official ones"
        )
    return lowest(seed, OFFICIAL_TEST, count)


def split_of(
    speakers: Mapping[str, Speaker], seed: int = SEED, count: int = TEST_COUNT
) -> VoxCeleb2Split:
    """Train on all dev identities of the user's table, test on the choice of its test ones.

    Raises:
        SplitError: the table has other test identities than the official 118, or nobody to train
            on.
    """
    official = {name for name, speaker in speakers.items() if speaker.subset == "test"}
    differing = sorted(official.symmetric_difference(OFFICIAL_TEST))
    if differing:
        raise SplitError(
            f"vox2_meta.csv has {len(official)} test identities, VoxCeleb2 has "
            f"{len(OFFICIAL_TEST)}; they differ in {', '.join(differing[:10])}. Take the released "
            "table, or `dimitra split make` for data of your own"
        )
    train = tuple(sorted(name for name, one in speakers.items() if one.subset == "dev"))
    if not train:
        raise SplitError("vox2_meta.csv has no identity of the set dev to train on")
    return VoxCeleb2Split(train, choose_test(seed, count))


def _by_identity(paths: Iterable[str], identities: frozenset[str]) -> dict[str, list[str]]:
    """Clips of the identities: ``<identity>/<video>/<clip>``, the name that is hashed."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        identity = path.split("/")[-3]
        if identity in identities:
            groups[identity].append(path)
    return groups


def choose_clips(
    paths: Iterable[str],
    sides: VoxCeleb2Split,
    seed: int = SEED,
    count: int = CLIPS,
    test_count: int = TEST_CLIPS,
) -> tuple[str, ...]:
    """The clips of the subset, sorted: ``test_count`` of the test identities, the rest of train.

    Each side is spread over its identities (``choice.spread``); what is hashed is the path.

    Args:
        paths: ``mp4/<identity>/<video>/<clip>.mp4`` of the clips that are there.
        sides: identities of each side.
        seed: of the choice.
        count: clips of both sides.
        test_count: clips of the test side.

    Raises:
        SplitError: a side has fewer clips than are wanted of it.
    """
    listed = sorted(set(paths))
    wanted = {"train": (sides.train, count - test_count), "test": (sides.test, test_count)}
    chosen: list[str] = []
    for side, (identities, number) in wanted.items():
        groups = _by_identity(listed, frozenset(identities))
        there = sum(map(len, groups.values()))
        if not 0 <= number <= there:
            raise SplitError(
                f"{number} clips are wanted of {side}, but its {len(identities)} identities have "
                f"{there} below this root; unpack all of VoxCeleb2, or ask for fewer (--clips, "
                "--test-clips)"
            )
        chosen += spread(seed, groups, number)
    return tuple(sorted(chosen))


def voxceleb2_texts(
    sides: VoxCeleb2Split | None, clips: tuple[str, ...] | None, seed: int, count: int
) -> dict[str, str]:
    """Files of a version of VoxCeleb2's split; ``train.txt`` and ``clips.txt`` where they are given.

    Args:
        sides: of the user's table; None without one.
        clips: the subset; None without the user's files.
        seed: of the choices.
        count: test identities.
    """
    rule = (
        "Order: the first 8 bytes of the sha256 of '<seed>', a zero byte and the name "
        f"(dimitra/datasets/choice.py), seed {seed}."
    )
    unpublished = "The paper's list is unpublished; this one stands in its place."
    texts = {
        "test.txt": list_text(
            choose_test(seed, count),
            f"VoxCeleb2, test: the first {count} of the {len(OFFICIAL_TEST)} identities of the "
            f"official test set.\n{rule}\n{unpublished}\n"
            f"Made by: dimitra split voxceleb2 --seed {seed} --identities {count}\n"
            "With --meta it also writes train.txt (all dev identities), with --root clips.txt "
            "(the 50,000-clip subset).",
        )
    }
    if sides is not None:
        remark = "VoxCeleb2, train: all identities whose Set in vox2_meta.csv is dev."
        texts["train.txt"] = list_text(sides.train, remark)
    if clips is not None:
        texts["clips.txt"] = list_text(
            clips,
            f"VoxCeleb2: {len(clips)} clips, spread over the identities of each side.\n{rule}\n"
            f"{unpublished}",
        )
    return texts
