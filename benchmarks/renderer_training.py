"""Train the neural renderer on the sample's crops for a while; measure it on unseen people.

    python benchmarks/renderer_training.py --data data --steps 2200 --warp-steps 500 --out renderer

The reduced variant, on one CPU thread, with the pixel loss. Every test clip is then drawn from its
first frame and its true motion, and compared with the video, beside the frozen first frame.
Prints mean absolute difference (levels of 255) and PSNR (dB), and writes pictures.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image

from dimitra.learning.pace import StepTiming, deterministic
from dimitra.learning.state import TrainingState
from dimitra.render import renderer_checkpoint
from dimitra.render.pirender import PIRenderer
from dimitra.render.pirender_network import PIRenderNet, PIRenderSettings
from dimitra.render.reconstruction import PixelLoss
from dimitra.render.renderer_pairs import CropCorpus, Pairs, RendererClip, face_region
from dimitra.render.renderer_state import RendererStep
from dimitra.render.renderer_training import (
    RendererTraining,
    train_renderer,
)
from pipelines.train_renderer import descriptor_scale


def corpus_of(data: Path, split: str, size: int) -> CropCorpus:
    """Crops and motion of one side of the split."""
    rows = pq.read_table(data / "split" / "split.parquet", columns=["clip_id", "split"]).to_pylist()
    ids = [row["clip_id"] for row in rows if row["split"] == split]
    crops, motion = (sorted((data / name).glob("*.tar")) for name in ("crops", "motion"))
    return CropCorpus(crops, motion, ids, 256, size, 1 << 30)


def drawn(renderer: PIRenderer, clip: RendererClip) -> NDArray[np.uint8]:
    """A clip from its first frame and its true motion."""
    crop = np.tile(clip.crop[0], (len(clip.motion), 1))
    return np.stack(list(renderer.render(clip.frames[0], clip.motion, crop)))


def psnr(error: NDArray[np.float64]) -> float:
    """Peak signal-to-noise ratio, dB."""
    return float(20.0 * np.log10(255.0) - 10.0 * np.log10((error**2).mean()))


def rows_of(renderer: PIRenderer, corpus: CropCorpus, out: Path) -> Iterator[dict[str, Any]]:
    """Errors of every clip, and a picture of some."""
    for number, clip_id in enumerate(corpus.clip_ids):
        clip = corpus.load(clip_id)
        made = drawn(renderer, clip)
        frozen = np.broadcast_to(clip.frames[:1], clip.frames.shape)
        face = np.stack(
            [face_region(points, clip.frames.shape[1]) > 0 for points in clip.landmarks]
        )
        row: dict[str, Any] = {"clip": clip_id}
        for name, frames in (("frozen", frozen), ("trained", made)):
            error = frames[1:].astype(np.float64) - clip.frames[1:]
            row[f"{name}_l1"] = float(np.abs(error).mean())
            row[f"{name}_psnr"] = psnr(error)
            row[f"{name}_face_l1"] = float(np.abs(error[face[1:]]).mean())
        if number % 6 == 0:
            chosen = np.linspace(0, len(made) - 1, 8).astype(int)
            strips = [np.concatenate(list(one[chosen]), axis=1) for one in (clip.frames, made)]
            sheet = Image.fromarray(np.concatenate(strips))
            sheet.resize((2 * sheet.width, 2 * sheet.height)).save(out / f"{clip_id}.png")
        yield row


class OutOfTime(Exception):  # noqa: N818 - no error
    """The minutes are over."""


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="of a finished run")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--steps", type=int, default=2200, help="fewer if they take longer")
    parser.add_argument("--warp-steps", type=int, default=500)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--rate", type=float, default=1e-3)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    settings = PIRenderSettings(descriptor=64, widest=64, warp_width=16, edit_width=16)
    torch.manual_seed(0)
    network = PIRenderNet(settings)
    corpus = corpus_of(options.data, "train", options.size)
    scale = descriptor_scale(corpus)
    config = RendererTraining(
        steps=options.steps,
        warp_steps=options.warp_steps,
        learning_rate=options.rate,
        decay_every=options.steps,
    )
    begun = time.perf_counter()

    states: list[TrainingState[RendererStep]] = []

    def on_step(record: RendererStep, timing: StepTiming) -> None:  # noqa: ARG001
        if record.step % 100 == 0:
            print(f"{time.perf_counter() - begun:6.0f} s {record}", flush=True)
        if time.perf_counter() - begun > 60 * options.minutes and states:
            raise OutOfTime

    with deterministic(1):
        try:
            curve = train_renderer(
                network,
                Pairs(corpus, options.pairs, 0),
                scale,
                PixelLoss(),
                config,
                torch.device("cpu"),
                on_step,
                save_every=50,
                on_state=lambda state: states.__setitem__(slice(None), [state]),
            )
        except OutOfTime:
            curve = list(states[0].curve)
            network.load_state_dict(states[0].averaged())
    seconds = time.perf_counter() - begun
    state = scale.folded(network.state_dict())
    renderer_checkpoint.save(
        options.out, state, settings, "open_head", options.size, {"minutes": options.minutes}, curve
    )
    trained = renderer_checkpoint.load(options.out)
    rows = list(
        rows_of(
            PIRenderer(trained.network), corpus_of(options.data, "test", options.size), options.out
        )
    )
    with (options.out / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    weights = sum(one.numel() for one in network.parameters())
    print(f"{len(curve)} steps in {seconds:.0f} s, {weights} weights, {len(rows)} test clips")
    for name in list(rows[0])[1:]:
        print(f"{name}: {np.mean([row[name] for row in rows]):.3f}")
    better = sum(row["trained_l1"] < row["frozen_l1"] for row in rows)
    print(f"nearer than the frozen frame in {better} of {len(rows)} clips")


if __name__ == "__main__":
    main()
