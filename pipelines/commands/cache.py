"""``dimitra cache``: what the work cache holds, what may go, whether it is whole."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from pipelines import params
from pipelines.errors import StageError
from pipelines.runtime.progress import console as errors
from pipelines.stores.cache_contents import (
    Contents,
    examine,
    files_below,
    local_garbage,
    plan,
    read_contents,
)
from pipelines.stores.cache_references import check_dvc_caches, named_by_sidecars
from pipelines.stores.checkout import cache_folder
from pipelines.stores.storage import Entry, Storage

app = typer.Typer(
    help=(
        "The work cache: finished shards, kept so that no run does them twice. "
        "It lies in .cache/dimitra of the main checkout, or where storage.root of params.yaml "
        "says. A local cache may be removed at any time; in a remote one (s3://) the shards are "
        "the data."
    ),
    no_args_is_help=True,
)
console = Console(highlight=False)

FETCHED_AGE_S = 30 * 86_400.0
"""Fetched copies that were not used for this long go, unless ``--older-than`` says otherwise."""
_SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_AGES = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}

_DU = """Show what the cache holds: per stage, and what no stage's record names.

A shard that two stages made alike is counted once in each, and once in the total. Use is the \
last use in a local cache, the time of writing in a remote one.

Example: dimitra cache du"""
_GC = """Remove what is not needed.

Always: shards that nothing names and that are older than a day, records that cannot be read, \
what killed processes left behind, fetched copies unused for 30 days (or --older-than).

With --older-than and --max-size: finished units and the saved states of unfinished trainings too, \
the least recently used first; a later run makes them again.

Never: what the sidecars in data/ of any checkout name. In a remote storage also never what a \
sidecar in DVC's cache names: there the shards are the data. Do not run it on a remote storage \
while a stage runs, or while people use it whose DVC caches you have not named with --keep.

Example: dimitra cache gc --older-than 30d --max-size 20GB --dry-run"""
_VERIFY = """Read every shard and compare its sha256; exit 1 if one is damaged or lost.

Also told: records whose shard is gone (harmless: the unit is made again), and, in a remote \
storage, outputs in data/ whose shard it does not hold.

Example: dimitra cache verify --repair"""

StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URI",
        help="Folder or URI (s3://bucket/prefix); by default storage.root of params.yaml.",
        show_default=False,
    ),
]


def parse_size(text: str) -> int:
    """Bytes of ``20GB``, ``500 MB``, ``1.5T``, ``8GiB`` or ``1000``.

    Raises:
        typer.BadParameter: it is none of these.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if found is None or (found[3] and not found[2]):
        raise typer.BadParameter(f"{text!r} is no size; write 20GB, 500MB or 8GiB")
    unit = found[2].upper()
    return int(float(found[1]) * (_BINARY if found[3] else _SIZES)[unit])


