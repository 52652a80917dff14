"""What drawing costs: the mesh renderer's steps, it on a device, PIRender, `dimitra animate`.

    python benchmarks/render.py                           # mesh, device and PIRender, one thread
    python benchmarks/render.py --only mesh                       # half a minute
    python benchmarks/render.py --only animate --root RUN --seconds 20   # a finished run's models
    python benchmarks/render.py --only pirender --device cuda --weights pirender_256 --frames 500

A photo of a person (scikit-image's astronaut, public domain) is moved by a made-up motion: how long
a frame takes does not depend on what moves. Everything runs in this process, with one thread.

* mesh: processor time of each step. A stopwatch is put around the functions that the renderer
  calls; `the rest` is what they leave. `set up the photo` comes once a photo, the other steps once
  a frame; `encode` is H.264 and AAC as the stage writes them.
* device: the mesh renderer in torch (`render.device: cuda`), on a GPU where there is one and on one
  core, where nobody would use it: it shows what a GPU is given to do. Columns as of pirender.
* pirender: `prepare`, from the photo to the first frame (on a GPU, the first batch); `draw`, the
  other frames; `encode`. `frames/s` is of the first two together. Its time does not depend on its
  weights' values: without `--weights` they are seeded. A frame of the published size takes seconds
  on a CPU, so two are drawn there.
* animate: the command from photo and speech to video, in a process of its own, twice: the first
  time with the start of the process in it (interpreter, imports), the second without. Speech is
  that of the run's clips, one after the other.

Times are the processor's (`time.process_time`; animate: with that of ended child processes), so
that other work on the machine does not count, and frames/s are per core. What a GPU draws is timed
by the wall clock, with the device synchronised. Compiling the mesh renderer and loading weights are
not counted for mesh, device and pirender, because a worker does so once.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from skimage.data import astronaut

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.drawing.animating import animating  # noqa: E402
from benchmarks.drawing.steps import PHOTO, REST, STEPS, watched  # noqa: E402
from dimitra.assets import asset_path  # noqa: E402
from dimitra.media.mp4 import encode_mp4  # noqa: E402
from dimitra.morphable import open_head  # noqa: E402
from dimitra.render import pirender  # noqa: E402
from dimitra.render.device_mesh import DeviceMeshRenderer  # noqa: E402
from dimitra.render.mesh import MeshRenderer  # noqa: E402
from dimitra.render.pirender_network import PIRenderNet  # noqa: E402
from dimitra.render.reference import resize_reference  # noqa: E402

CROP = np.array([0.95, 128.0, 136.0], np.float32)
"""Deng's alignment of the photo's face, at 256x256."""
FPS, RATE_HZ = 25, 16_000

PARTS = ("mesh", "device", "pirender", "animate")
DEVICE_FRAMES = {"cpu": 32, "cuda": 250}
"""Frames of the clip that is drawn on each device."""
CONSOLE = Console(width=110)

Clock = Callable[[], float]
Draw = Callable[[NDArray[np.float32]], Iterator[NDArray[np.uint8]]]


@dataclass(frozen=True)
class Timing:
    """Seconds of each step, best of the repeats."""

    frames: int
    prepare_s: float
    draw_s: float
    encode_s: float

    @property
    def total_s(self) -> float:
        """All steps."""
        return self.prepare_s + self.draw_s + self.encode_s


def processor() -> float:
    """Processor seconds of this process."""
    return time.process_time()


def wall() -> float:
    """Wall seconds, with all work of the GPU done."""
    torch.cuda.synchronize()
    return time.perf_counter()


def motion(frames: int) -> NDArray[np.float32]:
    """Motion [T, 70] of a head that turns and a mouth that moves."""
    phase = np.arange(frames) / FPS
    values = np.zeros((frames, 70), np.float32)
    values[:, 0] = np.sin(2 * np.pi * 4 * phase)
    values[:, 65] = 0.2 * np.sin(2 * np.pi * 0.5 * phase)
    return values


def sound_of(frames: int) -> NDArray[np.float32]:
    """A tone as long as the frames, [N] at ``RATE_HZ``."""
    return np.asarray(0.2 * np.sin(np.arange(frames * RATE_HZ // FPS) * 0.06), np.float32)


def measure(draw: Draw, frames: int, repeats: int, clock: Clock) -> Timing:
    """Time the steps of a clip; the first frame alone stands for the preparation."""
    driven, sound = motion(frames), sound_of(frames)
    list(draw(driven[:1]))
    timings = []
    for _ in range(repeats):
        began = clock()
        iterator = draw(driven)
        pictures = [next(iterator)]
        first = clock()
        pictures.extend(iterator)
        drawn = clock()
        encode_mp4(pictures, audio=sound, sample_rate=RATE_HZ)
        ended = clock()
        timings.append(Timing(frames, first - began, drawn - first, ended - drawn))
    return min(timings, key=lambda timing: timing.total_s)


def mesh_steps(draw: Draw, frames: int, repeats: int) -> dict[str, float]:
    """Processor seconds of each step of a clip of the mesh renderer, best of the repeats."""
    driven, sound = motion(frames), sound_of(frames)
    list(draw(driven[:2]))
    found: list[dict[str, float]] = []
    for _ in range(repeats):
        began = time.process_time()
        with watched() as spent:
            pictures = list(draw(driven))
        drawn = time.process_time()
        encode_mp4(pictures, audio=sound, sample_rate=RATE_HZ)
        ended = time.process_time()
        steps = {name: spent[name] for name in STEPS if name != REST}
        rest = drawn - began - sum(steps.values())
        found.append({**steps, REST: rest, "encode": ended - drawn})
    return min(found, key=lambda steps: sum(steps.values()))


def reference(size: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The photo's face and its alignment, at the renderer's size."""
    photo: Any = astronaut
    return resize_reference(photo()[0:256, 96:352], CROP, size)


