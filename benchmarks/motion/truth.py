"""The sample corpus as train and test shards made from its own truth, and models trained on them.

Motion and phones are the corpus' truth; speech features, text features, model and training are the
pipeline's. So the motion model is seen alone, without the errors of tracking, fit and alignment,
and a few minutes after a clean clone.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dimitra.assets import asset_path
from dimitra.cmdt import checkpoint
from dimitra.cmdt.dataset import ShardCorpus, Windows
from dimitra.cmdt.parts import ModelPart, mouth_columns, part_columns
from dimitra.cmdt.training import TrainingConfig, deterministic, train
from dimitra.media.audio import read_audio
from dimitra.shards import Members, json_bytes, npz_bytes, write_atomic, write_shard
from dimitra.speech.features import MoonshineEncoder, SpeechEncoder
from dimitra.speech.phonemes import Interval, canonical, frame_phonemes
from dimitra.speech.text import MiniLmEncoder, TextEncoder
from pipelines.params import Params
from pipelines.shard import statistics
from pipelines.train import build_model, normalisation, part_params

FPS = 25


def sample_of(
    clip: dict[str, Any], videos: Path, speech: SpeechEncoder, text: TextEncoder
) -> Members:
    """The three parts of a shard's clip from the arrays of its truth."""
    frames = len(clip["pose"])
    times = zip(clip["phones"], clip["phone_times"], strict=True)
    phones = [Interval(float(a), float(b), canonical(str(name))) for name, (a, b) in times]
    sound = read_audio(videos / str(clip["path"]), 0.0, frames / FPS)
    tokens = text.encode([str(clip["text"])])
    return {
        "motion.npz": npz_bytes(
            {
                "expression": clip["expression"],
                "pose": clip["pose"],
                "crop": np.ones((frames, 3), dtype=np.float32),
            }
        ),
        "speech.npz": npz_bytes(
            {
                "features": speech.encode(sound).astype(np.float16),
                "rate_hz": np.float32(speech.rate_hz),
                "phonemes": frame_phonemes(phones, frames),
            }
        ),
        "text.npz": npz_bytes(
            {
                "tokens": tokens.tokens.astype(np.float16),
                "mask": tokens.mask,
                "start_s": np.zeros(1, dtype=np.float32),
            }
        ),
    }


def write_shards(root: Path, params: Params, names: Iterable[str] = ("chorus", "lecture")) -> Path:
    """Write ``data/shards`` under ``root`` and return the folder.

    Raises:
        FileNotFoundError: there is no truth of a corpus under ``truth/``.
    """
    speech = MoonshineEncoder(
        asset_path(params.speech.encoder_weights), params.speech.block_s, params.speech.overlap_s
    )
    text = MiniLmEncoder(asset_path(params.speech.text_encoder_weights), params.speech.text_tokens)
    folder = root / "data" / "shards"
    for name in names:
        dataset = params.datasets.sets[name]
        files = sorted((Path("truth") / name).glob("*.npz"))
        if not files:
            raise FileNotFoundError(f"no truth of {name} under truth/: run `make data` first")
        lines = (Path("splits") / dataset.split / "train.txt").read_text().splitlines()
        train_ids = {line.strip() for line in lines if not line.startswith("#")}
        groups: dict[str, dict[str, Members]] = defaultdict(dict)
        for file in files:
            with np.load(file) as archive:
                clip = {key: archive[key] for key in archive.files}
            side = "train" if file.stem.split("-")[1] in train_ids else "test"
            videos = Path(params.datasets.root) / dataset.path
            groups[side][file.stem] = sample_of(clip, videos, speech, text)
        for side, samples in groups.items():
            write_shard(folder / f"{side}-{name}-00000.tar", samples)
    train_shards = sorted(folder.glob("train-*.tar"))
    write_atomic(folder / "stats.json", json_bytes(statistics(train_shards)))
    return folder


def train_models(root: Path, params: Params, parts: Iterable[ModelPart], steps: int | None) -> None:
    """Train ``models/<part>`` under ``root`` on its shards, as the stage does, without MLflow.

    Args:
        root: holds ``data/shards``.
        params: of the run.
        parts: to train.
        steps: instead of those of the parameters.
    """
    import torch

    shards = root / "data" / "shards"
    corpus = ShardCorpus(sorted(shards.glob("train-*.tar")))
    stats = json.loads((shards / "stats.json").read_text())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for part in parts:
        columns = part_columns(params.fit.face_model, part)
        section = part_params(params, part)
        config = TrainingConfig(
            steps=section.steps,
            learning_rate=section.learning_rate,
            grad_clip=params.train.grad_clip,
            ema=params.train.ema,
            loss_weight=params.train.loss_weight,
            first_pose_weight=section.first_pose_weight,
            diffusion_steps=params.diffusion.steps,
            loss_space=params.diffusion.loss,
        )
        config = config if steps is None else replace(config, steps=steps)
        model = build_model(params, part, columns, corpus)
        if params.train.normalise:
            shift, scale = normalisation(stats, columns)
            model.shift.copy_(shift)
            model.scale.copy_(scale)
        windows = Windows(
            corpus,
            columns,
            params.model.frames,
            params.model.window,
            params.train.batch,
            params.diffusion.steps,
            params.seed,
            params.diffusion.null_probability,
        )
        with deterministic(params.train.threads):
            curve = train(model, windows, config, device)
        trained = checkpoint.TrainedPart(
            part,
            columns,
            params.model.window,
            params.diffusion.steps,
            model.cpu(),
            mouth_columns(params.fit.face_model),
            params.diffusion.null_probability,
        )
        checkpoint.save(root / "models" / part, trained, config, params.seed, curve)
