"""Making splits: which identities must stay together, and a seeded choice among them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dimitra.clips import Clip
from dimitra.datasets.choice import place
from dimitra.datasets.split import SplitError, SplitLists
from dimitra.datasets.strata import shares, strata
from dimitra.shards import write_atomic


def together(clips: Iterable[Clip]) -> tuple[tuple[str, ...], ...]:
    """Identities of one dataset that share a recording, or a file with the same bytes, in groups.

    Groups and the names in them are sorted. Someone who shares nothing is a group alone.
    """
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    owners: dict[tuple[str, str], str] = {}
    for clip in clips:
        leader.setdefault(clip.identity, clip.identity)
        for key in (("video", clip.source_video), ("bytes", clip.sha256)):
            first, second = find(owners.setdefault(key, clip.identity)), find(clip.identity)
            leader[max(first, second)] = min(first, second)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in leader:
        groups[find(name)].append(name)
    return tuple(sorted(tuple(sorted(group)) for group in groups.values()))


def make(
    clips: Sequence[Clip],
    version: str,
    test_share: float,
    seed: int,
    by: Sequence[str] = (),
    bins: int = 4,
) -> SplitLists:
    """Split the identities of one dataset.

    Groups (``together``) go to the test in the order of their places (``choice.place`` of their
    first name) until it has at least its share of the identities: of each stratum, where there are
    strata, else of all.

    Args:
        clips: of one dataset.
        version: of the split, ``<dataset>/<version>``.
        test_share: 0 (none) to 1 (all; nothing to train on, as with HDTF).
        seed: of the choice.
        by: what strata are made of (``dimitra.datasets.strata``).
        bins: into how many parts numbers are cut there.

    Raises:
        SplitError: ``test_share`` is out of range, there is no clip, or a side that should have
            someone has nobody.
        StrataError: there is no such column.
    """
    if not 0.0 <= test_share <= 1.0:
        raise SplitError(f"the test share is {test_share}, but must lie between 0 and 1")
    groups = {group[0]: group for group in together(clips)}
    if not groups:
        raise SplitError(f"split {version}: the dataset has no clip, so there is nobody to split")
    leader = {name: first for first, group in groups.items() for name in group}
    members: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        members[leader[clip.identity]].append(clip)
    found = list(strata(members, by, bins).values())
    sizes = [sum(len(groups[first]) for first in stratum) for stratum in found]
    test: set[str] = set()
    for stratum, wanted in zip(found, shares(sizes, test_share), strict=True):
        chosen: set[str] = set()
        for first in sorted(stratum, key=lambda first: (place(seed, first), first)):
            if len(chosen) >= wanted:
                break
            chosen.update(groups[first])
        test |= chosen
    train = set(leader) - test
    for side, names, share in (("train", train, 1.0 - test_share), ("test", test, test_share)):
        if share > 0.0 and not names:
            raise SplitError(
                f"split {version}: nobody is left for {side}: {len(leader)} identities in "
                f"{len(groups)} groups that share no recording, test share {test_share:g}"
            )
    return SplitLists(version, frozenset(train), frozenset(test))


def list_text(names: Iterable[str], remark: str) -> str:
    """Content of a list: the remark as comments, then one name a line, sorted.

    Raises:
        SplitError: a name cannot stand in a list.
    """
    ordered = sorted(names)
    for name in ordered:
        if name != name.strip() or not name.isprintable() or name.startswith("#") or " #" in name:
            raise SplitError(f"the identity {name!r} cannot stand in a list; rename its folder")
    comments = [f"# {line}" for line in remark.splitlines()]
    return "".join(f"{line}\n" for line in (*comments, *ordered))


def write_lists(folder: Path, texts: Mapping[str, str], *, force: bool = False) -> list[Path]:
    """Write the lists of a version, all or none.

    Args:
        folder: ``splits/<dataset>/<version>``.
        texts: file name to content.
        force: replace lists that say something else.

    Returns:
        the files, sorted.

    Raises:
        SplitError: a list is there, says something else, and may not be replaced.
    """
    for name, text in sorted(texts.items()):
        path = folder / name
        if not force and path.exists() and path.read_text("utf-8") != text:
            raise SplitError(
                f"{path} is there and says something else. A version that results rest on stays "
                "as it is: write another one, or replace it with --force"
            )
    for name, text in texts.items():
        write_atomic(folder / name, text.encode())
    return [folder / name for name in sorted(texts)]
