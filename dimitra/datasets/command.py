"""``dimitra dataset``: what has changed in the data, the version that it deserves, and its card."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from dimitra.datasets.difference import Difference
    from dimitra.datasets.revisions import Revision
    from dimitra.datasets.version import Version

app = typer.Typer(
    help="Versions of the dataset in the shards: patch for packed otherwise, minor for clips added, "
    "major for edited, removed or moved across the split. Exit 2: it could not be told.",
    no_args_is_help=True,
)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

_SHOWN = 10
_PARAMS = Path("params.yaml")

Sources = Annotated[
    bool,
    typer.Option("--sources", help="Compare the original clips, not what was computed of them."),
]
Limit = Annotated[int, typer.Option(min=0, help="Clips named of each kind.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs; names all clips.")]


class Level(enum.StrEnum):
    """Sizes of a change, as the command line spells them."""

    NONE = "none"
    PATCH = "patch"
    MINOR = "minor"
    MAJOR = "major"


@contextmanager
def _told() -> Iterator[None]:
    """Errors that a person can mend, as one message and exit code 2."""
    from dimitra.datasets.inventory import InventoryError
    from dimitra.datasets.revisions import RevisionError
    from dimitra.datasets.version import VersionError
    from dimitra.git_files import GitError

    try:
        yield
    except (GitError, InventoryError, RevisionError, VersionError, OSError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None


def _compared(before: Revision, after: Revision, *, sources: bool) -> Difference:
    from dimitra.datasets.difference import compare

    shards = None
    if before.summary is not None and after.summary is not None:
        shards = (before.summary.shard_digests, after.summary.shard_digests)
    return compare(before.inventory, after.inventory, sources=sources, shards=shards)


def _lines(found: Difference) -> dict[str, list[str]]:
    """Kind of change to its clips, each with what has changed of it."""
    moves = [f"{clip}: {one} to {other}" for clip, (one, other) in found.moved.items()]
    edits = [f"{clip}: {', '.join(kinds)}" for clip, kinds in found.edited.items()]
    kinds: dict[str, Sequence[str]] = {
        "removed": found.removed,
        "moved": moves,
        "edited": edits,
        "added": found.added,
        "packed otherwise": found.repacked,
    }
    return {kind: list(lines) for kind, lines in kinds.items() if lines}


def _print(found: Difference, limit: int) -> None:
    for kind, lines in _lines(found).items():
        console.print(f"{kind}: {len(lines)} clips", soft_wrap=True)
        for line in lines[:limit]:
            console.print(f"  {line}", soft_wrap=True, markup=False)
        if len(lines) > limit:
            console.print(f"  and {len(lines) - limit} more (--limit)")
    if not found.parts:
        console.print("compared by the original clips alone")


def _report(found: Difference) -> dict[str, Any]:
    return {
        "bump": found.bump.name.lower(),
        "compared": "clips and parts" if found.parts else "original clips",
        "added": list(found.added),
        "removed": list(found.removed),
        "moved": {clip: list(sides) for clip, sides in found.moved.items()},
        "edited": {clip: list(kinds) for clip, kinds in found.edited.items()},
        "packed_otherwise": list(found.repacked),
    }


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="Revision of git, folder, or file.")],
    after: Annotated[
        str, typer.Argument(metavar="B", help="The same; by default the working tree.")
    ] = ".",
    sources: Sources = False,
    at_most: Annotated[
        Level, typer.Option(help="Exit 1 where the change is larger than this.")
    ] = Level.MAJOR,
    limit: Limit = _SHOWN,
    as_json: AsJson = False,
) -> None:
    """Say clip by clip what has changed from A to B, and what the change asks of the version.

    Example: dimitra dataset diff HEAD~1 HEAD --at-most minor
    """
    from dimitra.datasets.revisions import load
    from dimitra.datasets.version import Bump

    with _told():
        one, other = load(before), load(after)
        found = _compared(one, other, sources=sources)
    if as_json:
        names = {"before": one.source, "after": other.source}
        typer.echo(json.dumps(names | _report(found), indent=2))
    else:
        for sign, side in (("-", one), ("+", other)):
            version = f", version {side.summary.description.version}" if side.summary else ""
            rows = side.inventory.num_rows
            line = f"{sign} {side.source}: {rows} clips{version}"
            console.print(line, soft_wrap=True, markup=False)
        _print(found, limit)
        console.print(f"change: {found.bump.name.lower()}")
    if found.bump > Bump[at_most.name]:
        if not as_json:
            errors.print(f"[red]{found.bump.name.lower()}[/] is more than --at-most {at_most}")
        raise typer.Exit(1)


def _stated(path: Path = _PARAMS) -> Version:
    """``datasets.version`` of ``params.yaml``."""
    import yaml

    from dimitra.datasets.version import Version, VersionError

    try:
        values = yaml.safe_load(path.read_text("utf-8"))
        return Version.parse(str(values["datasets"]["version"]))
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise VersionError(f"{path} has no datasets.version: {error!r}") from None


@app.command()
def version(
    against: Annotated[
        str | None,
        typer.Option(
            metavar="REVISION", help="By default the newest commit that has another dataset."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit 1 where the version is too low.")
    ] = False,
    sources: Sources = False,
    limit: Limit = _SHOWN,
    as_json: AsJson = False,
) -> None:
    """Hold the version in params.yaml against what has changed since the last one.

    Example: dimitra dataset version --check
    """
    from dimitra.datasets.revisions import Revision, RevisionError, earlier, load
    from dimitra.datasets.version import Version

    found: Difference | None = None
    base: Revision | None = None
    with _told():
        stated = _stated()
        here = load("inventory")
        if here.summary is None:
            raise RevisionError("inventory/dataset.json is not there; run `dvc repro shard`")
        name = earlier(here.summary) if against is None else against
        least = stated
        if name is not None:
            base = load(name)
            found = _compared(base, here, sources=sources)
            told = stated if base.summary is None else Version.parse(base.summary.description.version)
            least = told.bumped(found.bump)
    written = here.summary.description.version
    if as_json:
        report = {
            "stated": str(stated),
            "written": written,
            "least": str(least),
            "enough": stated >= least,
            "against": base and base.name,
        }
        typer.echo(json.dumps(report | (_report(found) if found else {}), indent=2))
    else:
        console.print(f"version {stated}, {here.inventory.num_rows} clips, {here.summary.digest}", soft_wrap=True)
        if found is None or base is None:
            console.print("no earlier dataset is committed: there is nothing to hold it against")
        else:
            then = f" ({base.summary.description.version})" if base.summary else ""
            change = found.bump.name.lower()
            console.print(f"since {base.name[:12]}{then}: {change}", soft_wrap=True)
            _print(found, limit)
    if written != str(stated):
        errors.print(
            f"[yellow]note:[/] the shards' metadata say {written}; `dvc repro shard` writes {stated}",
            soft_wrap=True,
        )
    if stated < least:
        errors.print(
            f"[red]datasets.version is {stated}, but the data have changed: at least {least}.[/] "
            "Set it in params.yaml (and its profile in conf/), then `dvc repro shard`",
            soft_wrap=True,
        )
        if check:
            raise typer.Exit(1)


@app.command()
def card(
    revision: Annotated[
        str, typer.Argument(help="Revision of git, or folder; by default the working tree.")
    ] = ".",
) -> None:
    """Print the dataset card: counts, durations, identities, licence, quarantine, digests.

    Example: dimitra dataset card HEAD~1 > card.md
    """
    from dimitra.datasets.card import card as page
    from dimitra.datasets.revisions import RevisionError, load

    with _told():
        found = load(revision)
        if found.summary is None:
            raise RevisionError(
                f"{found.source} is a manifest alone; a card needs inventory/dataset.json, which "
                "`dvc repro shard` writes"
            )
    typer.echo(page(found.summary), nl=False)
