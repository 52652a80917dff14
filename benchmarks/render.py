"""Frames per second of each renderer, and the share of each step.

    python benchmarks/render.py                                   # both renderers, one core
    python benchmarks/render.py --device cuda --weights pirender_256 --frames 500

A photo of a person (scikit-image's astronaut, public domain) is moved by a made-up motion: how long
a frame takes does not depend on what moves. Steps: `prepare`, from the photo to the first frame (on
a GPU, the first batch); `draw`, the other frames; `encode`, H.264 and AAC as the stage writes them.
`frames/s` is of the first two together. The renderers run in this process, with one thread.
Compiling the mesh renderer and loading weights are not counted, because a worker does so once.
PIRender's time does not depend on its weights' values either: without `--weights` they are seeded.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from skimage.data import astronaut

from dimitra.assets import asset_path
from dimitra.media.mp4 import encode_mp4
from dimitra.morphable import open_head
from dimitra.render import pirender
from dimitra.render.mesh import MeshRenderer, resize_reference
from dimitra.render.pirender_network import PIRenderNet

CROP = np.array([0.95, 128.0, 136.0], np.float32)
"""Deng's alignment of the photo's face, at 256x256."""
FPS, RATE_HZ = 25, 16_000

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


def motion(frames: int) -> NDArray[np.float32]:
    """Motion [T, 70] of a head that turns and a mouth that moves."""
    phase = np.arange(frames) / FPS
    values = np.zeros((frames, 70), np.float32)
    values[:, 0] = np.sin(2 * np.pi * 4 * phase)
    values[:, 65] = 0.2 * np.sin(2 * np.pi * 0.5 * phase)
    return values


def measure(draw: Draw, frames: int, repeats: int) -> Timing:
    """Time the steps of a clip; the first frame alone stands for the preparation."""
    driven = motion(frames)
    sound = (0.2 * np.sin(np.arange(frames * RATE_HZ // FPS) * 0.06)).astype(np.float32)
    list(draw(driven[:2]))
    timings = []
    for _ in range(repeats):
        began = time.perf_counter()
        iterator = draw(driven)
        pictures = [next(iterator)]
        first = time.perf_counter()
        pictures.extend(iterator)
        drawn = time.perf_counter()
        encode_mp4(pictures, audio=sound, sample_rate=RATE_HZ)
        ended = time.perf_counter()
        timings.append(Timing(frames, first - began, drawn - first, ended - drawn))
    return min(timings, key=lambda timing: timing.total_s)


def reference(size: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The photo's face and its alignment, at the renderer's size."""
    photo: Any = astronaut
    return resize_reference(photo()[0:256, 96:352], CROP, size)


def mesh(size: int) -> Draw:
    """The mesh renderer on the photo."""
    photo, crop = reference(size)
    renderer, still = MeshRenderer(open_head.load()), np.zeros(70, np.float32)
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=250, help="of the mesh renderer's clip")
    parser.add_argument("--neural-frames", type=int, help="of PIRender's; 8 on a CPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--weights", help="PIRender's: an asset, or a path")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of PIRender")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    frames = options.neural_frames or (8 if options.device == "cpu" else options.frames)
    rows = {
        "mesh, cpu": measure(mesh(options.size), options.frames, options.repeats),
        f"PIRender, {options.device}": measure(
            neural(options.size, options.weights, options.device), frames, options.repeats
        ),
    }
    table = Table(
        *("renderer", "frames", "frames/s", "first frame s", "prepare", "draw", "encode"),
        title=f"{options.size}x{options.size}, one thread, best of {options.repeats}",
    )
    for name, timing in rows.items():
        steps = (timing.prepare_s, timing.draw_s, timing.encode_s)
        table.add_row(
            name,
            str(timing.frames),
            f"{timing.frames / (timing.prepare_s + timing.draw_s):.1f}",
            f"{timing.prepare_s:.2f}",
            *(f"{step / timing.total_s:.0%}" for step in steps),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
