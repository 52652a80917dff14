"""Clips, crops and parameters for the fit stage with the Basel model, without the crop stage."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image

from dimitra.clips import MANIFEST_SCHEMA, Clip
from dimitra.faces.crop import CropBox, to_crop
from dimitra.media.mp4 import encode_mp4
from dimitra.morphable import deng
from dimitra.shards import npz_bytes, write_shard
from pipelines.params import Params, parse
from pipelines.runtime.quarantine import write_quarantine, write_table
from tests.pipelines.balances import write_balance

SAMPLE = Path(__file__).parents[2] / "conf" / "sample.yaml"
BOX = CropBox(40, 30, 200)
SOURCE = (320, 256)
"""Width and height of the raw videos."""
OFFSET = 2
FRAMES, FPS = 30, 30
CROP_FRAMES = 25


def bfm_params(**fit: Any) -> Params:
    """The sample profile with the Basel model, written to ``params.yaml``."""
    values = yaml.safe_load(SAMPLE.read_text())
    values["fit"] |= {"face_model": "bfm", "photometric": False, "landmarks": "dlib"} | fit
    values["render"] |= {"renderer": "pirender", "weights": "pirender_256"}
    values["datasets"]["root"] = "datasets"
    values["datasets"]["sets"] = {
        "toy": {"layout": "voxceleb2", "path": "toy", "split": "chorus/v1"}
    }
    values["limits"] |= {"min_duration_s": 0.1}
    values["budgets"]["fit"] = 1.0
    Path("params.yaml").write_text(yaml.safe_dump(values))
    return parse(values)


def make_clip(number: int, shard: int) -> Clip:
    """Manifest row of a clip whose raw video is there."""
    path = f"mp4/id{number}/v/00001.mp4"
    file = Path("datasets/toy") / path
    return Clip(
        clip_id=f"toy-id{number}-v-00001",
        dataset="toy",
        identity=f"id{number}",
        source_video=f"id{number}/v",
        path=path,
        audio_path=None,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        start_s=0.0,
        end_s=None,
        duration_s=FRAMES / FPS,
        fps=float(FPS),
        width=SOURCE[0],
        height=SOURCE[1],
        transcript=None,
        shard=shard,
    )


def pictures(seed: int, count: int, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Smooth random pictures of a width and height."""
    small = np.random.default_rng(seed).integers(0, 255, (count, 12, 12, 3), dtype=np.uint8)
    return [
        np.asarray(Image.fromarray(one).resize(size, Image.Resampling.BICUBIC)) for one in small
    ]


def landmarks_at(crop: NDArray[np.float64]) -> NDArray[np.float64]:
    """Landmarks ``[T, 68, 2]`` of a raw video in which Deng's five points have this alignment."""
    standard = np.array(deng.STANDARD_POINTS)[:, :2]
    scale = 102 / crop[:, :1]
    x = scale * standard[:, 0] + crop[:, 1:2]
    y = SOURCE[1] - 1 - (scale * standard[:, 1] + crop[:, 2:])
    points = np.stack([x, y], axis=-1)
    result = np.repeat(points.mean(axis=1)[:, None], 68, axis=1)
    for row, numbers in enumerate(([36, 39], [42, 45], [30], [48], [54])):
        result[:, numbers] = points[:, row][:, None]
    return result


def alignment(times_s: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """A face that moves slowly through the raw video: ``s, tx, ty`` at given times."""
    phase = 2 * np.pi * (0.5 * times_s[:, None] + np.array([0.0, 0.3, 0.6]) + seed)
    return np.array([1.1, 140.0, 126.0]) + np.array([0.02, 5.0, 4.0]) * np.sin(phase)


def coefficients(times_s: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """257 coefficients that move slowly."""
    rate = np.random.default_rng(seed).uniform(-1, 1, 257)
    return 0.3 * np.sin(2 * np.pi * rate * times_s[:, None] + np.arange(257))


def write_clips(count: int = 3) -> list[Clip]:
    """Raw videos, their crops and the manifest; clip ``n`` is in shard ``n % 2``."""
    clips = []
    shards: dict[int, dict[str, dict[str, bytes]]] = {}
    for number in range(count):
        raw = Path(f"datasets/toy/mp4/id{number}/v/00001.mp4")
        raw.parent.mkdir(parents=True, exist_ok=True)
        raw.write_bytes(encode_mp4(pictures(number, FRAMES, SOURCE), fps=FPS))
        clip = make_clip(number, number % 2)
        clips.append(clip)
        at = (np.arange(CROP_FRAMES) + 0.5) / 25
        points = to_crop(landmarks_at(alignment(at, number)).astype(np.float32), BOX.transform(256))
        detected = np.ones(CROP_FRAMES, bool)
        detected[3 + number] = False
        track = {
            "landmarks": points,
            "detected": detected,
            "transform": BOX.transform(256),
            "boxes": np.zeros((CROP_FRAMES, 4), np.float32),
        }
        parts = {
            "mp4": encode_mp4(pictures(100 + number, CROP_FRAMES, (256, 256))),
            "track.npz": npz_bytes(track),
        }
        shards.setdefault(clip.shard, {})[clip.clip_id] = parts
    for number, samples in shards.items():
        write_shard(Path(f"data/crops/{number:05d}.tar"), samples)
    write_quarantine(Path("data/crops"), [])
    write_balance(Path("data/crops"))
    rows = [asdict(clip) for clip in clips]
    write_table(Path("data/manifest/clips.parquet"), rows, MANIFEST_SCHEMA)
    write_balance(Path("data/manifest"), "ingest", len(rows))
    return clips


def seeded_checkpoint(path: Path, seed: int = 0) -> None:
    """A file like ``epoch_20.pth``: ResNet-50 with drawn weights and mild answers."""
    generator = torch.Generator().manual_seed(seed)
    network = deng.ReconNet()
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0, generator=generator)
        elif value.is_floating_point():
            fan = max(value[0].numel(), 1) if value.ndim > 1 else 25
            small = 0.02 if name.startswith("final_layers") else 1.0
            value.normal_(0.0, small * fan**-0.5, generator=generator)
    state = network.state_dict()
    optimiser = torch.optim.Adam(network.parameters())
    torch.save({"net_recon": state, "opt_00": optimiser.state_dict()}, path)
