"""What evaluation costs: videos per core-hour of each metric, start-up apart, and the statistics.

    python benchmarks/evaluate.py --root RUN      # test clips and SyncNet of a finished run
    python benchmarks/evaluate.py                 # this folder's run, else the committed corpus

A clip is a true video with two generated ones, measured as `dimitra evaluate` does, and as the
stage `evaluate` does, which calls the same functions: once with every metric, and once with each
alone. Without a run the generated videos are the corpus's own, encoded more coarsely, and SyncNet's
weights are drawn: what a video costs does not depend on what it shows, or on weights.

* start: the imports of a worker, in a process of its own, and the loading of networks. Once a
  worker.
* of each metric: processor seconds of the first video of a clip, in which the true one is decoded
  and searched for landmarks too, and of a second video, which finds that done. `videos per
  core-hour` is of clips with one video, as with one `--generated`; `times real time` is that as
  seconds of generated video a second.
* steps: what a video goes through. `landmarks` decodes and runs dlib; `distances` is F-LMD and
  M-LMD of both fits, with and without alignment.
* statistics: means, both intervals, and the paired tests of two methods, for as many clips as the
  paper's HDTF table has (HDTF_CLIPS) and ten columns.

Times are the processor's of this process (`time.process_time`), one thread, so that other work on
the machine counts little; the first clip is measured once before, uncounted.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.evaluating import clips  # noqa: E402
from dimitra.evaluation.columns import landmark_values, picture_values  # noqa: E402
from dimitra.evaluation.definitions import COLUMNS, GROUPS, PICTURE_KEYS  # noqa: E402
from dimitra.evaluation.film import Film, read_file  # noqa: E402
from dimitra.evaluation.rows import MEASURED, Row  # noqa: E402
from dimitra.evaluation.summary import numbers  # noqa: E402
from dimitra.evaluation.tasks import Settings, Task  # noqa: E402
from dimitra.media.audio import read_audio  # noqa: E402
from dimitra.media.video import FPS, iterate_frames  # noqa: E402
from dimitra.metrics.summary import ClipValue  # noqa: E402
from dimitra.sync import compact  # noqa: E402
from dimitra.sync.compact import CompactConfig, CompactSyncNet  # noqa: E402
from dimitra.sync.evaluator import SyncEvaluator, score_of  # noqa: E402
from pipelines.evaluate import dlib_finder, track_faces  # noqa: E402
from pipelines.evaluation.foreign_videos import Measurer  # noqa: E402

CONSOLE = Console(width=110)
LABELS = {
    "lmd": "F-LMD and M-LMD",
    "sync": "SyncNet",
    "psnr": "PSNR",
    "ssim": "SSIM",
}
HDTF_CLIPS = 100
"""Clips of the table whose statistics are timed."""
PEOPLE = 40


def spent(work: Callable[[], object]) -> float:
    """Processor seconds of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def imports_s() -> float:
    """Processor seconds in which a fresh interpreter imports what a worker does."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", "import pipelines.evaluation.foreign_videos"]
    subprocess.run(command, cwd=ROOT, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass(frozen=True)
class Cost:
    """Of one metric, or of all: processor seconds a clip.

    Attributes:
        load: of its networks, once a worker.
        first: of a clip with one generated video.
        second: what another video of the clip adds.
    """

    load: float
    first: float
    second: float


def cost_of(settings: Settings, tasks: Sequence[Task]) -> Cost:
    """Measure clips with one and with two videos.

    Raises:
        RuntimeError: a video could not be measured, so that its time says nothing.
    """
    began = time.process_time()
    measurer = Measurer(settings)
    load = time.process_time() - began

    def measure(task: Task) -> None:
        for row in measurer(task).rows:
            if row.outcome != MEASURED:
                raise RuntimeError(f"{task.clip}, {row.method}: {row.outcome}: {row.message}")

    def one(task: Task) -> Task:
        name = clips.METHODS[0]
        return replace(task, generated={name: task.generated[name]})

    measure(one(tasks[0]))

    def measure_all(chosen: Sequence[Task]) -> None:
        for task in chosen:
            measure(task)

    first = spent(lambda: measure_all([one(task) for task in tasks]))
    both = spent(lambda: measure_all(tasks))
    return Cost(load, first / len(tasks), (both - first) / len(tasks))


class Stopwatch:
    """Processor seconds by step, added up."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Count the block for a step."""
        began = time.process_time()
        yield
        self.spent[step] = self.spent.get(step, 0.0) + time.process_time() - began


