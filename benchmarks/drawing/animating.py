"""Processor time of `dimitra.animate`, with and without what starts with a process.

Run as a module it animates twice in one process and prints the seconds of each step as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
START = "start"


def spent_s() -> float:
    """Processor seconds of this process since its start, and of its children that have ended."""
    own, others = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def speech_of(crops: Path, seconds: float) -> tuple[NDArray[np.float32], int]:
    """Sound of a finished run's clips, one after the other, [N] and its rate.

    Raises:
        ValueError: the shards hold too little.
    """
    from dimitra.media.audio import decode_flac
    from dimitra.shards import iterate_shard

    pieces: list[NDArray[np.float32]] = []
    rate = held = 0
    for shard in sorted(crops.glob("*.tar")):
        for _, parts in iterate_shard(shard):
            samples, rate = decode_flac(parts["flac"])
            pieces.append(samples)
            held += len(samples)
            if held >= seconds * rate:
                return np.concatenate(pieces)[: round(seconds * rate)], rate
    raise ValueError(f"{crops} holds {held / max(rate, 1):.0f} s of sound, not {seconds:g} s")


def animating(root: Path, photo: NDArray[np.uint8], seconds: float) -> list[dict[str, float]]:
    """Seconds of each step of two animations of one process; the first has its start in it.

    Args:
        root: holds models, params.yaml and data/crops of a finished run.
        photo: [H, W, 3].
        seconds: of speech.

    Raises:
        RuntimeError: the command failed, with what it said.
    """
    import soundfile
    from PIL import Image

    samples, rate = speech_of(root / "data" / "crops", seconds)
    with tempfile.TemporaryDirectory(prefix="dimitra-animating-") as scratch:
        folder = Path(scratch)
        Image.fromarray(photo).save(folder / "photo.png")
        soundfile.write(folder / "speech.wav", samples, rate)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.drawing.animating", scratch, str(root.resolve())],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"animate failed: {done.stderr[-2000:]}")
    found: list[dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Animate twice and write the seconds of each step to standard output."""
    folder, root = Path(sys.argv[1]), Path(sys.argv[2])
    rows: list[dict[str, float]] = []
    at = 0.0
    for turn in range(2):
        steps: dict[str, float] = {}
        current = START

        def told(step: str, done: int, whole: int, steps: dict[str, float] = steps) -> None:  # noqa: ARG001
            nonlocal at, current
            if step != current:
                now = spent_s()
                steps[current] = steps.get(current, 0.0) + now - at
                at, current = now, step

        from dimitra.animation.animate import animate

        image, sound = folder / "photo.png", folder / "speech.wav"
        made = animate(image, sound, folder / f"{turn}.mp4", models=root / "models", progress=told)
        told("end", 0, 0)
        rows.append({"video_s": made.frames / 25, **steps})
    sys.stdout.write(json.dumps(rows) + "\n")


if __name__ == "__main__":
    main()
