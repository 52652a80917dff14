"""``dimitra split``: make the lists of a split by a published rule, and check them for leaks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dimitra.clips import Clip
from dimitra.datasets import hdtf_lists, voxceleb2, voxceleb2_split
from dimitra.datasets.clip_list import read_clip_list
from dimitra.datasets.hdtf_split import hdtf_texts
from dimitra.datasets.listing import LayoutError
from dimitra.datasets.sealing import SealError, seal
from dimitra.datasets.split import SIDES, SplitError, absent, assign, read_lists
from dimitra.datasets.split_difference import compare_all, extents, read_versions
from dimitra.datasets.split_making import list_text, make, write_lists
from dimitra.datasets.strata import COLUMNS, SECONDS, StrataError
from dimitra.datasets.voxceleb2_meta import read_speakers
from dimitra.git_files import GitError
from pipelines import params
from pipelines.commands.split_changes import print_difference
from pipelines.runtime.jobs import read_manifest
from pipelines.runtime.progress import console as errors

app = typer.Typer(
    help=(
        "Splits by identity: lists below splits/, made by a seeded rule or by hand, committed, "
        "and checked for what train and test share."
    ),
    no_args_is_help=True,
)
console = Console(highlight=False)

Splits = Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of all splits.")]
Version = Annotated[str, typer.Option(help="Version, a folder below that of the dataset.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the choice.")]
Force = Annotated[bool, typer.Option("--force", help="Replace lists that say something else.")]
Manifest = Annotated[Path, typer.Option(metavar="FILE", help="Manifest that `ingest` wrote.")]

_SPLITS = Path("splits")
_MANIFEST = Path("data/manifest/clips.parquet")
_NONE = "none"
"""No strata."""
_VOXCELEB2 = """Choose test identities and a subset of VoxCeleb2: the paper's lists are unpublished.

Always writes test.txt: 39 of the 118 official test identities. With --meta also train.txt: all \
dev identities of your vox2_meta.csv. With --root too clips.txt: 50,000 of the clips that you \
have, 3,931 of them of the test identities. Name that file in datasets.sets.<name>.clips.

Example: dimitra split voxceleb2 --root /data/VoxCeleb2 --meta /data/VoxCeleb2/vox2_meta.csv"""
_HDTF = """Write HDTF's split from its public lists: all identities test, nobody to train on.

Example: dimitra split hdtf --lists /data/HDTF"""
_MAKE = """Split any dataset of the manifest by identity, seeded.

Identities that share a recording, or a file with the same bytes, stay on one side. The test takes \
its share of every stratum: of people with much and with little to hear, if nothing else is wished.

Example: dimitra split make interviews --version v1 --test-share 0.1"""
_CHECK = """Check the splits that params.yaml names; exit 1 if one leaks or is ill formed.

Refused, by name: an identity in both lists; a recording, or a file with the same bytes, on both \
sides (as far as the manifest is there to tell); a list that is not the one its SHA256SUMS tells of.

Example: dimitra split check"""
_DIFF = """Say who was added, removed, or moved to the other side, with their clips.

A and B: revisions of git, folders of all splits, or folders of one version.

Example: dimitra split diff HEAD~1 HEAD
Example: dimitra split diff splits/chorus/v1 splits/chorus/v2"""
_SEAL = """Write SHA256SUMS beside lists that were made by hand, so that a later change is seen.

