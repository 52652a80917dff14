"""How fast clips are preprocessed, as ratios to floors measured in the same run.

    make bench                                         # or: python benchmarks/preprocess.py
    python benchmarks/preprocess.py --clips 16 --rounds 3 --json preprocess.json
    python benchmarks/preprocess.py --only race        # crop against its floors, a minute
    python benchmarks/preprocess.py --only memory --memory 100 500 2000     # half an hour

Needs the sample's raw videos (`make data`). They are used as they are at 320x320 and written again
at 512x512, at a quality that loses hardly anything. What is measured:

* race: the crop stage, (a) decoding at native size and encoding 256x256 with the same settings,
  and (b) the field's usual loop (benchmarks/preprocessing/floors.py has it written out), in one
  process, turn about on each clip. CPU time: other work on the machine disturbs all three alike.
  Goals: crop at most 2 times (a); (b) at least 3 times crop at 512x512, 1.5 times at 320x320.
* stages: each stage's worker in a process of its own with one thread: seconds of video a
  core-second, clips a core-hour (of these clips' length), and the largest resident memory of the
  process. Loading models is apart. Speech needs a trained aligner (`--aligner`, by default
  models/aligner).
* workers: the crop stage through the real runtime, two workers against one. Wall time, so the
  machine should be idle; the time that a job of one clip a worker takes is taken off, and both
  ratios are shown. Goal: 1.8.
* memory: peak memory of worker, driver and Ray for several numbers of clips of 2 s. Goal: flat.
  Without `--memory` it says that it is left out.
* gpu: clips of 10 s an hour of one GPU through crop, fit and speech, with the stage that takes most
  of the time and how many cores it keeps busy. Goal: 10,000. Without a GPU it says so.

Seconds belong to this machine; the ratios are what is claimed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.preprocessing import footage, runtime, stages  # noqa: E402
from pipelines.runtime.workers import ENVIRONMENT  # noqa: E402

PARTS = ("race", "stages", "workers", "memory", "gpu")
SIDES = (320, 512)
GOALS = {"reencode": {320: 2.0, 512: 2.0}, "frame by frame": {320: 1.5, 512: 3.0}}
console = Console(highlight=False, width=100)


def _apart(*arguments: str) -> Any:
    """A part of this script in a process of its own, one thread a library; what it printed."""
    result = subprocess.run(
        [sys.executable, __file__, "--apart", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, **ENVIRONMENT},
    )
    return json.loads(result.stdout.splitlines()[-1])


def _inside(arguments: Sequence[str]) -> None:
    """What ``_apart`` asked for."""
    what, videos, *rest = arguments
    if what == "race":
        print(json.dumps(stages.race(Path(videos), int(rest[0]))))
    else:
        print(json.dumps(stages.measure(what, Path(videos), Path(rest[0]), Path(rest[1]))))


def race(videos: Mapping[int, Path], rounds: int) -> dict[str, Any]:
    """Crop and its floors at every size."""
    found: dict[str, Any] = {}
    table = Table("frames", "", title="crop against (a) re-encoding and (b) frame by frame")
    for title in ("video s / core-s", "clips / core-h", "to crop", "goal"):
        table.add_column(title, justify="right")
    for side, folder in videos.items():
        rows = _apart("race", str(folder), str(rounds))
        crop = rows["crop"]["core_s"]
        for name, row in rows.items():
            ratio = crop / row["core_s"] if name == "reencode" else row["core_s"] / crop
            row["ratio"] = ratio
            wanted = GOALS.get(name, {}).get(side)
            shown = {"crop": "", "reencode": f"crop {ratio:.2f}x (a)"}.get(
                name, f"crop {ratio:.2f}x faster"
            )
            sign = "<=" if name == "reencode" else ">="
            table.add_row(
                f"{side}x{side}",
                name,
                f"{row['video_s_per_core_s']:.1f}",
                f"{row['clips_per_core_hour']:.0f}",
                shown,
                "" if wanted is None else f"{sign} {wanted}",
            )
        found[str(side)] = rows
    console.print(table)
    return found


def each_stage(videos: Mapping[int, Path], aligner: Path, folder: Path) -> dict[str, Any]:
    """Every stage at every size; after the crop all clips are of one size."""
    found: dict[str, Any] = {}
    table = Table("frames", "stage", title="each stage's worker, one process, one thread")
    for title in ("clips", "video s / core-s", "clips / core-h", "load, core-s", "peak MB"):
        table.add_column(title, justify="right")
    for side, clips in videos.items():
        for stage in stages.STAGES:
            if stage == "speech" and not aligner.exists():
                console.print(
                    f"speech: no {aligner}; run `dvc repro align_train` or give --aligner"
                )
                continue
            if side != SIDES[0] and stage not in ("ingest", "crop"):
                continue
            row = _apart(stage, str(clips), str(folder / str(side)), str(aligner.resolve()))
            found.setdefault(str(side), {})[stage] = row
            table.add_row(
                f"{side}x{side}" if stage in ("ingest", "crop") else "256x256",
                stage,
                f"{row['clips']}" + (f" ({row['refused']} refused)" if row["refused"] else ""),
                f"{row['video_s_per_core_s']:.1f}",
                f"{row['clips_per_core_hour']:.0f}",
                f"{row['load_core_s']:.1f}",
                f"{row['peak_mb']:.0f}",
            )
    console.print(table)
    return found


def two_workers(videos: Path, count: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Two workers against one."""
    row = runtime.workers_row(videos, count, rounds, folder)
    console.print(
        f"crop of {count} clips through the runtime: one worker {row['wall_s']['work 1']:.1f} s, "
        f"two {row['wall_s']['work 2']:.1f} s; a clip {1e3 * row['clip_wall_s'][1]:.0f} and "
        f"{1e3 * row['clip_wall_s'][2]:.0f} ms. "
        f"Two are {row['speedup']:.2f} times one (goal 1.8), {row['speedup_with_start']:.2f} with "
        f"Ray's start, {row['speedup_by_core_time']:.2f} by the workers' core time"
    )
    return row