def steps_of(settings: Settings, tasks: Sequence[Task]) -> dict[str, float]:
    """Processor seconds of each step of a generated video."""
    find = dlib_finder()
    evaluator = SyncEvaluator(compact.load(Path(settings.weights)), settings.region)
    watch = Stopwatch()
    for task in tasks:
        data, true_data = (
            read_file(path) for path in (task.generated[clips.METHODS[0]], task.reference)
        )
        with watch("landmarks"):
            made = Film("generated", data, track_faces(data, find))
        true = Film("reference", true_data, track_faces(true_data, find))
        count = min(len(made.track.found), len(true.track.found))
        with watch("distances"):
            landmark_values(made.first(count), true.first(count), settings.max_reference_missed)
        samples = read_audio(read_file(task.sound or task.reference))
        with watch("SyncNet, sound"):
            sound = evaluator.sound(samples, len(true.track.found))
        with watch("SyncNet, lips"):
            lips = evaluator.lips(made.frames(), made.track.points, made.track.found)
        with watch("SyncNet, offsets"):
            score_of(lips, sound)
        for key in PICTURE_KEYS:
            with watch(LABELS[key]):
                picture_values(made, true, [key])
    return {step: taken / len(tasks) for step, taken in watch.spent.items()}


def statistics_s(count: int, people: int) -> float:
    """Processor seconds of the statistics of a table of two methods."""
    rng = np.random.default_rng(0)
    rows = [
        Row(
            f"c{clip}",
            method,
            f"p{clip % people}",
            MEASURED,
            values={column.key: ClipValue(float(rng.normal())) for column in COLUMNS},
        )
        for clip in range(count)
        for method in clips.METHODS
    ]
    return spent(lambda: numbers(rows, clips.METHODS, 0))


def show(tasks: Sequence[Task], weights: Path) -> None:
    """Measure and print."""
    settings = Settings(tuple(GROUPS), 1.0, network="trained", weights=str(weights))
    frames = [sum(1 for _ in iterate_frames(task.reference)) for task in tasks]
    seconds = sum(frames) / FPS / len(tasks)
    costs = {
        label: cost_of(replace(settings, groups=(key,)), tasks) for key, label in LABELS.items()
    }
    costs["all"] = cost_of(settings, tasks)
    table = Table(
        *("metric", "first video, s", "second, s", "videos per core-hour", "times real time"),
        title=f"{len(tasks)} clips of {seconds:.1f} s on average, one thread, processor time",
    )
    for label, cost in costs.items():
        table.add_row(
            label,
            f"{cost.first:.2f}",
            f"{cost.second:.2f}",
            f"{3600 / cost.first:,.0f}",
            f"{seconds / cost.first:.2f}",
        )
    CONSOLE.print(table)
    steps = Table(*("step", "s a video", "videos per core-hour"), title="Steps of one video")
    for name, taken in steps_of(settings, tasks).items():
        steps.add_row(name, f"{taken:.3f}", f"{3600 / taken:,.0f}")
    CONSOLE.print(steps)
    CONSOLE.print(
        f"start of a worker: {imports_s():.1f} s of imports, {costs['all'].load:.2f} s of loading; "
        f"statistics of {HDTF_CLIPS} clips of {PEOPLE} people, 2 methods, {len(COLUMNS)} columns: "
        f"{statistics_s(HDTF_CLIPS, PEOPLE):.1f} s"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, help="folder of a finished run")
    parser.add_argument("--clips", type=int, default=2, help="clips, from the first shards on")
    options = parser.parse_args(arguments)
    root = options.root or Path()
    if options.root is not None and not clips.has_run(root):
        sys.stderr.write(f"{root / 'data' / 'videos'} holds no videos: name --root of a run\n")
        return 1
    if options.clips < 1:
        sys.stderr.write(f"--clips {options.clips}: at least 1\n")
        return 1
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if clips.has_run(root):
            CONSOLE.print("videos and SyncNet of a run")
            show(clips.of_run(root, options.clips, folder), root / "evaluators" / "sync")
        else:
            CONSOLE.print("no run here: the committed corpus, SyncNet with drawn weights")
            torch.manual_seed(0)
            compact.save(folder / "sync", CompactSyncNet(CompactConfig()).eval(), {})
            show(clips.of_corpus(options.clips, folder), folder / "sync")
    return 0


if __name__ == "__main__":
    sys.exit(main())
