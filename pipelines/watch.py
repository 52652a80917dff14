"""Watch running stages from another terminal: `python -m pipelines.watch`.

It reads the JSON lines that every shard job appends to `<cache>/live/<stage>.jsonl`, and nothing
else: no Ray, no MLflow. `--once` prints the table once, `--json` the last line of every run.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipelines.runtime.mainguard import guarded
from pipelines.runtime.progress import clock
from pipelines.stores.checkout import cache_folder

_TAIL_BYTES = 1_000_000
_SILENT_S = 60.0
"""A stage on another machine that wrote nothing for so long is taken for lost."""
_REFRESH_S = 2.0

Line = dict[str, Any]


def lines_of(path: Path) -> Iterator[Line]:
    """The whole lines at the end of a file; the last is left out while it is being written."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        data = file.read()
    begin = 0 if size <= _TAIL_BYTES else data.find(b"\n") + 1
    for text in data[begin : data.rfind(b"\n") + 1].splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # cut short by a full disk
            continue
        if isinstance(line, dict) and {"run", "stage", "state", "time"} <= line.keys():
            yield line


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def runs(folder: Path) -> list[Line]:
    """Last line of every run in the files' ends, oldest first, with ``age_s`` added.

    A run that says "running" but whose process is gone gets the state "lost".
    """
    now = datetime.now(UTC)
    last: dict[str, Line] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in lines_of(path):
            last[line["run"]] = line
    for line in last.values():
        line["age_s"] = (now - datetime.fromisoformat(line["time"])).total_seconds()
        here = line["host"] == socket.gethostname()
        gone = not _alive(line["pid"]) if here else line["age_s"] > _SILENT_S
        if line["state"] == "running" and gone:
            line["state"] = "lost"
    return sorted(last.values(), key=lambda line: str(line["time"]))


def table_of(lines: list[Line]) -> Table:
    """The runs as a table: `bad` are quarantined clips, `age` is that of the figures."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("stage", "state"):
        table.add_column(title, no_wrap=True)
    for title in ("clips", "shards", "bad", "workers", "died", "clips/s", "left", "age"):
        table.add_column(title, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(
            line["stage"],
            line["state"],
            f"{line['done']}/{line['clips_in']}",
            f"{line['shards_done']}/{line['shards']}",
            str(line["quarantined"]),
            f"{line['workers']} on {line['nodes']}",
            str(line["deaths"]),
            f"{line['clips_per_s']:.1f}",
            clock(line["left_s"]),
            f"{line['age_s']:.0f} s",
        )
    return table


def main() -> None:
    """Print or watch the running stages."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.watch",
        description="Shows the stages that run on this cache: how far, how fast, how long yet.",
    )
    parser.add_argument("--folder", type=Path, help="of the JSON lines (default: <cache>/live)")
    parser.add_argument("--all", action="store_true", help="earlier runs too")
    parser.add_argument("--once", action="store_true", help="print the table once and end")
    parser.add_argument("--json", action="store_true", help="print JSON lines once and end")
    options = parser.parse_args()
    folder = options.folder or cache_folder() / "live"

    def chosen() -> list[Line]:
        return [line for line in runs(folder) if options.all or line["state"] == "running"]

    if options.json:
        sys.stdout.writelines(f"{json.dumps(line)}\n" for line in chosen())
        return
    screen = Console(highlight=False)
    if options.once:
        lines = chosen()
        screen.print(table_of(lines) if lines else f"no stage is running (by {folder})")
        return
    with suppress(KeyboardInterrupt), Live(console=screen, auto_refresh=False) as live:
        while True:
            live.update(table_of(chosen()), refresh=True)
            time.sleep(_REFRESH_S)


if __name__ == "__main__":
    sys.exit(guarded(main, own_arguments=True))
