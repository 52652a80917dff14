"""A stage small enough to watch: it reverses a text, and fails in chosen ways on chosen clips."""

import os
import time
from typing import Any

from dimitra.clips import Clip, ClipError, Reason
from dimitra.shards import Members
from pipelines.workers import Worker


def make_worker(params: dict[str, Any]) -> Worker:
    if params.get("refuse"):
        raise RuntimeError("these weights cannot be loaded")

    def work(clip: Clip, parts: Members) -> Members:
        fault = params.get("faults", {}).get(clip.clip_id)
        if fault == "clip_error":
            raise ClipError(Reason.NO_FACE, "0 of 100 frames show a face; at least 80 are needed")
        if fault == "raise":
            raise ZeroDivisionError("an unforeseen error")
        if fault == "exit":
            os._exit(7)
        if fault == "hang":
            time.sleep(600)
        if fault == "disk":
            raise OSError(28, "No space left on device")
        text = parts.get("txt", clip.clip_id.encode())
        return {"reversed.txt": text[::-1], "threads.txt": os.environ["OMP_NUM_THREADS"].encode()}

    return work
