"""Who has changed sides between two versions of a split, as folders or git revisions hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dimitra.clips import Clip
from dimitra.datasets.split import SIDES, Side, SplitError, SplitLists, read_names
from dimitra.git_files import commit_of, listed, shown

_CLIPS = "clips.txt"
_NAMES = frozenset({*(f"{side}.txt" for side in SIDES), _CLIPS})


@dataclass(frozen=True)
class Listed:
    """One version of a split, read without asking whether it is a good one.

    Attributes:
        lists: train and test; a list that is not there is empty.
        clips: of ``clips.txt``; None without one.
    """

    lists: SplitLists
    clips: frozenset[str] | None = None


@dataclass(frozen=True)
class Change:
    """One identity whose side is another one; None is in neither list."""

    identity: str
    before: Side | None
    after: Side | None

    @property
    def kind(self) -> str:
        """``added``, ``removed`` or ``moved``."""
        if self.before is None:
            return "added"
        return "removed" if self.after is None else "moved"


@dataclass(frozen=True)
class Extent:
    """Clips of an identity in the manifest, and their length together."""

    clips: int
    seconds: float


@dataclass(frozen=True)
class SplitDifference:
    """What has changed in one version of a split.

    Attributes:
        version: ``chorus/v1``.
        changes: sorted by identity.
        clips_added: paths that only the second ``clips.txt`` has, sorted.
        clips_removed: paths that only the first has.
        before: digest of the sides before; None where the version was not there.
        after: digest of the sides after.
    """

    version: str
    changes: tuple[Change, ...]
    clips_added: tuple[str, ...]
    clips_removed: tuple[str, ...]
    before: str | None
    after: str | None

    @property
    def same(self) -> bool:
        """Nobody and no clip has changed."""
        return not (self.changes or self.clips_added or self.clips_removed)


def _listed(version: str, texts: Mapping[str, bytes]) -> Listed:
    names = {}
    for file, data in texts.items():
        try:
            names[file] = read_names(data.decode("utf-8-sig"), f"{version}/{file}")
        except UnicodeDecodeError as error:
            raise SplitError(f"{version}/{file} is not UTF-8: {error}") from None
    train, test = (names.get(f"{side}.txt", frozenset()) for side in SIDES)
    return Listed(SplitLists(version, train, test), names.get(_CLIPS))


def _of_files(files: Mapping[PurePosixPath, bytes]) -> dict[str, Listed]:
    """Versions among the files of a folder of splits, ``<dataset>/<version>/<list>``."""
    texts: dict[str, dict[str, bytes]] = {}
    for path, data in files.items():
        texts.setdefault(path.parent.as_posix(), {})[path.name] = data
    return {version: _listed(version, texts[version]) for version in sorted(texts)}


def read_versions(name: str, splits: Path, root: Path = Path()) -> dict[str, Listed]:
    """Versions of splits that a folder or a revision holds.

    Args:
        name: a folder with lists in it (one version), a folder of all splits, or a revision.
        splits: folder of all splits in a revision, relative to ``root``.
        root: the checkout.

    Returns:
        version to its lists; that of a folder with lists has the folder's last two names.

    Raises:
        GitError: there is no such revision.
        SplitError: there are no lists.
    """
    folder = root / name
    if folder.is_dir():
        if any((folder / file).is_file() for file in _NAMES):
            version = "/".join(folder.resolve().parts[-2:])
            texts = {file: (folder / file).read_bytes() for file in _NAMES if (folder / file).is_file()}
            return {version: _listed(version, texts)}
        files = {
            PurePosixPath(path.relative_to(folder).as_posix()): path.read_bytes()
            for path in sorted(folder.glob("*/*/*.txt"))
            if path.name in _NAMES
        }
    else:
        commit = commit_of(root, name)
        files = {}
        for path in listed(root, commit, splits):
            data = shown(root, commit, path) if path.name in _NAMES else None
            if data is not None:
                files[PurePosixPath(path.relative_to(splits.as_posix()))] = data
    if not files:
        raise SplitError(f"{name} holds no train.txt and no test.txt of any split")
    return _of_files(files)


def compare(version: str, before: Listed | None, after: Listed | None) -> SplitDifference:
    """Compare two states of a version; None: it was not there."""
    nobody = Listed(SplitLists(version, frozenset(), frozenset()))
    one, other = before or nobody, after or nobody
    people = one.lists.train | one.lists.test | other.lists.train | other.lists.test
    changes = [Change(who, one.lists.side(who), other.lists.side(who)) for who in sorted(people)]
    old, new = one.clips or frozenset(), other.clips or frozenset()
    return SplitDifference(
        version=version,
        changes=tuple(change for change in changes if change.before != change.after),
        clips_added=tuple(sorted(new - old)),
        clips_removed=tuple(sorted(old - new)),
        before=None if before is None else before.lists.digest,
        after=None if after is None else after.lists.digest,
    )


def compare_all(
    before: Mapping[str, Listed], after: Mapping[str, Listed]
) -> tuple[SplitDifference, ...]:
    """Compare version by version; two single ones with each other, whatever they are called."""
    if len(before) == len(after) == 1 and set(before) != set(after):
        (old,), (new,) = before, after
        return (compare(f"{old} to {new}", before[old], after[new]),)
    versions = sorted({*before, *after})
    return tuple(compare(name, before.get(name), after.get(name)) for name in versions)


def extents(clips: Iterable[Clip]) -> dict[tuple[str, str], Extent]:
    """Clips and seconds of each identity of a manifest, by dataset and identity."""
    found: dict[tuple[str, str], Extent] = {}
    for clip in clips:
        key = (clip.dataset, clip.identity)
        sofar = found.get(key, Extent(0, 0.0))
        found[key] = Extent(sofar.clips + 1, sofar.seconds + clip.duration_s)
    return found
