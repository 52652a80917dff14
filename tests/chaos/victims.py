"""Stages as processes of their own, the processes of their Ray, and ways to end them."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil
from ray.cluster_utils import Cluster

from tests.chaos.clone import WORKERS, Clone

PATIENCE_S = 120.0
"""Longest wait for a condition, on a busy machine."""
LEFTOVERS_S = 30.0
"""Actors, raylet and controller of a killed driver have ended by themselves after this long,"""
STRAGGLERS_S = 90.0
"""and the rest of its Ray after this long: agents and workers that had just been started look for
the controller, which died with the driver, for a minute."""
ACTORS = ("ray::ShardActor", "ray::Record")
SERVERS = ("/raylet/raylet", "/gcs/gcs_server")
BUSY = "ray::ShardActor.run"


def until(condition: Callable[[], bool], what: str, limit_s: float = PATIENCE_S) -> None:
    """Wait for a condition."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not after {limit_s:g} s"
        time.sleep(0.01)


def title(process: psutil.Process) -> str:
    """What a process calls itself; empty once it has ended."""
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:
        return ""


def below(process: int) -> list[psutil.Process]:
    """All processes below one."""
    try:
        return psutil.Process(process).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that ended and that nobody has asked for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def check_end(processes: Sequence[psutil.Process], limit_s: float) -> None:
    """Processes end by themselves in time."""
    names = {process.pid: title(process) for process in processes if alive(process)}
    until(lambda: not any(alive(process) for process in processes), f"end of {names}", limit_s)


def end(processes: Sequence[psutil.Process]) -> None:
    """Kill what a failed test left behind."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


@dataclass(eq=False)
class Stragglers:
    """What Ray leaves of killed drivers for a minute; looked at last, so that no test waits."""

    _taken: list[tuple[float, psutil.Process]] = field(default_factory=list)

    def take(self, processes: Sequence[psutil.Process]) -> None:
        """Note processes of a driver that has just been killed."""
        self._taken += [(time.monotonic(), process) for process in processes]

    def check_end(self) -> None:
        """Those whose time is up have ended."""
        late = time.monotonic() - STRAGGLERS_S
        old = [process for taken, process in self._taken if taken < late]
        assert not [title(process) for process in old if alive(process)]


@dataclass(eq=False)
class Nodes:
    """A cluster whose head holds drivers alone, and ``WORKERS`` nodes of one worker each."""

    hook: Path
    cluster: Cluster = field(init=False)

    def __post_init__(self) -> None:
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self.complete()

    def complete(self) -> None:
        """Put nodes in the place of those that were lost."""
        while len(self.cluster.worker_nodes) < WORKERS:
            self.cluster.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(self.hook)})

    def by_raylet(self) -> dict[int, Any]:
        """Nodes by the process id of their raylet."""
        found = {}
        for node in self.cluster.worker_nodes:
            (raylet,) = node.all_processes["raylet"]
            found[raylet.process.pid] = node
        return found

    def workers(self) -> list[psutil.Process]:
        """Actors on all nodes, the head's too."""
        (head,) = self.cluster.head_node.all_processes["raylet"]
        raylets = [head.process.pid, *self.by_raylet()]
        processes = [process for raylet in raylets for process in below(raylet)]
        return [process for process in processes if title(process).startswith(ACTORS)]


@dataclass(eq=False)
class Driver:
    """A stage that runs.

    Args:
        clone: where.
        module: ``pipelines.crop``.
        log: file for what it prints.
        nodes: of the cluster that it runs on; None for a Ray of its own.
    """

    clone: Clone
    module: str
    log: Path
    nodes: Nodes | None = None
    process: subprocess.Popen[bytes] = field(init=False)
    leftovers: list[psutil.Process] = field(default_factory=list)
    _file: IO[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._file = self.log.open("wb")
        address = self.nodes.cluster.address if self.nodes is not None else None
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.module],
            cwd=self.clone.folder,
            env=self.clone.environment(address),
            stdout=self._file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *exc: object) -> None:
        end([*self.leftovers, *below(self.process.pid)])
        self.process.kill()
        self.process.wait()
        self._file.close()

    @property
    def output(self) -> str:
        """What it has printed."""
        return self.log.read_text()

    def processes(self) -> list[psutil.Process]:
        """Processes that must not outlive it."""
        return below(self.process.pid) if self.nodes is None else self.nodes.workers()

    def busy(self) -> list[psutil.Process]:
        """Workers that are at a shard, oldest first."""
        found = [process for process in self.processes() if title(process) == BUSY]
        return sorted(found, key=lambda process: process.pid)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition while the stage runs."""

        def met() -> bool:
            assert self.process.poll() is None, f"ended before {what}:\n{self.output[-4000:]}"
            return condition()

        try:
            until(met, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output[-4000:]}") from None

    def until_at_work(self, records: int) -> None:
        """Wait until the cache holds so many records and a worker is at a shard."""
        self.until(
            lambda: len(self.clone.record_paths()) >= records and bool(self.busy()),
            f"{records} records with a worker at a shard",
        )

    def kill_worker(self, chance: random.Random) -> None:
        """SIGKILL a worker that is at a shard."""
        victim: list[psutil.Process] = []

        def hit() -> bool:
            busy = self.busy()
            if busy:
                victim.append(chance.choice(busy))
                victim[0].send_signal(signal.SIGKILL)
            return bool(busy)

        self.until(hit, "a worker at a shard")
        until(lambda: not alive(victim[0]), "the death of a worker")

    def kill_node(self, chance: random.Random) -> None:
        """SIGKILL all that Ray started on a node that has a worker at a shard."""
        assert self.nodes is not None
        nodes = self.nodes

        def hit() -> bool:
            parents = {process.ppid() for process in self.busy()}
            busy = [node for raylet, node in sorted(nodes.by_raylet().items()) if raylet in parents]
            if busy:
                nodes.cluster.remove_node(chance.choice(busy), allow_graceful=False)
            return bool(busy)

        self.until(hit, "a node with a worker at a shard")

    def kill(self) -> None:
        """SIGKILL the driver alone; its processes are ``leftovers``."""
        self.leftovers = self.processes()
        self.process.kill()
        self.process.wait()

    def check_leftovers_end(self) -> list[psutil.Process]:
        """A killed driver's actors, raylet and controller end; returns what else still runs."""
        quick, slow = [], []
        for process in self.leftovers:
            name = title(process)
            is_server = any(server in name for server in SERVERS)
            (quick if name.startswith(ACTORS) or is_server else slow).append(process)
        check_end(quick, LEFTOVERS_S)
        self.leftovers = []
        return [process for process in slow if alive(process)]

    def finish(self) -> str:
        """Wait until the stage has finished; returns what it printed."""
        code = self.process.wait(PATIENCE_S)
        assert code == 0, f"exit code {code}:\n{self.output[-4000:]}"
        return self.output
