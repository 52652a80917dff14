"""Progress of a stage on the terminal: clips done, clips per second, clips quarantined."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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
