"""Seeded choices that stay as they are when others join: an order by hash, and what follows from it.

A name's place depends on the seed and the name alone, never on the other names or on the order in
which a folder lists them. So whoever has the same names and the seed makes the same choice, and a
file more moves one other at most.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence


def place(seed: int, name: str) -> int:
    """Place of a name among all: the first 8 bytes of the sha256 of ``<seed>\\0<name>``."""
    text = f"{seed}\0{name}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")


def lowest(seed: int, names: Iterable[str], count: int) -> tuple[str, ...]:
    """The ``count`` names with the lowest places, sorted by name.

    Raises:
        ValueError: there are fewer, or ``count`` is negative.
    """
    unique = sorted(set(names))
    if not 0 <= count <= len(unique):
        raise ValueError(f"cannot choose {count} of {len(unique)}")
    return tuple(sorted(sorted(unique, key=lambda name: (place(seed, name), name))[:count]))


def spread(seed: int, groups: Mapping[str, Sequence[str]], count: int) -> tuple[str, ...]:
    """Choose ``count`` members, as evenly over the groups as their sizes allow, sorted.

    Round by round every group gives its next member in the order of their places, until enough are
    chosen; the last round takes the groups in the order of theirs. How many a group gives depends
    on sizes alone. A member that joins a group therefore brings at most one member in and puts at
    most one out: in its group where that gives a full share already, otherwise in another one.

    Args:
        seed: of the choice.
        groups: members of each group; no member in two.
        count: members to choose.

    Raises:
        ValueError: there are fewer, or ``count`` is negative.
    """
    total = sum(len(members) for members in groups.values())
    if not 0 <= count <= total:
        raise ValueError(f"cannot choose {count} of {total}")
    ranked = [
        (rank, place(seed, group), group, member)
        for group, members in groups.items()
        for rank, member in enumerate(sorted(members, key=lambda name: (place(seed, name), name)))
    ]
    ranked.sort()
    return tuple(sorted(member for *_, member in ranked[:count]))
