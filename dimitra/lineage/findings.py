"""What an audit finds: broken links, what is absent, what is worth knowing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["broken", "absent", "note"]


@dataclass(frozen=True, order=True)
class Finding:
    """One finding.

    Attributes:
        kind: ``broken``: a digest does not match, or a record is missing; the audit fails.
            ``absent``: it is not here, so that it was not read. ``note``: worth knowing.
        where: file or stage.
        message: what is wrong.
    """

    kind: Kind
    where: str
    message: str


def broken(where: str, message: str) -> Finding:
    """A link that does not hold."""
    return Finding("broken", where, message)


def absent(where: str, message: str) -> Finding:
    """Something that could not be read."""
    return Finding("absent", where, message)


def note(where: str, message: str) -> Finding:
    """Something worth knowing."""
    return Finding("note", where, message)


def holds(findings: Iterable[Finding]) -> bool:
    """Whether no link is broken."""
    return not any(finding.kind == "broken" for finding in findings)


def differs(expected: str | None, found: str | None) -> str:
    """``sha256 0123456789ab..., the record says ba9876543210...``."""
    return f"sha256 {short(found)}, the record says {short(expected)}"


def short(digest: str | None) -> str:
    """The first characters of a digest or a commit."""
    return "none" if digest is None else f"{digest[:12]}..." if len(digest) > 12 else digest