Example: dimitra split seal interviews/v1"""


@contextmanager
def _told() -> Iterator[None]:
    """Errors that a person can mend, as one message and exit code 1."""
    try:
        yield
    except (
        SplitError,
        SealError,
        StrataError,
        GitError,
        LayoutError,
        params.ParamsError,
        FileNotFoundError,
    ) as error:
        errors.print(f"[red]error:[/] {error}", soft_wrap=True)
        raise typer.Exit(1) from None


def _write(folder: Path, texts: dict[str, str], force: bool) -> None:
    for path in write_lists(folder, texts, force=force):
        lines = path.read_text("utf-8").splitlines()
        console.print(f"{path}: {sum(not line.startswith('#') for line in lines)} lines")
    _seal(folder)


def _seal(folder: Path) -> None:
    console.print(f"{seal(folder)} written")
    if all((folder / f"{side}.txt").is_file() for side in SIDES):
        lists = read_lists(folder.parent.parent, f"{folder.parent.name}/{folder.name}")
        console.print(f"digest {lists.digest}", soft_wrap=True)


@app.command("voxceleb2", help=_VOXCELEB2)
def voxceleb2_command(
    root: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="VoxCeleb2: the folder with mp4/.")
    ] = None,
    meta: Annotated[
        Path | None, typer.Option(metavar="FILE", help="vox2_meta.csv; by default that of --root.")
    ] = None,
    seed: Seed = voxceleb2_split.SEED,
    identities: Annotated[int, typer.Option(help="Test identities.")] = voxceleb2_split.TEST_COUNT,
    clips: Annotated[int, typer.Option(help="Clips of the subset.")] = voxceleb2_split.CLIPS,
    test_clips: Annotated[
        int, typer.Option(help="Those of them that are for the test.")
    ] = voxceleb2_split.TEST_CLIPS,
    version: Version = "v1",
    splits: Splits = _SPLITS,
    force: Force = False,
) -> None:
    """See ``_VOXCELEB2``."""
    with _told():
        if meta is None and root is not None:
            meta = root / "vox2_meta.csv"
        sides, chosen = None, None
        if meta is not None:
            sides = voxceleb2_split.split_of(read_speakers(meta), seed, identities)
        if root is not None and sides is not None:
            found = voxceleb2.read(root, "voxceleb2")
            paths = [clip.path for clip in found.clips]
            chosen = voxceleb2_split.choose_clips(paths, sides, seed, clips, test_clips)
            console.print(
                f"{root}: {len(paths)} clips, {len(found.bad)} files that cannot be clips"
            )
        texts = voxceleb2_split.voxceleb2_texts(sides, chosen, seed, identities)
        _write(splits / "voxceleb2" / version, texts, force)


@app.command("hdtf", help=_HDTF)
def hdtf_command(
    lists: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder of *_annotion_time.txt, *_video_url.txt.")
    ],
    version: Version = "v1",
    splits: Splits = _SPLITS,
    force: Force = False,
) -> None:
    """See ``_HDTF``."""
    with _told():
        if not lists.is_dir():
            raise FileNotFoundError(f"{lists}: no such folder (--lists)")
        videos, urls = hdtf_lists.read_annotations(lists), hdtf_lists.read_urls(lists)
        texts = hdtf_texts(videos, urls, f"hdtf/{version}", lists)
        _write(splits / "hdtf" / version, texts, force)


@app.command("make", help=_MAKE)
def make_command(
    dataset: Annotated[
        str, typer.Argument(help="Dataset, as datasets.sets of params.yaml has it.")
    ],
    test_share: Annotated[
        float, typer.Option(help="Share of the identities for the test, 0 to 1.")
    ],
    version: Version = "v1",
    seed: Seed = voxceleb2_split.SEED,
    stratify: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="What strata are made of: clips (of a person), seconds (of a person), none, or a "
            f"column of the manifest ({', '.join(COLUMNS)}); repeatable. By default: seconds.",
        ),
    ] = None,
    bins: Annotated[int, typer.Option(min=1, help="Into how many parts numbers are cut.")] = 4,
    manifest: Manifest = _MANIFEST,
    splits: Splits = _SPLITS,
    force: Force = False,
) -> None:
    """See ``_MAKE``."""
    with _told():
        clips = [clip for clip in read_manifest(manifest) if clip.dataset == dataset]
        name = f"{dataset}/{version}"
        by = [column for column in stratify or [SECONDS] if column != _NONE]
        lists = make(clips, name, test_share, seed, by, bins)
        assign(clips, lists)
        alike = " ".join(f"--stratify {column}" for column in by or [_NONE])
        remark = (
            f"{name}, {{side}}: {{count}} of {len(lists.train) + len(lists.test)} identities.\n"
            f"Made by: dimitra split make {dataset} --version {version} --test-share "
            f"{test_share:g} --seed {seed} {alike} --bins {bins}"
        )
        texts = {
            f"{side}.txt": list_text(names, remark.format(side=side, count=len(names)))
            for side, names in (("train", lists.train), ("test", lists.test))
        }
        _write(splits / dataset / version, texts, force)


def _check_one(
    name: str, entry: params.DatasetParams, clips: list[Clip], splits: Path, table: Table
) -> str:
    """Add a split to the table; returns the line below it."""
    lists = read_lists(splits, entry.split)
    if entry.clips is not None:
        read_clip_list(Path(entry.clips))
    sides = assign(clips, lists)
    gone = absent(clips, lists)
    cells = []
    for side, names in zip(SIDES, (lists.train, lists.test), strict=True):
        cell = f"{len(names)} identities"
        if clips:
            number = sum(placed == side for placed in sides.values())
            cell += f", {len(names) - len(gone[side])} with {number} clips"
        cells.append(cell)
    table.add_row(name, entry.split, *cells, str(len(clips) - len(sides)) if clips else "-")
    sealed = "sealed" if lists.sealed else f"no SHA256SUMS: dimitra split seal {entry.split}"
    return f"{entry.split}: digest {lists.digest}, {sealed}"


@app.command("check", help=_CHECK)
def check_command(manifest: Manifest = _MANIFEST, splits: Splits = _SPLITS) -> None:
    """See ``_CHECK``."""
    with _told():
        sets = params.load().datasets.sets
        clips = read_manifest(manifest) if manifest.exists() else []
    if not clips:
        errors.print(
            f"{manifest} is not there: the lists alone are checked, not recordings; run "
            "`python -m pipelines.ingest` first"
        )
    table = Table("dataset", "split", *SIDES, "clips in neither")
    wrong, lines = [], []
    for name, entry in sorted(sets.items()):
        mine = [clip for clip in clips if clip.dataset == name]
        try:
            lines.append(_check_one(name, entry, mine, splits, table))
        except (SplitError, LayoutError) as error:
            wrong.append(f"{name}: {error}")
    console.print(table)
    for line in lines:
        console.print(line, soft_wrap=True)
    for message in wrong:
        errors.print(f"[red]error:[/] {message}", soft_wrap=True)
    if wrong:
        raise typer.Exit(1)


@app.command("seal", help=_SEAL)
def seal_command(
    name: Annotated[str, typer.Argument(metavar="DATASET/VERSION", help="Below splits/.")],
    splits: Splits = _SPLITS,
) -> None:
    """See ``_SEAL``."""
    with _told():
        _seal(splits / name)


@app.command("diff", help=_DIFF)
def diff_command(
    before: Annotated[str, typer.Argument(metavar="A", help="Revision or folder.")],
    after: Annotated[
        str, typer.Argument(metavar="B", help="By default splits/ as it is.")
    ] = "splits",
    manifest: Manifest = _MANIFEST,
    splits: Splits = _SPLITS,
    limit: Annotated[int, typer.Option(min=0, help="Identities named of each kind.")] = 20,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 1 where they differ.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; names all.")] = False,
) -> None:
    """See ``_DIFF``."""
    with _told():
        found = compare_all(read_versions(before, splits), read_versions(after, splits))
        known = extents(read_manifest(manifest)) if manifest.exists() else {}
    if as_json:
        rows = [asdict(one) for one in found]
        typer.echo(json.dumps(rows, indent=2))
    else:
        for one in found:
            print_difference(console, one, known, limit)
        if not known:
            errors.print(f"{manifest} is not there: clips are not counted")
    if exit_code and not all(one.same for one in found):
        raise typer.Exit(1)
