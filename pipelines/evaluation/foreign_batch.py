"""A batch of clips over processes: what kills its process becomes a row, and the rest goes on.

The processes end with the one that started them: at once after Ctrl-C, and by themselves where it
is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from dimitra.clips import Reason
from dimitra.evaluation.definitions import GROUND_TRUTH
from dimitra.evaluation.rows import Row
from dimitra.evaluation.tasks import Answer, Settings, Task
from pipelines.evaluation.foreign_videos import measure

Measure = Callable[[Task, Settings], Answer]


def _killed(task: Task) -> Answer:
    """Rows of a task whose process died, alone as well."""
    files = {GROUND_TRUTH: ""} if task.ground_truth else {}
    files |= {method: str(path) for method, path in task.generated.items()}
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


def _begin() -> None:
    """Let a process of the pool end with its parent, and leave Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)  # the pool's own threads would wait for ever

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes; after any failure what is under way is given up."""
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)
    try:
        yield pool
    except BaseException:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


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
    try:
        with _pool(min(workers, len(queue))) as pool:
            while queue or flying:
                while queue and len(flying) < workers:
                    flying[pool.submit(work, queue[0], settings)] = queue[0]
                    queue.popleft()
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    answer = future.result()
                    keep(flying.pop(future), answer)
    except BrokenProcessPool:
        return list(flying.values())
    return []


def _alone(task: Task, settings: Settings, work: Measure) -> Answer:
    """Measure in a process that nothing else shares."""
    try:
        with _pool(1) as pool:
            return pool.submit(work, task, settings).result()
    except BrokenProcessPool:
        return _killed(task)


def measure_all(
    tasks: Sequence[Task],
    settings: Settings,
    workers: int,
    done: Callable[[Task, Answer], None] = lambda _task, _answer: None,
    work: Measure = measure,
) -> list[Answer]:
    """Measure all tasks; answers come in the order of the tasks, whatever the number of workers.

    A dead process takes down those beside it, so what was under way is measured again, each task
    in a process of its own; one that dies there too is ``worker_killed``.

    Args:
        tasks: one for each reference clip.
        settings: what is measured.
        workers: processes; each holds two videos and the networks, about 1 GB.
        done: called after each task, in this process.
        work: measures one task; a function of a module, since processes import it.

    Raises:
        AssetError: weights are missing, and others of ``Measurer``.
    """
    answers: dict[str, Answer] = {}

    def keep(task: Task, answer: Answer) -> None:
        answers[task.clip] = answer
        done(task, answer)

    queue = deque(tasks)
    while queue:
        for task in _drain(queue, settings, workers, work, keep):
            keep(task, _alone(task, settings, work))
    return [answers[task.clip] for task in tasks]
