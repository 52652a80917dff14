"""Which generated video belongs to which reference video.

A file's name is its path below its folder, without the suffix: ``id00013/abc/00001``. Names that
are equal match. Of the rest, methods add to a name the same on every file (``01_sadtalker``,
``dreamtalk-01``): the beginning and end that match most files are taken off. What stays is told,
not guessed; a table (``--match``) decides where names cannot.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg")
IDENTITY = re.compile(r"id\d{5}")
"""VoxCeleb's identities, found in a name."""
COLUMNS = ("reference", "generated", "method", "identity")


class MatchError(ValueError):
    """Files cannot be matched; the message names the file, and what to do."""


@dataclass(frozen=True)
class Matching:
    """What belongs together for one method.

    Attributes:
        pairs: reference's name to generated file.
        missing: names of references without a generated file, sorted.
        extra: generated files without a reference, sorted.
        prefix: what was taken off before the names, empty where names were equal.
        suffix: likewise, after them.
    """

    pairs: Mapping[str, Path]
    missing: tuple[str, ...]
    extra: tuple[Path, ...]
    prefix: str = ""
    suffix: str = ""


def list_videos(folder: Path) -> dict[str, Path]:
    """Videos below a folder by name, sorted; hidden files are left out.

    Raises:
        MatchError: no such folder, no video in it, or two files of one name.
    """
    if not folder.is_dir():
        raise MatchError(f"{folder} is no folder; give one that holds videos")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in below.parts)
        if hidden or path.suffix.lower() not in VIDEO_SUFFIXES or path.is_dir():
            continue
        name = below.with_suffix("").as_posix()
        if name in found:
            raise MatchError(
                f"{found[name]} and {path} have one name; keep one of them, or name pairs in a "
                "table with --match"
            )
        found[name] = path
    if not found:
        raise MatchError(f"{folder} holds no video ({', '.join(VIDEO_SUFFIXES)})")
    return found


def _affixes(outer: Iterable[str], inner: Sequence[str]) -> Counter[tuple[str, str]]:
    """How many names each pair of beginning and end would match."""
    found: Counter[tuple[str, str]] = Counter()
    for name in outer:
        for core in inner:
            start = name.find(core)
            while start >= 0:
                found[name[:start], name[start + len(core) :]] += 1
                start = name.find(core, start + 1)
    return found


def match(references: Mapping[str, Path], generated: Mapping[str, Path]) -> Matching:
    """Match by name; see the module for the rule.

    Args:
        references: name to file.
        generated: likewise.

    Raises:
        MatchError: two different beginnings and ends match as many files.
    """
    pairs = {name: generated[name] for name in references if name in generated}
    left = [name for name in references if name not in pairs]
    rest = [name for name in generated if name not in pairs]
    counts = _affixes(rest, left)
    prefix = suffix = ""
    if counts:
        (prefix, suffix), most = counts.most_common(1)[0]
        rivals = sorted(affix for affix, count in counts.items() if count == most)
        if len(rivals) > 1:
            shown = " or ".join(f"{a}NAME{b}" for a, b in rivals[:3])
            raise MatchError(
                f"generated files could be called {shown}: {most} of them fit each; say which "
                "belongs to which with --match"
            )
        for name in left:
            if prefix + name + suffix in rest:
                pairs[name] = generated[prefix + name + suffix]
    used = set(pairs.values())
    return Matching(
        pairs={name: pairs[name] for name in references if name in pairs},
        missing=tuple(sorted(name for name in references if name not in pairs)),
        extra=tuple(sorted(path for path in generated.values() if path not in used)),
        prefix=prefix,
        suffix=suffix,
    )


@dataclass(frozen=True)
class MatchTable:
    """What a table says.

    Attributes:
        pairs: method to reference's name to generated's name, or None for a row with identities
            alone.
        identities: reference's name to who speaks.
    """

    pairs: Mapping[str, Mapping[str, str]]
    identities: Mapping[str, str]


def _name(cell: str, names: Mapping[str, Path], where: str) -> str:
    """The name that a cell means: with or without its suffix."""
    path = Path(cell)
    bare = path.with_suffix("").as_posix() if path.suffix.lower() in VIDEO_SUFFIXES else cell
    if bare not in names:
        raise MatchError(f"{where}: there is no video {cell!r}; names are paths below the folder")
    return bare


def read_table(
    path: Path, references: Mapping[str, Path], generated: Mapping[str, Mapping[str, Path]]
) -> MatchTable:
    """Read a CSV with the columns ``reference`` and, as needed, the others of ``COLUMNS``.

    A row with ``generated`` pairs two files, for the one method or that of ``method``. A row with
    ``identity`` says who speaks. A row may do both.

    Args:
        path: the file.
        references: name to file.
        generated: method to name to file.

    Raises:
        MatchError: a column or a file is unknown, or a pair comes twice; names the line.
    """
    try:
        lines = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MatchError(f"{path} cannot be read as CSV: {error}") from None
    if not lines:
        raise MatchError(f"{path} has no rows; its first line names columns of {COLUMNS}")
    columns = set(lines[0])
    if "reference" not in columns or not columns <= set(COLUMNS):
        raise MatchError(
            f"{path} has the columns {', '.join(map(str, lines[0]))}; they are reference and any "
            f"of {', '.join(COLUMNS[1:])}"
        )
    pairs: dict[str, dict[str, str]] = {}
    identities: dict[str, str] = {}
    for number, row in enumerate(lines, 2):
        where = f"{path} line {number}"
        reference = _name(row["reference"] or "", references, where)
        identity = row.get("identity") or ""
        if identity and identities.setdefault(reference, identity) != identity:
            raise MatchError(f"{where}: {reference} is both {identities[reference]} and {identity}")
        cell = row.get("generated") or ""
        if not cell:
            continue
        method = row.get("method") or (next(iter(generated)) if len(generated) == 1 else "")
        if method not in generated:
            raise MatchError(f"{where}: method {method!r} is none of {', '.join(generated)}")
        name = _name(cell, generated[method], where)
        mine = pairs.setdefault(method, {})
        if reference in mine or name in mine.values():
            raise MatchError(f"{where}: {reference} or {name} is paired before")
        mine[reference] = name
    return MatchTable(pairs, identities)


def match_with(
    table: Mapping[str, str] | None,
    references: Mapping[str, Path],
    generated: Mapping[str, Path],
) -> Matching:
    """Match one method: what the table pairs, then the rest by name.

    Args:
        table: reference's name to generated's, None without a table.
        references: name to file.
        generated: likewise.

    Raises:
        MatchError: as ``match``.
    """
    fixed = {} if table is None else dict(table)
    taken = set(fixed.values())
    rest = match(
        {name: path for name, path in references.items() if name not in fixed},
        {name: path for name, path in generated.items() if name not in taken},
    )
    pairs = {**rest.pairs, **{name: generated[own] for name, own in fixed.items()}}
    return Matching(
        {name: pairs[name] for name in references if name in pairs},
        rest.missing,
        rest.extra,
        rest.prefix,
        rest.suffix,
    )


def identity_of(name: str) -> str | None:
    """VoxCeleb's identity in a name, None where there is none."""
    found = IDENTITY.search(name)
    return found.group() if found else None
