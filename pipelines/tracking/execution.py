"""One execution of the pipeline in MLflow: a run above the runs of its stages.

Stages are processes of their own. Those that one ``dvc repro`` starts find each other by its
process: its id and the time it began. A stage that is started by hand is an execution by itself.

The upper run ends as its stages do: it is running while one of them is, and else failed, killed or
finished as the worst of them. So nobody has to know which stage is the last. Runs that stay open
because their machine went down are closed by the next execution on it.
"""

from __future__ import annotations

import hashlib
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from mlflow import MlflowClient

STAGE_VARIABLE = "DVC_STAGE"
"""Set by DVC for what it runs."""
PARENT_TAG = "mlflow.parentRunId"
"""By which MLflow nests runs."""
_NAME_LENGTH = 120
_START_TIME = 19
"""Place of ``starttime`` behind the command in ``/proc/<pid>/stat`` (``man 5 proc``, field 22)."""
_ALL = 1000


@dataclass(frozen=True)
class Execution:
    """What started a stage.

    Attributes:
        key: the same for all stages of an execution, and no other.
        command: of the process that started it, for a person.
    """

    key: str
    command: str


def label(process: psutil.Process) -> str:
    """A process as no other has been: machine, id, and when it began.

    On Linux that is in clock ticks since the machine started: the date of the start, which psutil
    adds to it, moves as the clock is set.
    """
    statistics = Path(f"/proc/{process.pid}/stat")
    try:
        began = statistics.read_text().rpartition(")")[2].split()[_START_TIME]
    except FileNotFoundError:
        began = str(round(process.create_time()))
    return f"{machine()}:{process.pid}:{began}"


def machine() -> str:
    """This machine, told from others of its name that write to the same server."""
    return f"{socket.gethostname()}/{uuid.getnode():012x}"


def _command(process: psutil.Process) -> str:
    """The command line as a person would have typed it."""
    words = process.cmdline()
    if len(words) > 1 and Path(words[0]).name.startswith("python"):
        words = words[1:] if not words[1].startswith("-") else ["python", *words[1:]]
    words = [Path(words[0]).name, *words[1:]] if words else [process.name()]
    return " ".join(words)[:_NAME_LENGTH]


def find_execution(pid: int, stage: str | None) -> Execution:
    """The execution that a stage's process belongs to.

    DVC sets a variable for a stage's processes: the nearest ancestor that has it not, or as that of
    another stage, is the DVC that runs it.

    Args:
        pid: of the process.
        stage: what DVC calls the stage; None where it does not run it.
    """
    try:
        owner = psutil.Process(pid)
        if stage is not None:
            above = (one for one in owner.parents() if one.environ().get(STAGE_VARIABLE) != stage)
            owner = next(above, owner)
        return Execution(_key(label(owner)), _command(owner))
    except psutil.Error:  # another user's process, or one that is gone
        return Execution(_key(f"{machine()}:{pid}"), f"process {pid}")


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class ExecutionRuns:
    """The runs of one execution. Used under ``mlflow_store.one_writer``.

    Args:
        client: of MLflow.
        experiment: its id.
        execution: whose.
    """

    def __init__(self, client: MlflowClient, experiment: str, execution: Execution) -> None:
        self._client = client
        self._experiment = experiment
        self._execution = execution

    def _search(self, condition: str, **options: Any) -> list[Any]:
        return list(
            self._client.search_runs([self._experiment], condition, max_results=_ALL, **options)
        )

    def above(self, tags: Mapping[str, str], time_ms: int | None = None) -> str:
        """Id of the upper run, made with these tags where it is not there yet."""
        key = self._execution.key
        found = self._search(f"tags.execution = '{key}' AND tags.level = 'execution'")
        if found:
            return str(found[0].info.run_id)
        commit = tags.get("git_commit", "")[:7] + ("+" if tags.get("git_dirty") == "true" else "")
        made = self._client.create_run(
            self._experiment,
            start_time=time_ms,
            run_name=f"{commit} {self._execution.command}".strip(),
            tags={
                **tags,
                "execution": key,
                "level": "execution",
                "process": label(psutil.Process()),
            },
        )
        return str(made.info.run_id)

    def stage(self, name: str, parent: str, tags: Mapping[str, str], time_ms: int) -> str:
        """Id of a new run of a stage below ``parent``, begun at ``time_ms`` since the epoch."""
        made = self._client.create_run(
            self._experiment,
            start_time=time_ms,
            run_name=name,
            tags={
                **tags,
                "stage": name,
                "state": "running",
                "execution": self._execution.key,
                "level": "stage",
                "process": label(psutil.Process()),
                PARENT_TAG: parent,
            },
        )
        self._client.update_run(parent, status="RUNNING")
        return str(made.info.run_id)

    def joined(self, name: str, parent: str) -> str | None:
        """Id of the latest run of a stage below ``parent``, which runs again; None without one."""
        found = self._search(
            f"tags.`{PARENT_TAG}` = '{parent}' AND tags.stage = '{name}'",
            order_by=["attributes.start_time DESC"],
        )
        if not found:
            return None
        run_id = str(found[0].info.run_id)
        self._client.set_tag(run_id, "process", label(psutil.Process()))
        for one in (run_id, parent):
            self._client.update_run(one, status="RUNNING")
        return run_id

    def stages(self, parent: str) -> list[Any]:
        """MLflow's runs below an upper run."""
        return self._search(f"tags.`{PARENT_TAG}` = '{parent}'")

    def settle(self, parent: str) -> None:
        """Give an upper run the state that follows from those below it, and the last one's end."""
        below = self.stages(parent)
        states = {run.info.status for run in below}
        if not below or "RUNNING" in states:
            return
        worst = next(state for state in ("FAILED", "KILLED", "FINISHED") if state in states)
        ended_ms = max(run.info.end_time for run in below)
        self._client.set_terminated(parent, worst, ended_ms)

    def sweep(self) -> None:
        """End the runs of this machine whose recording process is gone.

        An execution whose first run could not be made has none below it: it ends as killed.
        """
        here = f"{machine()}:"
        parents = set()
        for run in self._search("attributes.status = 'RUNNING'"):
            process, run_id = run.data.tags.get("process", ""), run.info.run_id
            if not process.startswith(here) or _lives(process):
                continue
            if run.data.tags.get("level") == "stage":
                self._client.set_tag(run_id, "state", "lost")
                self._client.set_terminated(run_id, "KILLED")
                parents.add(run.data.tags[PARENT_TAG])
            elif not self.stages(run_id):
                self._client.set_terminated(run_id, "KILLED")
        for parent in sorted(parents):
            self.settle(parent)


def _lives(process: str) -> bool:
    number = int(process.split(":")[-2])
    try:
        return label(psutil.Process(number)) == process
    except psutil.Error:
        return False
