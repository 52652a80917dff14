"""What the motion model costs and how well it samples; numbers side by side from one run.

    python benchmarks/cmdt.py                                    # all but settings; gpu on a GPU
    python benchmarks/cmdt.py --only attention blocks            # half an hour on two cores
    python benchmarks/cmdt.py --only quality seams loading       # after `make repro`
    python benchmarks/cmdt.py --only gpu --json cmdt.json

Parts:

* attention: forward and backward of the model at the paper's widths (2 decoder blocks, 1 encoder
  layer each, batch 4) with efficient attention and with PyTorch's scaled dot-product attention, for
  windows of 50 to 3,200 frames. Each case in a process of its own; peak memory is what the case
  adds to the process.
* blocks: one decoder block at the paper's widths, forward and backward, batch 4, beside a block of
  MotionDiffuse's layout (one cross-attention) made of the same sub-blocks. MotionDiffuse's own
  decoder of eight such blocks was measured, elsewhere, at 0.47 s for 100 frames and 6.2 s for
  1,600 on two cores.
* steps: whole training steps a second for the sample's and the paper's models.
* loading: what a batch costs to make from shards on the host, and to lay out (process time), the
  bytes that are sent, and the share of the time that a trainer of `--pace` steps a second waits for
  it, with every clip in the clip cache and with none, each read from the disk, at the sample's and
  the paper's sizes. The train shards under `--root` are copied under other clip ids until there are
  enough; at the paper's widths their values are repeated. That trainer sleeps, as a process does
  whose GPU works, and on a CPU does not lay out; the sample's model is trained for real too.
* sampling: seconds of motion a second, three models, one window of N frames, by sampler and number
  of steps. Weights are random here: they do not change what is computed.
* quality: errors against truth on chorus' test clips for the models under `--root` (by default
  those of `dvc repro`), by sampler and number of steps. Errors are shares of the frozen first
  pose's; correlation is the mouth's with truth, of one sample; speed is the
  head's turning over truth's; spread is the deviation between samples.
* seams: change from frame to frame where chunks meet over that within them (1: the same), first and
  second differences, for overlaps of 0 to 16 frames, with the first's 95 % interval over clips.
* settings: the pose model trained with the paper's settings and with the sample's, added one after
  the other, on the shards under `--root`: the generated head's speed and range over the truth's,
  how far samples of one input differ (degrees), and squared error of x_0 by noise level, on test
  and on train windows.
* gpu: training in float32 and bf16, eager and compiled; the share of the device's bf16 peak that
  the model's arithmetic reaches, and of what one large matrix product reaches on it. Sampling too.

Seconds belong to this machine; ratios within one run are what is claimed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.motion import costs, sampling  # noqa: E402
from benchmarks.motion import loading as batches  # noqa: E402
from dimitra.cmdt.recursion import SamplingConfig  # noqa: E402
from dimitra.morphable.coefficients import PARTS  # noqa: E402
from pipelines.params import load  # noqa: E402

CPU_PARTS = ("attention", "blocks", "steps", "loading", "sampling", "quality", "seams")
ALL_PARTS = (*CPU_PARTS, "settings", "gpu")
MOTION_DIFFUSE_S = {100: 0.47, 1600: 6.2}
"""Eight decoder blocks of MotionDiffuse, forward and backward, batch 4, two cores of a server."""
BF16_PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bf16 operations a second by the makers' data sheets."""
console = Console(highlight=False, width=110)


def _show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of one shape as a table."""
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def crossing(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """Shortest window from which on efficient attention is the faster; None where there is none."""
    found = None
    for row in reversed(rows):
        softmax, efficient = row["softmax_s"], row["efficient_s"]
        if softmax is not None and efficient is not None and softmax <= efficient:
            break
        found = int(row["frames"])
    return found


def attention(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Efficient against scaled dot-product attention in the same model."""
    rows = []
    for frames in options.frames:
        row: dict[str, Any] = {"frames": frames}
        for kind in ("efficient", "softmax"):
            case = costs.apart(
                "attention",
                options.threads,
                options.device,
                kind=kind,
                frames=frames,
                batch=options.batch,
                layers=options.layers,
                rounds=options.rounds,
            )
            row[f"{kind}_s"] = case and case["seconds"]
            row[f"{kind}_mb"] = case and case["peak_mb"]
        if row["efficient_s"] is not None:
            row["efficient_ms_a_frame"] = 1000 * row["efficient_s"] / frames
        rows.append(row)
    _show(f"forward + backward, batch {options.batch}, {options.layers} blocks", rows)
    place = crossing(rows)
    console.print(
        "efficient attention is not the faster at any of these lengths"
        if place is None
        else f"efficient attention is the faster from {place} frames on"
    )
    return rows


