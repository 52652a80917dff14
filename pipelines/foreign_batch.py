"""A batch of clips over processes: what kills its process becomes a row, and the rest goes on."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
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


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _drain(
    queue: deque[Task],
    settings: Settings,
    workers: int,
    work: Measure,
    keep: Callable[[Task, Answer], None],
) -> list[Task]:
    """Measure until the queue is empty or a process dies; then, what was under way.

    No more is handed out than there are processes, so that few tasks are under suspicion.
    """
    flying: dict[Future[Answer], Task] = {}
    pool = _pool(min(workers, len(queue)))
    try:
        while queue or flying:
            while queue and len(flying) < workers:
                flying[pool.submit(work, queue[0], settings)] = queue[0]
                queue.popleft()
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                answer = future.result()
                keep(flying.pop(future), answer)
    except BrokenProcessPool:
        return list(flying.values())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return []


def _alone(task: Task, settings: Settings, work: Measure) -> Answer:
    """Measure in a process that nothing else shares."""
    with _pool(1) as pool:
        try:
            return pool.submit(work, task, settings).result()
        except BrokenProcessPool:
            return _killed(task)


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

    queue = deque(tasks)
    while queue:
        for task in _drain(queue, settings, workers, work, keep):
            keep(task, _alone(task, settings, work))
    return [answers[task.clip] for task in tasks]
