"""A stage of many shards of one tiny clip each, which does little but publish.

``python -m tests.chaos.tiny``
"""

from __future__ import annotations

import sys
from pathlib import Path

from dimitra.clips import Clip
from pipelines.params import RayParams
from pipelines.runtime.jobs import Job, run, units_of
from pipelines.runtime.mainguard import guarded
from tests.chaos.clone import WORKERS

SHARDS = 240
OUTPUT = Path("data/tiny")


def clip(number: int) -> Clip:
    """The only clip of a shard."""
    return Clip(
        clip_id=f"tiny-{number:03d}",
        dataset="tiny",
        identity=f"id{number:03d}",
        source_video=f"v{number:03d}",
        path=f"{number:03d}.mp4",
        audio_path=None,
        sha256=f"{number:064x}",
        start_s=0.0,
        end_s=None,
        duration_s=1.0,
        fps=25.0,
        width=64,
        height=64,
        transcript=None,
        shard=number,
    )


def main() -> None:
    """Run the stage; every 20th clip goes to quarantine."""
    faults = {clip(number).clip_id: "clip_error" for number in range(0, SHARDS, 20)}
    run(
        Job(
            stage="tiny",
            worker="tests.pipelines.toy_worker:make_worker",
            params={"faults": faults},
            units=units_of([clip(number) for number in range(SHARDS)], []),
            output=OUTPUT,
            budget=1.0,
            deadline_s=60.0,
        ),
        RayParams(workers=WORKERS),
    )


if __name__ == "__main__":
    sys.exit(guarded(main))
