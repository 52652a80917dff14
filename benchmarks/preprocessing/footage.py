"""Clips to preprocess: talking heads of the sample corpus, at a size and length of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import av
import numpy as np

from dimitra.clips import Clip
from dimitra.datasets.original import sha256_of
from dimitra.media.audio import read_audio
from dimitra.media.container import probe
from dimitra.media.mp4 import encode_mp4
from dimitra.media.video import FPS, SCALING, iterate_frames, scaler
from pipelines.params import Params
from pipelines.training.aligning import aligner_params

DATASET = "footage"
CRF = 14
"""Quality of rescaled footage: hardly any loss, and bytes as a camera's file has them."""


def originals(folder: Path, count: int) -> list[Path]:
    """Videos spread over a folder.

    Raises:
        SystemExit: it has none.
    """
    found = sorted(folder.rglob("*.mp4"))
    if not found:
        raise SystemExit(f"{folder} has no mp4: run `make data`, or name a folder by --videos")
    return found[:: max(1, len(found) // count)][:count]


def _resized(path: Path, side: int, frames: int | None) -> Iterator[av.VideoFrame]:
    """Frames with both sides ``side``; from the start again until there are ``frames``."""
    scale = None
    endless = chain.from_iterable(iterate_frames(path) for _ in repeat(None))
    for frame in iterate_frames(path) if frames is None else islice(endless, frames):
        if scale is None:
            scale = scaler(frame, f"scale={side}:{side}:flags={SCALING},format=yuv420p")
        yield scale(frame)


def write(path: Path, source: Path, side: int, seconds: float | None = None) -> None:
    """Write ``source`` again with sides of ``side`` pixels, cut or repeated to ``seconds``."""
    frames = None if seconds is None else round(seconds * FPS)
    samples = read_audio(source)
    if frames is not None:
        samples = np.resize(samples, frames * 640)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_mp4(_resized(source, side, frames), audio=samples, crf=CRF))


def make(folder: Path, sources: Sequence[Path], side: int, seconds: float | None = None) -> None:
    """Write all ``sources`` into ``folder``."""
    for number, source in enumerate(sources):
        write(folder / f"{number:05d}.mp4", source, side, seconds)


def clip_of(folder: Path, path: Path, number: int, shard: int = 0) -> Clip:
    """The manifest row of a file, as far as the stages need it."""
    info = probe(path)
    return Clip(
        clip_id=f"{DATASET}-someone-{number:05d}",
        dataset=DATASET,
        identity="someone",
        source_video=f"{number:05d}",
        path=path.relative_to(folder).as_posix(),
        audio_path=None,
        sha256=sha256_of([path]),
        start_s=0.0,
        end_s=None,
        duration_s=info.duration_s,
        fps=float(FPS),
        width=info.width,
        height=info.height,
        transcript=None,
        shard=shard,
    )


def worker_params(stage: str, params: Params, folder: Path, aligner: Path) -> dict[str, Any]:
    """What ``make_worker`` of a stage takes, for clips below ``folder``.

    Raises:
        ValueError: it is not one of the preprocessing's stages.
    """
    files = {"limits": params.limits.model_dump(), "roots": {DATASET: str(folder)}}
    match stage:
        case "ingest":
            return files
        case "crop":
            return {"crop": params.crop.model_dump(exclude={"deadline_s"}), **files}
        case "fit":
            return params.fit.model_dump(exclude={"deadline_s"})
        case "transcribe":
            return {**params.transcribe.model_dump(exclude={"deadline_s"}), "listens": True}
        case "speech":
            return {
                **params.speech.model_dump(exclude={"deadline_s", "mfa"}),
                **aligner_params(params),
                "aligner_folder": str(aligner),
            }
    raise ValueError(f"no stage {stage}")
