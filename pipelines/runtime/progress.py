"""Progress of a stage on the terminal: clips, shards, rate, quarantine, time left."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

console = Console(stderr=True, highlight=False)

PLAIN_EVERY_S = 30.0
"""Seconds between two lines where the output is not a terminal."""


@dataclass(frozen=True)
class Figures:
    """Where a stage stands.

    Attributes:
        stage: ``crop``.
        clips_in: clips of the stage.
        done: clips that are finished, the cached and the quarantined among them.
        quarantined: of those, how many went to quarantine.
        shards: shards of the stage.
        shards_done: shards that are finished, the cached among them.
        shards_cached: shards that came from the work cache.
        workers: actors at work.
        nodes: machines that they are on.
        deaths: workers that died so far.
        elapsed_s: seconds since the stage began.
        clips_per_s: rate of the last half minute, without the clips from the cache.
        left_s: seconds to the end at that rate; None before there is a rate.
    """

    stage: str
    clips_in: int
    done: int
    quarantined: int
    shards: int
    shards_done: int
    shards_cached: int
    workers: int
    nodes: int
    deaths: int
    elapsed_s: float
    clips_per_s: float
    left_s: float | None


def clock(seconds: float | None) -> str:
    """``3725.2`` -> ``1:02:05``, None -> ``-:--:--``."""
    return "-:--:--" if seconds is None else str(timedelta(seconds=math.ceil(seconds)))


def line_of(figures: Figures) -> str:
    """The figures in one plain line."""
    share = 100 * figures.done / figures.clips_in if figures.clips_in else 100.0
    cached = f" ({figures.shards_cached:,} from the cache)" if figures.shards_cached else ""
    deaths = f", {figures.deaths:,} workers died" if figures.deaths else ""
    return (
        f"{figures.stage}: {figures.done:,} of {figures.clips_in:,} clips ({share:.1f} %), "
        f"{figures.shards_done:,} of {figures.shards:,} shards{cached}, "
        f"{figures.quarantined:,} quarantined{deaths}, {figures.clips_per_s:.1f} clips/s on "
        f"{figures.workers} workers, {clock(figures.elapsed_s)} gone, {clock(figures.left_s)} left"
    )


class StageBar:
    """What a person sees of a running stage: a bar, or a line now and then.

    Args:
        screen: where to; standard error by default.
    """

    def __init__(self, screen: Console = console) -> None:
        self._screen = screen
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rest]}"),
        )
        self._progress = Progress(
            *columns, console=screen, disable=not screen.is_terminal, refresh_per_second=4
        )
        self._task: TaskID | None = None
        self._next_line_s = 0.0

    def announce(self, stage: str, dashboard: str) -> None:
        """Print the address of Ray's dashboard, above the bar."""
        self._screen.print(f"{stage}: Ray's dashboard is at {dashboard}", soft_wrap=True)

    def begin(self, stage: str, clips_in: int) -> None:
        """Show the empty bar."""
        self._task = self._progress.add_task(stage, total=clips_in, rest="")
        self._progress.start()
        self._next_line_s = time.monotonic() + PLAIN_EVERY_S

    def show(self, figures: Figures) -> None:
        """Move the bar, or print a line if the last one is old."""
        if self._task is None:
            return
        deaths = f" {figures.deaths} died" if figures.deaths else ""
        rest = (
            f"{figures.shards_done}/{figures.shards} shards {figures.clips_per_s:.1f}/s "
            f"{figures.quarantined} quarantined{deaths} {clock(figures.left_s)} left"
        )
        self._progress.update(self._task, completed=figures.done, rest=rest)
        if not self._screen.is_terminal and time.monotonic() >= self._next_line_s:
            self._screen.print(line_of(figures), soft_wrap=True)
            self._next_line_s = time.monotonic() + PLAIN_EVERY_S

    def end(self) -> None:
        """Leave the bar as it stands."""
        self._progress.stop()


class _Rate(ProgressColumn):
    """Clips per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0.0:.1f} clips/s")


@dataclass(frozen=True)
class Bar:
    """A running progress bar."""

    progress: Progress
    task: TaskID

    def update(self, done: int, quarantined: int) -> None:
        """Show that ``done`` clips are finished, ``quarantined`` of them quarantined."""
        self.progress.update(self.task, completed=done, quarantined=quarantined)


@contextmanager
def progress_bar(stage: str, total: int) -> Iterator[Bar]:
    """A bar over ``total`` clips; silent where the output is not a terminal."""
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TextColumn("{task.fields[quarantined]} quarantined"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield Bar(progress, progress.add_task(stage, total=total, quarantined=0))