def blocks(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One decoder block beside one of MotionDiffuse's layout."""
    rows = []
    for frames in options.frames:
        case = costs.apart(
            "block",
            options.threads,
            options.device,
            frames=frames,
            batch=options.batch,
            rounds=options.rounds,
        )
        if case is None:
            continue
        published = MOTION_DIFFUSE_S.get(frames)
        rows.append(
            {
                "frames": frames,
                "block_ms": 1000 * case["seconds"],
                "two_attention_block_ms": 1000 * case["two_attention_seconds"],
                "ratio": case["seconds"] / case["two_attention_seconds"],
                "MotionDiffuse_block_ms_elsewhere": published and 1000 * published / 8,
            }
        )
    _show(f"one decoder block, forward + backward, batch {options.batch}", rows)
    return rows


def steps(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Training steps a second of both profiles."""
    rows = []
    for profile, batch in (("sample", 8), ("paper", options.paper_batch)):
        case = costs.apart(
            "step",
            options.threads,
            options.device,
            profile=profile,
            batch=batch,
            rounds=options.rounds,
            bf16=False,
            compiled=False,
        )
        rows.append({"profile": profile, "batch": batch} | (case or {}))
    _show("training steps, 100 frames, float32", rows)
    return rows


def loading(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What batches cost to make, and how long a trainer waits for them."""
    shards = sorted((options.root / "data" / "shards").glob("train-*.tar"))
    rows = []
    for profile, batch, steps in (
        ("sample", 8, options.loading_steps),
        ("paper", options.loading_batch, max(options.loading_steps // 2, batches.STARTING + 8)),
    ):
        with tempfile.TemporaryDirectory(prefix="dimitra-loading-") as scratch:
            widths = None if profile == "sample" else costs.FEATURES[profile]
            many = batches.replicate(shards, Path(scratch), steps * batch, widths)
            device = torch.device(options.device)
            rows += batches.loading(profile, many, batch, steps, 1.0 / options.pace, device)
    _show(f"a batch from shards; a trainer of {options.pace:g} steps a second", rows)
    return rows


def gpu(options: argparse.Namespace) -> dict[str, Any]:
    """Precision, compilation and share of the peak on a GPU."""
    name = torch.cuda.get_device_name()
    side = 8192
    matrix = torch.randn(side, side, device="cuda", dtype=torch.bfloat16)
    taken = costs.seconds_of(lambda: matrix @ matrix, 10, torch.device("cuda"))
    reached = 2 * side**3 / taken
    peak = next((value for key, value in BF16_PEAK.items() if key in name), None)
    rows = []
    for bf16, compiled in ((False, False), (True, False), (True, True)):
        case = costs.apart(
            "step",
            options.threads,
            "cuda",
            profile="paper",
            batch=options.gpu_batch,
            rounds=options.rounds,
            bf16=bf16,
            compiled=compiled,
        )
        if case is None:
            continue
        rows.append(
            {
                "precision": "bf16" if bf16 else "float32",
                "compiled": compiled,
                "clips_per_second": case["clips_per_second"],
                "peak_mb": case["peak_mb"],
                "share_of_peak": case["flops_per_second"] / peak if bf16 and peak else None,
                "share_of_matmul": case["flops_per_second"] / reached if bf16 else None,
            }
        )
    _show(f"{name}: training, paper's widths, batch {options.gpu_batch}, 100 frames", rows)
    speed = sampling.real_time("paper", options.rounds, torch.device("cuda"))
    _show(f"{name}: sampling, one window of 100 frames", speed)
    return {
        "device": name,
        "matmul_flops_per_second": reached,
        "training": rows,
        "sampling": speed,
    }


def quality(options: argparse.Namespace) -> dict[str, Any]:
    """Errors against truth by sampler and number of steps."""
    chosen = sampling.SETTINGS[:: options.every]
    found = sampling.quality(options.root, options.truth, chosen, options.samples, options.clips)
    title = f"chorus test, {found['clips']} clips, {found['samples']} samples each"
    _show(f"{title}; frozen first pose: {found['frozen_error']:.4f}", found["rows"])
    return found


def seams(options: argparse.Namespace) -> list[dict[str, Any]]:
    """How well chunks join."""
    how = SamplingConfig("ddim", 25, seed=0)
    rows = sampling.seams(options.root, options.overlaps, how, options.clips)
    if rows:
        _show("change at seams over that within chunks", rows)
    else:
        console.print("seams: no test clip is longer than a chunk")
    return rows


def settings(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What each setting of the sample's training does to the head."""
    from benchmarks.motion.settings import compare

    params = load(ROOT / "conf" / "sample.yaml")
    rows = compare(
        options.root,
        options.truth,
        params,
        options.train_steps,
        options.samples,
        options.clips,
        options.choices,
    )
    _show("pose, chorus test", rows)
    return rows


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line; what is not named follows `--root`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=ALL_PARTS, nargs="+", help="these parts alone")
    parser.add_argument(
        "--frames",
        type=int,
        nargs="+",
        default=[50, 100, 200, 400, 800, 1600, 3200],
        help="window lengths for attention and blocks",
    )
    parser.add_argument("--batch", type=int, default=4, help="for attention and blocks")
    parser.add_argument("--layers", type=int, default=2, help="decoder blocks for attention")
    parser.add_argument("--paper-batch", type=int, default=4, help="for the paper's steps")
    parser.add_argument("--gpu-batch", type=int, default=128, help="for the GPU's steps")
    parser.add_argument("--rounds", type=int, default=5, help="the median counts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu", help="of attention, blocks, steps and sampling")
    parser.add_argument("--root", type=Path, default=Path(), help="holds models and data/shards")
    parser.add_argument(
        "--truth", type=Path, help="of the sample corpus; by default truth under --root"
    )
    parser.add_argument("--samples", type=int, default=8, help="a clip, for quality and settings")
    parser.add_argument(
        "--clips", type=int, default=24, help="test clips, for quality, seams and settings"
    )
    parser.add_argument("--every", type=int, default=1, help="take each n-th sampler setting")
    parser.add_argument("--overlaps", type=int, nargs="+", default=[0, 4, 8, 16], help="for seams")
    parser.add_argument("--train-steps", type=int, help="for settings; by default the profile's")
    parser.add_argument(
        "--choices", type=int, nargs="+", choices=range(6), help="for settings; these rows alone"
    )
    parser.add_argument("--pace", type=float, default=10.0, help="trainer's steps/s, for loading")
    parser.add_argument(
        "--loading-steps", type=int, default=30, help="of the sample's, for loading"
    )
    parser.add_argument("--loading-batch", type=int, default=128, help="the paper's, for loading")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args(arguments)
    if options.truth is None:
        options.truth = options.root / "truth"
    return options


def missing(options: argparse.Namespace, part: str) -> str | None:
    """Why a part cannot be measured here, or None."""
    if part == "gpu" and not torch.cuda.is_available():
        return "it needs a GPU that torch sees"
    if part == "settings" and options.samples < 2:
        return f"--samples {options.samples}: it compares samples of one input, so at least 2"
    root, shards = options.root, options.root / "data" / "shards"
    needed = {
        "loading": [(shards, "train-*.tar")],
        "quality": [(shards, "test-chorus-*.tar"), *_models(root), (options.truth / "chorus", "")],
        "seams": [(shards, "test-*.tar"), *_models(root)],
        "settings": [
            (shards, "train-*.tar"),
            (shards, "test-chorus-*.tar"),
            (options.truth / "chorus", ""),
        ],
    }
    for folder, pattern in needed.get(part, []):
        if not (any(folder.glob(pattern)) if pattern else folder.is_dir()):
            return f"{folder / pattern} is missing: run `dvc repro`, or name --root, --truth"
    return None


def _models(root: Path) -> list[tuple[Path, str]]:
    return [(root / "models" / part, "config.json") for part in PARTS]


def main() -> None:
    """Measure and print."""
    options = options_of()
    torch.set_num_threads(options.threads)
    parts = options.only or (*CPU_PARTS, "gpu")
    found: dict[str, Any] = {"torch": torch.__version__, "threads": options.threads}
    measures = {
        "attention": attention,
        "blocks": blocks,
        "steps": steps,
        "loading": loading,
        "quality": quality,
        "seams": seams,
        "settings": settings,
        "gpu": gpu,
    }
    for part in parts:
        reason = missing(options, part)
        if reason is not None:
            console.print(f"{part}: not measured; {reason}")
        elif part == "sampling":
            device = torch.device(options.device)
            found[part] = [
                row
                for profile in ("sample", "paper")
                for row in sampling.real_time(profile, options.rounds, device)
            ]
            _show("sampling, one window of 100 frames, three models", found[part])
        elif part in measures:
            found[part] = measures[part](options)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