def parse_age(text: str) -> float:
    """Seconds of ``30d``, ``12h``, ``45m`` or ``2w``.

    Raises:
        typer.BadParameter: it is none of these.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([mhdw])\s*", text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no age; write 30d, 12h, 45m or 2w")
    return float(found[1]) * _AGES[found[2]]


@contextmanager
def _told() -> Iterator[None]:
    """Errors that a person can mend are one line and exit code 2."""
    try:
        yield
    except (StageError, params.ParamsError, OSError) as error:
        errors.print(f"[red]error:[/] {error}", soft_wrap=True)
        raise typer.Exit(2) from None


def _storage(given: str | None) -> Storage:
    if given is not None:
        return Storage(given if "://" in given else str(Path(given).resolve()))
    root = params.load().storage.root if Path("params.yaml").exists() else None
    return Storage(root or str(cache_folder()))


@contextmanager
def _bar(what: str, total: int | None, *, size: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar; yields a function of (done, total)."""
    counted = (DownloadColumn(), TransferSpeedColumn()) if size else (MofNCompleteColumn(),)
    columns = (TextColumn("{task.description}"), BarColumn(), *counted, TimeRemainingColumn())
    with Progress(
        *columns, console=errors, disable=not errors.is_terminal, transient=True
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done, of: progress.update(task, completed=done, total=of)


def _contents(storage: Storage) -> Contents:
    with _bar("reading records", None, size=False) as show:
        return read_contents(storage, show)


def _day(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d")


def _row(table: Table, what: str, units: str, entries: list[Entry], *, times: bool = True) -> None:
    ages = [entry.modified_s for entry in entries] if times else []
    table.add_row(
        what,
        units,
        str(len(entries)),
        decimal(sum(entry.size_bytes for entry in entries)),
        _day(min(ages, default=None)),
        _day(max(ages, default=None)),
    )


@app.command(help=_DU)
def du(storage: StorageOption = None) -> None:
    """Show what the cache holds."""
    with _told():
        place = _storage(storage)
        contents = _contents(place)
    table = Table("what", "records", "files", "size", "oldest use", "newest")
    for number, column in enumerate(table.columns):
        column.no_wrap = True
        column.justify = "right" if 1 <= number <= 3 else "left"
    for stage in sorted({record.stage for record in contents.records.values()}):
        records = [record for record in contents.records.values() if record.stage == stage]
        shards = {
            r.sha256: contents.objects[r.sha256] for r in records if r.sha256 in contents.objects
        }
        ages = [record.entry.modified_s for record in records]
        table.add_row(
            stage,
            str(len(records)),
            str(len(shards)),
            decimal(sum(entry.size_bytes for entry in shards.values())),
            _day(min(ages)),
            _day(max(ages)),
        )
    table.add_section()
    users = {record.sha256 for record in contents.records.values()}
    _row(
        table,
        "without a record",
        "",
        [entry for sha256, entry in contents.objects.items() if sha256 not in users],
    )
    _row(table, "staged inputs", "", list(contents.staged))
    _row(table, "training states", "", list(contents.states))
    _row(table, "leftovers", "", list(contents.broken))
    _row(
        table,
        "in the storage",
        str(len(contents.records)),
        [*contents.objects.values(), *contents.staged, *contents.states, *contents.broken]
        + [record.entry for record in contents.records.values()],
        times=False,
    )
    table.add_section()
    local = cache_folder()
    _row(table, "fetched copies", "", files_below(local / "fetched"))
    _row(table, "unfinished shards", "", files_below(local / "partial"))
    _row(table, "tracebacks", "", files_below(local / "tracebacks"))
    _row(table, "live figures", "", files_below(local / "live"))
    console.print(f"storage: {place.root}\nlocal:   {local}", soft_wrap=True)
    console.print(table)
    if contents.foreign:
        console.print(f"{contents.foreign} files there are not the cache's; they are left alone")


def _drop(path: Path) -> int:
    """Remove a file or folder; returns its size in bytes."""
    if path.is_dir():
        size = sum(entry.size_bytes for entry in files_below(path))
        shutil.rmtree(path, ignore_errors=True)
        return size
    size = path.stat().st_size if path.exists() else 0
    path.unlink(missing_ok=True)
    return size


@app.command(help=_GC)
def gc(
    older_than: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Remove what was not used for 30d, 12h, 2w."),
    ] = None,
    max_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Then the least recently used, down to 20GB, 500MB."),
    ] = None,
    keep: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Also keep what sidecars below this folder name; may be given several times. "
            "Other people's checkouts and DVC caches that use the same storage.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say it; remove nothing.")] = False,
    storage: StorageOption = None,
) -> None:
    """Remove what is not needed."""
    age = parse_age(older_than) if older_than is not None else None
    limit = parse_size(max_size) if max_size is not None else None
    now = time.time()
    with _told():
        place = _storage(storage)
        if not keep:
            check_dvc_caches(place)
        contents = _contents(place)
        named = named_by_sidecars(place, keep or [])
        chosen = plan(contents, named.keys(), now, age, limit)
        folders = {cache_folder(), *([Path(place.root)] if place.is_local else [])}
        copies_s = FETCHED_AGE_S if age is None else age
        garbage = [path for f in sorted(folders) for path in local_garbage(f, now, copies_s)]
        freed = chosen.freed_bytes
        with _bar("removing", len(chosen.entries), size=False) as show:
            for done, entry in enumerate(chosen.entries, start=1):
                if not dry_run:
                    place.remove(entry.name)
                show(done, len(chosen.entries))
        for path in garbage:
            freed += sum(e.size_bytes for e in files_below(path)) if dry_run else _drop(path)
    console.print(
        f"{'would remove' if dry_run else 'removed'} {len(chosen.records)} records, "
        f"{len(chosen.objects)} shards, {len(chosen.others)} inputs and leftovers, "
        f"{len(garbage)} local folders and files: {decimal(freed)}; "
        f"{decimal(chosen.left_bytes)} stay in {place.root}",
        soft_wrap=True,
    )
    if limit is not None and chosen.left_bytes > limit:
        console.print(
            f"that is above --max-size {decimal(limit)}: the rest is named by sidecars in data/, "
            "in DVC's cache or below --keep, or is younger than a day",
            soft_wrap=True,
        )


@app.command(help=_VERIFY)
def verify(
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Remove what is damaged; the next run makes it again."),
    ] = False,
    storage: StorageOption = None,
) -> None:
    """Read every shard and compare."""
    with _told():
        place = _storage(storage)
        contents = _contents(place)
        with _bar("reading shards", None, size=True) as show:
            found = examine(place, contents, show)
        for entry in found.damaged:
            console.print(f"[red]damaged[/] {place.uri(entry.name)}", soft_wrap=True)
        for name in found.dangling:
            console.print(f"[yellow]no shard for[/] {place.uri(name)}", soft_wrap=True)
        for path in found.lost:
            console.print(f"[red]lost[/] the shard of {path}", soft_wrap=True)
        if repair:
            hit = {entry.name for entry in found.damaged}
            gone = {sha for sha, entry in contents.objects.items() if entry.name in hit}
            records = [n for n, record in contents.records.items() if record.sha256 in gone]
            for name in sorted({*found.dangling, *records}):
                place.remove(name)
            for entry in found.damaged:
                place.remove(entry.name)
    console.print(
        f"{found.read} shards and inputs read, {len(found.damaged)} damaged, "
        f"{len(found.dangling)} records without a shard, {len(found.lost)} lost outputs"
        + (": removed what was damaged" if repair and (found.damaged or found.dangling) else ""),
        soft_wrap=True,
    )
    if found.damaged and not repair:
        console.print("remove what is damaged with: dimitra cache verify --repair")
    if found.lost:
        console.print("make lost outputs again with: dvc repro --force STAGE")
    if found.damaged or found.lost:
        raise typer.Exit(1)
