"""A batch of clips over processes: what kills its process becomes a row, and the rest goes on."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from dimitra.clips import Reason
from dimitra.evaluation.rows import GROUND_TRUTH, Row
from pipelines.foreign_videos import Answer, Settings, Task, measure

Measure = Callable[[Task, Settings], Answer]


def _killed(task: Task) -> Answer:
    """Rows of a task whose process died, alone as well."""
    files = {GROUND_TRUTH: "", **{method: str(path) for method, path in task.generated.items()}}
    message = "the process that measured this clip was killed: out of memory, or a broken decoder"
    return Answer(
        tuple(
            Row(
                clip=task.clip,
                method=method,
                identity=task.identity,
                outcome=Reason.WORKER_KILLED.value,
                message=message,
                reference=str(task.reference),
                generated=file,
            )
            for method, file in files.items()
        ),
        {},
    )


def _round(
    tasks: Sequence[Task], settings: Settings, workers: int, work: Measure
) -> Iterator[tuple[Task, Answer | None]]:
    """Tasks as they are finished; None for those whose pool broke."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(tasks)), mp_context=context)
    try:
        waiting: dict[Future[Answer], Task] = {}
        for task in tasks:
            waiting[pool.submit(work, task, settings)] = task
        for future in as_completed(waiting):
            try:
                yield waiting[future], future.result()
            except BrokenProcessPool:
                yield waiting[future], None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def measure_all(
    tasks: Sequence[Task],
    settings: Settings,
    workers: int,
    done: Callable[[Answer], None] = lambda _: None,
    work: Measure = measure,
) -> list[Answer]:
    """Measure all tasks; answers come in the order of the tasks, whatever the number of workers.

    A dead process takes down those beside it, so what was under way is measured again, each task
    in a process of its own; one that dies there too is ``worker_killed``.

    Args:
        tasks: one for each reference clip.
        settings: what is measured.
        workers: processes; each holds two videos and the networks, about 1 GB.
        done: called after each task.
        work: measures one task; a function of a module, since processes import it.

    Raises:
        AssetError: weights are missing, and others of ``Measurer``.
    """
    answers: dict[str, Answer] = {}

    def keep(task: Task, answer: Answer) -> None:
        answers[task.clip] = answer
        done(answer)

    again: list[Task] = []
    if tasks:
        for task, answer in _round(tasks, settings, workers, work):
            if answer is None:
                again.append(task)
            else:
                keep(task, answer)
    for task in again:
        for _, answer in _round([task], settings, 1, work):
            keep(task, _killed(task) if answer is None else answer)
    return [answers[task.clip] for task in tasks]
