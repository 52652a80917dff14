"""Semantic versions of a dataset, by the rule of Croissant 1.1.

MLCommons, Croissant Format Specification 1.1, section "Version": *patch* for the same data packed
otherwise, *minor* for additional data beside the old, *major* where old data was edited, removed,
or moved across splits.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

_FORM = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})")


class VersionError(ValueError):
    """A version is ill formed, or lower than the content demands."""


class Bump(enum.IntEnum):
    """How much a version has to grow; ordered."""

    NONE = 0
    PATCH = 1
    MINOR = 2
    MAJOR = 3


@dataclass(frozen=True, order=True)
class Version:
    """``major.minor.patch``; ordered as Semantic Versioning 2.0.0 orders versions."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """``"1.4.0"`` -> ``Version(1, 4, 0)``.

        Raises:
            VersionError: it is not three numbers without leading zeros; pre-release and build
                labels are no part of a dataset's version.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise VersionError(
                f"the dataset version {text!r} is not of the form MAJOR.MINOR.PATCH, for "
                "example 1.0.0"
            )
        return cls(*(int(part) for part in found.groups()))

    def bumped(self, bump: Bump) -> Version:
        """The lowest version that tells of a change of this size."""
        match bump:
            case Bump.MAJOR:
                return Version(self.major + 1, 0, 0)
            case Bump.MINOR:
                return Version(self.major, self.minor + 1, 0)
            case Bump.PATCH:
                return Version(self.major, self.minor, self.patch + 1)
            case _:
                return self

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"