def mesh(size: int, device: str | None = None) -> Draw:
    """The mesh renderer on the photo: compiled, or in torch on a device."""
    photo, crop = reference(size)
    model, still = open_head.load(), np.zeros(70, np.float32)
    renderer = MeshRenderer(model) if device is None else DeviceMeshRenderer(model, device)
    return lambda m: renderer.render(photo, np.zeros(80, np.float32), crop, still, m)


def neural(size: int, weights: str | None, device: str) -> Draw:
    """PIRender on the photo."""
    photo, crop = reference(size)
    if weights is not None:
        renderer = pirender.load(asset_path(weights), device)
    else:
        torch.manual_seed(0)
        renderer = pirender.PIRenderer(PIRenderNet(), device)
    return lambda m: renderer.render(photo, m, np.tile(crop, (len(m), 1)))


def show_mesh(options: argparse.Namespace) -> None:
    """Measure and print the mesh renderer's steps."""
    steps = mesh_steps(mesh(options.size), options.frames, options.repeats)
    whole = sum(steps.values())
    drawing = whole - steps[PHOTO] - steps["encode"]
    table = Table(
        *("step", "ms", "per", "share"),
        title=f"mesh, {options.size}x{options.size}, {options.frames} frames, one thread, "
        f"processor time, best of {options.repeats}",
    )
    for name, taken in steps.items():
        one = 1 if name == PHOTO else options.frames
        unit = "photo" if name == PHOTO else "frame"
        table.add_row(name, f"{1000 * taken / one:.2f}", unit, f"{taken / whole:.1%}")
    CONSOLE.print(table)
    CONSOLE.print(
        f"{options.frames / drawing:.1f} frames/s drawing alone, "
        f"{options.frames / (drawing + steps['encode']):.1f} with encoding, "
        f"{options.frames / whole:.1f} with the photo"
    )


def _timings(size: int) -> Table:
    return Table(
        *("renderer", "frames", "frames/s", "first frame s", "prepare", "draw", "encode", "clock"),
        title=f"{size}x{size}, one thread",
    )


def _row(table: Table, name: str, timing: Timing, clock: Clock) -> None:
    steps = (timing.prepare_s, timing.draw_s, timing.encode_s)
    table.add_row(
        name,
        str(timing.frames),
        f"{timing.frames / (timing.prepare_s + timing.draw_s):.2f}",
        f"{timing.prepare_s:.2f}",
        *(f"{step / timing.total_s:.0%}" for step in steps),
        clock.__name__,
    )


def show_device(options: argparse.Namespace) -> None:
    """Measure and print the mesh renderer in torch, on each device that there is."""
    table = _timings(options.size)
    for device, clock in (("cpu", processor), ("cuda", wall)):
        if device == "cuda" and not torch.cuda.is_available():
            continue
        frames = min(options.frames, DEVICE_FRAMES[device])
        timing = measure(mesh(options.size, device), frames, options.repeats, clock)
        _row(table, f"mesh in torch, {device}", timing, clock)
    CONSOLE.print(table)
    if not torch.cuda.is_available():
        CONSOLE.print(f"no row for a GPU: torch {torch.__version__} sees none here")


def show_neural(options: argparse.Namespace) -> None:
    """Measure and print PIRender's speed."""
    cuda = options.device == "cuda"
    frames = options.neural_frames or (options.frames if cuda else 2)
    draw = neural(options.size, options.weights, options.device)
    clock = wall if cuda else processor
    table = _timings(options.size)
    timing = measure(draw, frames, options.repeats if cuda else 1, clock)
    _row(table, f"PIRender, {options.device}", timing, clock)
    CONSOLE.print(table)


def show_animate(options: argparse.Namespace) -> None:
    """Measure and print a whole animation."""
    photo: Any = astronaut
    first, second = animating(options.root, photo(), options.seconds)
    length = first.pop("video_s")
    second.pop("video_s")
    table = Table(
        *("step", "first, s", "again, s", "again, share"),
        title=f"animate, {length:.1f} s of speech, processor seconds",
    )
    whole = sum(second.values())
    for name in first:
        again = second.get(name, 0.0)
        table.add_row(name, f"{first[name]:.2f}", f"{again:.2f}", f"{again / whole:.0%}")
    CONSOLE.print(table)
    CONSOLE.print(
        f"{length / sum(first.values()):.2f} times real time with the start of the process, "
        f"{length / whole:.2f} without, {length / second['video']:.2f} drawing and encoding alone"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", choices=PARTS, nargs="+", default=list(PARTS[:3]), help="these parts"
    )
    parser.add_argument("--frames", type=int, default=250, help="of the mesh renderer's clip")
    parser.add_argument("--neural-frames", type=int, help="of PIRender's; 2 on a CPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--weights", help="PIRender's: an asset, or a path")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of PIRender")
    parser.add_argument("--root", type=Path, default=Path(), help="finished run, for animate")
    parser.add_argument("--seconds", type=float, default=20.0, help="of speech, for animate")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if "animate" in options.only and not (options.root / "models" / "lips").is_dir():
        sys.stderr.write(f"{options.root / 'models'} holds no models: name --root of a run\n")
        return 1
    show = {
        "mesh": show_mesh,
        "device": show_device,
        "pirender": show_neural,
        "animate": show_animate,
    }
    for part in options.only:
        show[part](options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
