"""``dimitra animate``: a photo and a recording become a video."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

console = Console(stderr=True, highlight=False)

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM, as shells have it."""


def animate(
    image: Annotated[Path, typer.Option(help="Photo of the person who is to speak.")],
    audio: Annotated[Path, typer.Option(help="Recording of speech, or a video with sound.")],
    out: Annotated[Path, typer.Option(help="The video, .mp4; replaced when the new one is whole.")],
    models: Annotated[
        Path, typer.Option(help="Folder of the trained models; by default the last `dvc repro`'s.")
    ] = Path("models"),
    params: Annotated[
        Path | None,
        typer.Option(help="Their parameters; by default params.yaml in, beside or here."),
    ] = None,
    head_pose: Annotated[
        bool, typer.Option("--head-pose/--no-head-pose", help="Move the head, or hold it still.")
    ] = True,
    expression_scale: Annotated[
        float, typer.Option(help="Livelier (over 1) or calmer (below 1) face; not the mouth.")
    ] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Another one: another motion.")] = None,
    samples: Annotated[int, typer.Option(help="Videos of the same speech: OUT, OUT-2, ...")] = 1,
    size: Annotated[int | None, typer.Option(help="Side of the video, pixels.")] = None,
    transcript: Annotated[
        str | None, typer.Option(help="What is said: a text file, or the words themselves.")
    ] = None,
    renderer: Annotated[
        Literal["mesh", "pirender"] | None, typer.Option(help="By default as in the parameters.")
    ] = None,
    lip_contact: Annotated[
        bool,
        typer.Option(
            "--lip-contact/--no-lip-contact",
            help="Lips meet at p, b and m, or move as the models have generated.",
        ),
    ] = True,
    c2pa_key: Annotated[
        Path | None, typer.Option(help="Sign the video (C2PA): private key, PEM.")
    ] = None,
    c2pa_certificate: Annotated[
        Path | None, typer.Option(help="Certificates of that key, PEM, the signer's first.")
    ] = None,
    c2pa_timestamp: Annotated[
        str | None, typer.Option(help="Address of a time-stamping authority, asked over the net.")
    ] = None,
) -> None:
    """Make the person of a photo speak what a recording says.

    Example: dimitra animate --image me.jpg --audio talk.wav --out talk.mp4
    """
    from dimitra.animation.animate import animate as run
    from dimitra.animation.credentials import given
    from dimitra.animation.errors import AnimationError
    from dimitra.animation.transcript import read_transcript

    logging.basicConfig(level=logging.ERROR)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as after Ctrl-C
    try:
        words = None if transcript is None else read_transcript(transcript)
        with _Bars() as bars:
            made = run(
                image,
                audio,
                out,
                models=models,
                params=params,
                head_pose=head_pose,
                expression_scale=expression_scale,
                seed=seed,
                samples=samples,
                size=size,
                transcript=words,
                renderer=renderer,
                lip_contact=lip_contact,
                credentials=given(c2pa_key, c2pa_certificate, c2pa_timestamp),
                progress=bars.report,
                notify=bars.notify,
            )
    except KeyboardInterrupt:
        console.print("interrupted; nothing was left half written")
        raise typer.Exit(INTERRUPTED) from None
    except (AnimationError, OSError) as error:
        console.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    for video in made.videos:
        typer.echo(str(video))


class _Bars:
    """Progress on the terminal: one bar a step; notices above it."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def report(self, step: str, done: int, total: int) -> None:
        """A step has come so far."""
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=total or None)
        self._progress.update(self._tasks[step], completed=done, total=total or None)

    def notify(self, notice: str) -> None:
        """A sentence for a person."""
        self._progress.console.print(f"[yellow]note:[/] {escape(notice)}", soft_wrap=True)
