"""Reads files under a limit on memory: `python -m tests.faults.bounded MEGABYTES FILE...`.

Prints one JSON line a file: the reason of its refusal by `inspect`, by decoding the video and by
decoding the sound (null where nothing was wrong), seconds of processor and growth in megabytes.
The growth counts what all files before have left behind.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from av.error import FFmpegError

from dimitra.clips import ClipError
from dimitra.media.audio import read_audio
from dimitra.media.container import MediaLimits, inspect
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import iterate_frames
from tests.faults.films import hum, noise

LIMITS = MediaLimits(max_duration_s=20.0, max_frames=5000, max_channels=8)


def peak_mb() -> float:
    """Largest resident set; getrusage's would begin with that of the process that started us."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _mapped_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _outcome(read: Callable[[], object]) -> str | None:
    try:
        read()
    except ClipError as error:
        return str(error.reason)
    except (
        FFmpegError,
        MemoryError,
        ValueError,
    ) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _look(path: Path) -> dict[str, str | None]:
    def watch() -> None:
        for _ in iterate_frames(path, limits=LIMITS):
            pass

    return {
        "inspect": _outcome(lambda: inspect(path, LIMITS)),
        "video": _outcome(watch),
        "sound": _outcome(lambda: read_audio(path, limits=LIMITS)),
    }


def main() -> None:
    # Once through all the code, so that the growth is the files' own.
    warm = encode_mp4(noise(30), audio=hum(1.2))
    inspect(warm)
    list(iterate_frames(warm))
    read_audio(warm)
    limit = _mapped_bytes() + int(sys.argv[1]) * 1_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = peak_mb()
    for name in sys.argv[2:]:
        began = time.process_time()
        found = _look(Path(name))
        cost = {"seconds": time.process_time() - began, "growth_mb": peak_mb() - before}
        sys.stdout.write(json.dumps({"file": Path(name).name, **found, **cost}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
