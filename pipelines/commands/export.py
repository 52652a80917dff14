"""``dimitra export-test-split``: the test split as files that other methods read."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import soundfile
import typer
from PIL import Image
from rich.console import Console
from rich.markup import escape

from dimitra.clips import Clip
from dimitra.evaluation.inputs.coefficients import Given
from dimitra.evaluation.inputs.commands import SCRIPT
from dimitra.evaluation.inputs.formats import PARTS, Format
from dimitra.media.audio import decode_flac
from dimitra.media.video import iterate_frames, to_rgb
from dimitra.shards import Members, iterate_shard, write_atomic
from pipelines.commands.export_formats import (
    TABLE,
    Exported,
    check_side,
    check_unedited,
    write_format,
)
from pipelines.errors import ShardError, StageError
from pipelines.evaluation.scores import SPLIT, tested_clips
from pipelines.params import Params, ParamsError, load
from pipelines.runtime.inputs import require_made
from pipelines.stores.work_cache import WorkCache, local_shards

CROPS = Path("data/crops")
MANIFEST = Path("data/manifest/clips.parquet")

app = typer.Typer(subcommand_metavar="", add_completion=False)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def write_clip(clip: Clip, parts: Members, folder: Path) -> None:
    """Write one clip's crop with its sound, its WAV and its first frame.

    Args:
        clip: of the test split.
        parts: ``mp4`` and ``flac`` of its face crop.
        folder: gets ``crops``, ``wav`` and ``first_frame``.

    Raises:
        ClipError: the parts cannot be decoded.
    """
    write_atomic(folder / "crops" / f"{clip.clip_id}.mp4", parts["mp4"])
    # Beside the crop, so that `dimitra evaluate` finds the sound that `evaluate` uses.
    write_atomic(folder / "crops" / f"{clip.clip_id}.flac", parts["flac"])
    samples, rate = decode_flac(parts["flac"])
    sound = io.BytesIO()
    soundfile.write(sound, samples, rate, format="WAV", subtype="PCM_16")
    write_atomic(folder / "wav" / f"{clip.clip_id}.wav", sound.getvalue())
    picture = io.BytesIO()
    Image.fromarray(to_rgb(next(iterate_frames(parts["mp4"])))).save(picture, "PNG")
    write_atomic(folder / "first_frame" / f"{clip.clip_id}.png", picture.getvalue())


def match_table(clips: list[Clip]) -> str:
    """A table for ``dimitra evaluate --match``: who speaks in each clip."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["reference", "identity"])
    writer.writerows([clip.clip_id, f"{clip.dataset}/{clip.identity}"] for clip in clips)
    return text.getvalue()


def export(folder: Path, dataset: str | None, params: Params) -> tuple[list[Clip], list[str]]:
    """Write the test clips of a finished run.

    Args:
        folder: is made; files of the same names are replaced.
        dataset: one of the run's, None for all.
        params: of the run.

    Returns:
        The clips, and the ids of those that have no crop (``data/crops/quarantine.parquet``).

    Raises:
        StageError: a stage has not run, or no clip is tested.
    """
    require_made({MANIFEST: "ingest", SPLIT: "split", CROPS / "balance.json": "crop"})
    wanted = {
        clip.clip_id: clip for clip in tested_clips() if dataset is None or clip.dataset == dataset
    }
    if not wanted:
        raise StageError(
            f"the split tests no clip of {dataset or 'any data set'}; there are "
            f"{', '.join(params.datasets.sets)}"
        )
    for name in ("crops", "wav", "first_frame"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    written = []
    for shard in local_shards(CROPS, WorkCache.of(params.storage.root), set(wanted)):
        for clip_id, parts in iterate_shard(shard, set(wanted)):
            write_clip(wanted[clip_id], parts, folder)
            written.append(wanted[clip_id])
    written.sort(key=lambda clip: clip.clip_id)
    write_atomic(folder / "match.csv", match_table(written).encode())
    return written, sorted(wanted.keys() - {clip.clip_id for clip in written})


def methods_of(names: Sequence[str]) -> list[Format]:
    """The formats that are asked for beside the plain one, each once.

    Raises:
        StageError: there is no such format.
    """
    unknown = sorted(set(names) - PARTS.keys())
    if unknown:
        raise StageError(f"--format {', '.join(unknown)}: there are {', '.join(PARTS)}")
    return [name for name in PARTS if name in names and name != "plain"]


@app.callback(invoke_without_command=True)
def export_command(
    to: Annotated[Path, typer.Option(help="Folder; files of the same names are replaced.")],
    dataset: Annotated[str | None, typer.Option(help="One of the run's; all by default.")] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help=f"Of {', '.join(PARTS)}; repeatable, plain is always there."),
    ] = None,
    motion: Annotated[
        Given,
        typer.Option(help="What StyleTalk and DreamTalk get as style and pose, SadTalker as pose."),
    ] = "first_frame",
) -> None:
    """Write the test split of a finished run as files, so that other methods can be run on it.

    For each clip crops/ID.mp4 and ID.flac, wav/ID.wav (16 kHz), first_frame/ID.png, and match.csv
    with who speaks. Name a method's videos by these ids; `dimitra evaluate` then compares them.
    With --format, a folder of the method's own with its phonemes and coefficients, and commands.sh,
    which makes the videos in the method's checkout. Exit 1 where a method lacks what it needs for
    a clip; all else is written.

    Example: dimitra export-test-split --to test --format sadtalker && dimitra evaluate
    --reference test/crops --match test/match.csv --generated SadTalker=out/sadtalker
    """
    try:
        methods = methods_of(formats or ())
        params = load()
        if methods:
            check_side(params)
            check_unedited(params)
        clips, without = export(to, dataset, params)
        ids = [clip.clip_id for clip in clips]
        exported = [write_format(name, ids, to, params, motion) for name in methods]
    except (OSError, ParamsError, ShardError, StageError) as error:
        errors.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(2) from None
    people = len({(clip.dataset, clip.identity) for clip in clips})
    told = f"{to}: {len(clips)} test clips of {people} people"
    if without:
        told += f"; {len(without)} have no face crop: {', '.join(without)}"
    console.print(escape(told), soft_wrap=True)
    for one in exported:
        _tell(one, to)
    if any(len(one.complete) < len(ids) for one in exported):
        raise typer.Exit(1)


def _tell(one: Exported, to: Path) -> None:
    """What was written in a format, and what was not and why."""
    ready = f"{to / one.method / SCRIPT} runs it on {len(one.complete)} clips"
    nothing = "it cannot be run on these files alone"
    console.print(escape(f"{one.method}: {ready if one.complete else nothing}"), soft_wrap=True)
    for reason in dict.fromkeys(one.refused.values()):
        parts = ", ".join(part for part, own in one.refused.items() if own == reason)
        errors.print(f"[yellow]{one.method}, no {parts}:[/] {escape(reason)}", soft_wrap=True)
    lost = {row.clip for row in one.rows if row.reason and row.part not in one.refused}
    if lost:
        table = to / one.method / TABLE
        errors.print(
            f"[yellow]{one.method}:[/] {len(lost)} clips lack a part: {escape(str(table))}",
            soft_wrap=True,
        )


if __name__ == "__main__":
    app()