def memory(videos: Path, counts: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    """Memory over the number of clips."""
    rows = runtime.memory_rows(videos, counts, folder)
    parts = sorted({part for row in rows for part in row["peak_mb"]})
    table = Table("clips of 2 s", title="peak memory of one process, MB; two workers")
    for part in parts:
        table.add_column(part, justify="right")
    for row in rows:
        table.add_row(str(row["clips"]), *(f"{row['peak_mb'].get(part, 0):.0f}" for part in parts))
    console.print(table)
    return rows


def gpu(videos: Path, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Clips of 10 s an hour of a GPU."""
    row = runtime.gpu_row(
        videos,
        options.gpu_clips,
        options.device,
        options.fitters,
        options.aligner.resolve(),
        folder,
    )
    walls = ", ".join(f"{stage} {wall:.0f} s" for stage, wall in row["wall_s"].items())
    console.print(
        f"{row['clips']} clips of 10 s, {row['cores']} cores, {options.device}: {walls}. "
        f"{row['clips_per_gpu_hour']:.0f} clips an hour in crop, fit and speech (goal 10,000). "
        f"The bottleneck is {row['bottleneck']}: {row['bottleneck_share']:.0%} of the time, "
        f"{row['bottleneck_busy_cores']:.1f} cores busy"
    )
    return row


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="these parts alone")
    parser.add_argument("--videos", type=Path, default=Path("datasets/chorus"), help="raw videos")
    parser.add_argument("--clips", type=int, default=8, help="of them, for race and stages")
    parser.add_argument("--rounds", type=int, default=2, help="of the race and of the workers")
    parser.add_argument("--aligner", type=Path, default=Path("models/aligner"))
    parser.add_argument("--worker-clips", type=int, default=160, help="for the workers")
    parser.add_argument(
        "--memory",
        type=int,
        nargs="+",
        default=[],
        help="numbers of clips (default: none)",
    )
    parser.add_argument("--gpu-clips", type=int, default=400, help="for the GPU")
    parser.add_argument("--device", default="cuda", help="of the fit, for the GPU's part")
    parser.add_argument("--fitters", type=int, default=4, help="fit workers that share the GPU")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    parser.add_argument("--apart", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser.parse_args()


def _has(device: str) -> bool:
    import torch

    return device != "cuda" or torch.cuda.is_available()


def main() -> None:
    """Measure and print."""
    options = _options()
    if options.apart:
        _inside(options.apart)
        return
    parts = options.only or PARTS
    sources = footage.originals(options.videos, options.clips)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="dimitra-preprocess-") as name:
        folder = Path(name)
        videos = {side: folder / "videos" / str(side) for side in SIDES}
        if {"race", "stages", "workers"} & set(parts):
            for side, place in videos.items():
                footage.make(place, sources, side)
        if "race" in parts:
            found["race"] = race(videos, options.rounds)
        if "stages" in parts:
            found["stages"] = each_stage(videos, options.aligner, folder / "parts")
        if "workers" in parts:
            found["workers"] = two_workers(
                videos[SIDES[0]], options.worker_clips, options.rounds, folder / "runtime"
            )
        if "memory" in parts and options.memory:
            short = folder / "videos" / "short"
            footage.make(short, sources, SIDES[0], 2.0)
            found["memory"] = memory(short, options.memory, folder / "runtime")
        elif "memory" in parts:
            console.print("memory: not measured; it needs --memory COUNT ... (half an hour)")
        if "gpu" in parts and _has(options.device) and options.aligner.exists():
            long = folder / "videos" / "long"
            footage.make(long, sources, SIDES[0], 10.0)
            found["gpu"] = gpu(long, options, folder / "runtime")
        elif "gpu" in parts:
            console.print("gpu: not measured; it needs a GPU that torch sees, and --aligner")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
