"""Jobs one after the other in a worker process, and the files that belong to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dimitra.animation.credentials import Credentials
from dimitra.serve.wishes import Wishes
from dimitra.web.intake import new_token, safe_name
from dimitra.web.refusal import Refusal

MAX_WAITING = 8
MAX_UPLOADS = 32
KEEP_S = 3600.0
"""Uploads and results that nobody has asked for in this time are removed."""
_SWEEP_S = 30.0
_GRACE_S = 3.0
State = Literal["waiting", "working", "done", "failed", "cancelled"]
ENDED = frozenset(("done", "failed", "cancelled"))


@dataclass(eq=False)
class Upload:
    """A file that was sent; ``used`` is when someone last asked for it."""

    file: Path
    used: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class Job:
    """A job and how far it is."""

    token: str
    folder: Path
    name: str
    order: dict[str, Any]
    state: State = "waiting"
    step: str = ""
    done: int = 0
    total: int = 0
    notices: list[str] = field(default_factory=list)
    error: str | None = None
    videos: list[str] = field(default_factory=list)
    text: str = ""
    lip_contact: bool | None = None
    used: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Equipment:
    """What all jobs share: models, their parameters, a signature."""

    models: Path
    params: Path | None = None
    credentials: Credentials | None = None


class Studio:
    """Uploads, the queue, and the worker.

    Args:
        folder: temporary, removed by whoever made it; holds all files.
        equipment: shared by the jobs.
        keep_s: how long files are kept after they were last asked for.
    """

    def __init__(self, folder: Path, equipment: Equipment, keep_s: float = KEEP_S) -> None:
        self._folder, self._equipment, self._keep_s = folder, equipment, keep_s
        self.uploads: dict[str, Upload] = {}
        self.jobs: dict[str, Job] = {}
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._worker: asyncio.subprocess.Process | None = None
        self._scratch: Path | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Start to work."""
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._sweeping())]

    async def close(self) -> None:
        """End the worker and all jobs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._end_worker()

    def place(self, name: str) -> tuple[str, Path]:
        """Token and path of a new upload; messages call the file by its own name.

        Raises:
            Refusal: too many are kept.
        """
        if len(self.uploads) >= MAX_UPLOADS:
            raise Refusal(503, f"{MAX_UPLOADS} files wait already; try again in a few minutes")
        token = new_token()
        folder = self._folder / token
        folder.mkdir()
        self.uploads[token] = Upload(folder / name)  # counts while it comes
        return token, folder / name

    def drop(self, token: str) -> None:
        """Remove an upload."""
        upload = self.uploads.pop(token, None)
        if upload is not None:
            shutil.rmtree(upload.file.parent, ignore_errors=True)

    def upload(self, token: str, what: str) -> Path:
        """An upload's file.

        Raises:
            Refusal: there is none, or it was too long ago.
        """
        upload = self.uploads.get(token)
        if upload is None:
            raise Refusal(404, f"the {what} is not here any more; choose it again")
        upload.used = time.monotonic()
        return upload.file

    def add(self, image: Path, audio: Path, wishes: Wishes) -> Job:
        """Put a job into the queue.

        Raises:
            Refusal: the queue is full.
        """
        waiting = sum(job.state not in ENDED for job in self.jobs.values())
        if waiting >= MAX_WAITING:
            raise Refusal(503, f"{waiting} jobs wait already; try again when one is done")
        token = new_token()
        folder = self._folder / token
        folder.mkdir()
        signing = self._equipment.credentials
        order = {
            "folder": str(folder),
            "image": str(image),
            "audio": str(audio),
            "models": str(self._equipment.models),
            "params": None if self._equipment.params is None else str(self._equipment.params),
            "wishes": wishes.model_dump(),
            "credentials": None
            if signing is None
            else {
                "key": str(signing.key),
                "certificates": str(signing.certificates),
                "url": signing.timestamp_url,
            },
        }
        job = Job(token, folder, safe_name(f"{audio.stem}.mp4", "video.mp4"), order)
        self.jobs[token] = job
        self._queue.put_nowait(job)
        return job

    def job(self, token: str) -> Job:
        """A job by its token.

        Raises:
            Refusal: there is none.
        """
        if token not in self.jobs:
            raise Refusal(404, "this job is not here any more; make the video again")
        job = self.jobs[token]
        job.used = time.monotonic()
        return job

    def ahead(self, job: Job) -> int:
        """Jobs that come before a waiting one."""
        others = [other for other in self.jobs.values() if other.state not in ENDED]
        return others.index(job) if job in others else 0

    async def cancel(self, job: Job) -> None:
        """End a job, whether it waits or is worked on."""
        if job.state in ENDED:
            return
        working = job.state == "working"
        job.state = "cancelled"
        if working:
            await self._end_worker()
        shutil.rmtree(job.folder, ignore_errors=True)

    async def _run(self) -> None:
        while True:
            job = await self._queue.get()
            if job.state != "waiting":
                continue
            job.state = "working"
            try:
                await self._work(job)
            except (OSError, ValueError) as error:
                job.state, job.error = "failed", f"the worker cannot be reached: {error}"
                await self._end_worker()

    async def _work(self, job: Job) -> None:
        if self._worker is None or self._worker.returncode is not None:
            self._worker = await self._new_worker()
        worker = self._worker
        assert worker.stdin is not None  # noqa: S101 - piped
        assert worker.stdout is not None  # noqa: S101 - piped
        worker.stdin.write(json.dumps(job.order).encode() + b"\n")
        await worker.stdin.drain()
        while job.state == "working":
            line = await worker.stdout.readline()
            if not line:
                break
            _apply(job, json.loads(line))
        if job.state == "working":
            code = await worker.wait()
            job.state, job.error = "failed", _ended(code)
            await self._end_worker()  # its helpers and temporary files

    async def _new_worker(self) -> asyncio.subprocess.Process:
        self._scratch = Path(tempfile.mkdtemp(prefix="scratch-", dir=self._folder))
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "dimitra.serve.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"TMPDIR": str(self._scratch)},
            limit=1 << 24,
            start_new_session=True,  # Ctrl-C is the server's; it ends the whole group
        )

    async def _end_worker(self) -> None:
        worker, self._worker, scratch = self._worker, None, self._scratch
        if worker is None:
            return
        for sent in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, sent)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(worker.wait(), _GRACE_S)
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)

    async def _sweeping(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_S, self._keep_s / 2))
            self.sweep()

    def sweep(self) -> None:
        """Remove what nobody has asked for in a while."""
        before = time.monotonic() - self._keep_s
        needed = {
            job.order[key]
            for job in self.jobs.values()
            if job.state not in ENDED
            for key in ("image", "audio")
        }
        for token, upload in list(self.uploads.items()):
            if upload.used < before and str(upload.file) not in needed:
                self.drop(token)
        for token, job in list(self.jobs.items()):
            if job.used < before and job.state in ENDED:
                del self.jobs[token]
                shutil.rmtree(job.folder, ignore_errors=True)


def _apply(job: Job, event: dict[str, Any]) -> None:
    """An event of the worker."""
    match event["kind"]:
        case "step":
            job.step, job.done, job.total = event["step"], event["done"], event["total"]
        case "notice":
            job.notices.append(event["text"])
        case "error":
            job.state, job.error = "failed", event["text"]
        case "done":
            job.videos, job.text = event["videos"], event["text"]
            job.lip_contact, job.state = event["lip_contact"], "done"


def _ended(code: int) -> str:
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return (
        f"the process that made the video ended ({how}); the terminal of `dimitra serve` says "
        "more. With signal 9 the machine had too little memory: try a smaller video"
    )
