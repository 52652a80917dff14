"""A training shared by several processes, through Ray Train.

The processes report what happens to the driver through a queue; saved states and the final weights
go through the storage. A process or a node that is lost ends the round; Ray Train starts another,
which goes on from the last saved state.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from dimitra.cmdt.dataset import BadClipError
from dimitra.cmdt.peers import Group
from dimitra.cmdt.resume import StepRecord
from dimitra.cmdt.training import TrainingDivergedError
from dimitra.learning.pace import StepTiming
from dimitra.learning.state import TrainingState
from pipelines.errors import StageError
from pipelines.runtime.connection import connect
from pipelines.stores.checkout import cache_folder
from pipelines.training.share import Plan, train_share

ROUNDS = 4
"""How often a round may be lost before the training is given up."""
_WAIT_S = 0.2


@dataclass(frozen=True)
class Listener:
    """The driver's answers to what the first process reports.

    Attributes:
        on_step: a step was done.
        on_resume: a round goes on after so many steps.
        on_state: a state was saved after so many steps.
    """

    on_step: Callable[[StepRecord, StepTiming], None]
    on_resume: Callable[[int], None]
    on_state: Callable[[int], None]


def _process(settings: dict[str, Any]) -> None:
    """One process of a round; runs on a worker of Ray Train."""
    import os

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    plan: Plan = settings["plan"]
    queue = settings["queue"]
    peers = Group.joined()
    first = peers.rank == 0

    def say(*event: object) -> None:
        if first:
            queue.put(event)

    try:
        train_share(
            plan,
            peers,
            lambda record, timing: say("step", record, timing),
            lambda steps: say("resume", steps),
            lambda state: say("state", state.steps),
        )
    except TrainingDivergedError as error:
        # Another round would end the same way, so this one ends well, with a word to the driver.
        queue.put(("diverged", str(error), error.own))
    except StageError as error:
        queue.put(("refused", str(error)))
    except BadClipError as error:
        queue.put(("refused", str(error)))
        raise  # the others wait for this one's share


def train_group(plan: Plan, listener: Listener) -> TrainingState[StepRecord]:
    """Train a part with ``train.workers`` processes.

    Args:
        plan: what to train.
        listener: is told what happens, in this process.

    Returns:
        The state after the last step.

    Raises:
        StageError: the training diverged, cannot run there, or too many rounds were lost.
        JobError: no Ray.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.util.queue import Queue

    params = plan.params
    section = params.train
    on_gpu = section.device == "cuda"
    shared = plan.states.storage.is_local
    runs = cache_folder() / "ray-train"
    with ExitStack() as stack:
        cpus = section.workers * section.threads + 1
        connect(stack, "train", params.ray, cpus, "pipelines.training.group", shared=shared)
        queue: Any = Queue(actor_options={"num_cpus": 0})
        faults: list[tuple[object, ...]] = []
        done = threading.Event()
        thread = threading.Thread(target=_listen, args=(queue, listener, faults, done), daemon=True)
        thread.start()
        trainer = TorchTrainer(
            _process,
            train_loop_config={"plan": plan, "queue": queue},
            torch_config=TorchConfig(backend="nccl" if on_gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=section.workers,
                use_gpu=on_gpu,
                resources_per_worker={"CPU": section.threads, **({"GPU": 1} if on_gpu else {})},
            ),
            run_config=RunConfig(
                name=f"{plan.part}-{plan.key[:16]}",
                storage_path=str(runs) if shared else f"{plan.root}/ray-train",
                failure_config=FailureConfig(max_failures=ROUNDS - 1),
            ),
        )
        lost: TrainingFailedError | None = None
        try:
            trainer.fit()
        except TrainingFailedError as error:
            lost = error
        finally:
            done.set()
            thread.join()
            if shared:
                shutil.rmtree(runs / f"{plan.part}-{plan.key[:16]}", ignore_errors=True)
    _raise_faults(plan, faults)
    if lost is not None:
        raise StageError(
            f"training of {plan.part}: {ROUNDS} rounds were lost, the last to {lost}. The next run "
            "goes on from the last saved state"
        ) from lost
    state = plan.states.latest()
    if state is None or state.steps != plan.config.steps:
        raise StageError(
            f"training of {plan.part} ended without its last state; run the stage again"
        )
    return state


def _listen(
    queue: Any, listener: Listener, faults: list[tuple[object, ...]], done: threading.Event
) -> None:
    """Hand events on until the queue is empty after the end."""
    from ray.util.queue import Empty

    while True:
        ended = done.is_set()
        try:
            kind, *values = queue.get(timeout=_WAIT_S)
        except Empty:
            if ended:
                return
            continue
        if kind == "step":
            listener.on_step(*values)
        elif kind == "resume":
            listener.on_resume(*values)
        elif kind == "state":
            listener.on_state(*values)
        else:
            faults.append((kind, *values))


def _raise_faults(plan: Plan, faults: list[tuple[object, ...]]) -> None:
    refused = [fault for fault in faults if fault[0] == "refused"]
    if refused:
        raise StageError(f"training of {plan.part}: {refused[0][1]}")
    # The process whose own windows hold the bad values names the clips.
    diverged = sorted((f for f in faults if f[0] == "diverged"), key=lambda f: not f[2])
    if diverged:
        raise StageError(f"training of {plan.part}: {diverged[0][1]}")
