"""Stages small enough to watch: they reverse a text, and fail in chosen ways on chosen clips."""

import errno
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from dimitra.assets import asset_path
from dimitra.clips import Clip, ClipError, Reason
from dimitra.shards import Members
from pipelines.runtime import actor
from pipelines.runtime.units import Unit
from pipelines.runtime.workers import Worker

SLEEPS_S = {"hang": 600.0, "slow": 6.0, "slower": 25.0, "drag": 3.5}


def make_worker(params: dict[str, Any]) -> Worker:
    if params.get("refuse"):
        raise RuntimeError("these weights cannot be loaded")
    if params.get("stall"):
        time.sleep(600)
    if "deadly_to_read" in params:
        die_reading(params["deadly_to_read"])

    def work(clip: Clip, parts: Members) -> Members:
        fault = params.get("faults", {}).get(clip.clip_id)
        if fault in ("nothing", "none", "number", "long", "slash"):
            return answer(fault)  # type: ignore[return-value]
        fail(fault)
        text = parts.get("txt", clip.clip_id.encode())
        return {"reversed.txt": text[::-1], "threads.txt": os.environ["OMP_NUM_THREADS"].encode()}

    return work


def die_reading(clip_id: str) -> None:
    """From here on this process dies when it reads a clip's parts, before a worker sees them."""

    def join(unit: Unit) -> Iterator[tuple[Clip, Members]]:
        for clip, parts in actor.join.before(unit):  # type: ignore[attr-defined]
            if clip.clip_id == clip_id:
                os._exit(7)
            yield clip, parts

    join.before = actor.join  # type: ignore[attr-defined]
    actor.join = join


def kill_record() -> None:
    """SIGKILL to the record beside this worker, below the same raylet."""
    for process in psutil.Process().parent().children():
        if " ".join(process.cmdline()).startswith("ray::Record"):
            process.kill()
            process.wait()


def answer(fault: str | None) -> object:
    """Outputs that are none."""
    return {
        "nothing": {},
        "none": None,
        "number": {"a.txt": 3},
        "long": {"a" * 200: b"1"},
        "slash": {"a/b.txt": b"1"},
    }[fault or ""]


def fail(fault: str | None) -> None:
    if fault == "clip_error":
        raise ClipError(Reason.NO_FACE, "0 of 100 frames show a face; at least 80 are needed")
    if fault == "raise":
        raise ZeroDivisionError("an unforeseen error")
    if fault == "name":
        raise ValueError("bad \udcff name")
    if fault == "exit":
        os._exit(7)
    if fault == "disk":
        raise OSError(28, "No space left on device")
    if fault == "read_only":
        raise OSError(errno.EROFS, "Read-only file system")
    if fault == "large":
        raise MemoryError("a terabyte")
    if fault == "big":
        bytearray(3_000_000)
    while fault == "wait" and Path("wait").exists():
        time.sleep(0.1)
    time.sleep(SLEEPS_S.get(fault or "", 0.0))
    if fault == "interrupt":
        raise KeyboardInterrupt
    if fault == "kill_record":
        kill_record()


class Batches:
    """Takes several clips; how many it took is written to ``log``."""

    def __init__(self, params: dict[str, Any]) -> None:
        self._faults = params.get("faults", {})
        self._log = Path(params["log"])
        self._most = params.get("most", 1000)
        self._deadly = params.get("deadly", 1000)
        self._slow = params.get("slow", 1000)
        self._held = params.get("held", 1000)
        self._loaded = 0

    def load(self, clip: Clip, parts: Members) -> bytes:
        if self._loaded >= self._held:
            raise MemoryError(f"{self._loaded} clips are held")
        self._loaded += 1
        if self._faults.get(clip.clip_id) == "unloadable":
            raise ClipError(Reason.DECODE_ERROR, "cannot be decoded")
        return parts["txt"]

    def many(self, clips: Sequence[Clip], loaded: Sequence[bytes]) -> list[Members | ClipError]:
        with self._log.open("a") as log:
            log.write(f"{' '.join(clip.clip_id for clip in clips)}\n")
        self._loaded -= len(clips)
        if len(clips) > self._slow:
            time.sleep(60)
        if len(clips) > self._deadly:
            os._exit(9)
        if len(clips) > self._most:
            raise MemoryError(f"{len(clips)} clips at once")
        for clip in clips:
            fail(self._faults.get(clip.clip_id))
        return [{"reversed.txt": text[::-1]} for text in loaded]


def make_batches(params: dict[str, Any]) -> Batches:
    return Batches(params)


def make_witness(params: dict[str, Any]) -> Worker:
    """Tells where its code, its inputs and its weights lie."""
    import dimitra
    import pipelines

    inputs = Path(params["inputs"]).read_text()

    def work(clip: Clip, parts: Members) -> Members:
        raw = (Path(params["roots"][clip.dataset]) / clip.path).read_bytes()
        told = {
            "raw.txt": raw,
            "text.txt": parts["txt"],
            "inputs.txt": inputs.encode(),
        }
        places = (Path.cwd(), dimitra.__file__, pipelines.__file__, asset_path("dlib_68"))
        with Path(os.environ["DIMITRA_CACHE_DIR"], "places.txt").open("a") as file:
            file.write("".join(f"{place}\n" for place in places))
        return told

    return work


def make_reader(params: dict[str, Any]) -> Worker:
    """Gives the bytes of its weights, and tells where they lie."""
    paths = [asset_path(reference) for reference in params["weights"]]
    files = [
        file for path in paths for file in ([path] if path.is_file() else sorted(path.glob("*")))
    ]

    def work(clip: Clip, parts: Members) -> Members:
        with Path(os.environ["DIMITRA_CACHE_DIR"], "places.txt").open("a") as file:
            file.write("".join(f"{path}\n" for path in paths))
        return {f"{number}.bin": file.read_bytes() for number, file in enumerate(files)}

    return work
