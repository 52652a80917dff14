"""What the trained SyncNet knows of people it has not seen, on the clips of a finished run.

    python -m benchmarks.sync                   # test clips of data/, network of evaluators/sync
    python -m benchmarks.sync --root RUN        # of a finished run elsewhere
    python -m benchmarks.sync --videos DIR      # in their place every .mp4 of a folder

For each clip: is the offset within a frame of 0; with the sound moved by k = -10..10 frames, within
a frame of k; is the confidence with another clip's sound lower. `ok` are shares. The protocol
tries 31 offsets, so a network that knows nothing is within a frame of the right one in about a
tenth of the cases, and has the lower confidence with the other sound in half of them. A film's
sound may lie beside it, as .wav of its name.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.clips import ClipError
from dimitra.media.audio import decode_flac, read_audio
from dimitra.media.video import iterate_frames, to_rgb
from dimitra.metrics.landmarks_distance import LANDMARKS
from dimitra.shards import iterate_shard, list_shards
from dimitra.sync import compact
from dimitra.sync.evaluator import SyncEvaluator, TooShortError, score_of
from dimitra.sync.protocol import SAMPLES_PER_FRAME
from pipelines.evaluate import dlib_finder
from pipelines.evaluation.scores import tested_clips
from pipelines.evaluation.sync import choose_donors

SHIFTS = range(-10, 11)


@dataclass(frozen=True)
class Embedded:
    """A clip: its pictures' embeddings, frames, and sound ``[N]`` at 16 kHz."""

    name: str
    lips: NDArray[np.float32]
    frames: int
    samples: NDArray[np.float32]


def embed(
    evaluator: SyncEvaluator,
    name: str,
    video: bytes | Path,
    samples: NDArray[np.float32],
    end_s: float | None = None,
) -> Embedded | None:
    """A clip's embeddings, with its own landmarks; None where no frame has a face."""
    find = dlib_finder()
    points = [find(to_rgb(frame)) for frame in iterate_frames(video, end_s=end_s)]
    found = np.array([one is not None for one in points], dtype=bool)
    if not found.any():
        return None
    blank = np.full((LANDMARKS, 2), np.nan)
    track = np.stack([blank if one is None else one for one in points])
    frames = (to_rgb(frame) for frame in iterate_frames(video, end_s=end_s))
    return Embedded(name, evaluator.lips(frames, track, found), len(found), samples)


def shifted(samples: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """The sound that many frames earlier; silence comes in at the end that opens."""
    by = frames * SAMPLES_PER_FRAME
    moved = np.roll(samples, -by)
    if by > 0:
        moved[-by:] = 0.0
    elif by < 0:
        moved[:-by] = 0.0
    return moved


def figures(
    evaluator: SyncEvaluator, clips: list[Embedded], donors: dict[str, str]
) -> dict[str, float]:
    """The shares and means of a set of clips."""
    by_name = {clip.name: clip for clip in clips}
    own, moved, lower, swapped = [], [], [], []
    for clip in clips:
        found = score_of(clip.lips, evaluator.sound(clip.samples, clip.frames))
        own.append(found)
        for shift in SHIFTS:
            sound = evaluator.sound(shifted(clip.samples, shift), clip.frames)
            moved.append(abs(score_of(clip.lips, sound).offset - shift) <= 1)
        donor = by_name.get(donors.get(clip.name, ""))
        if donor is not None:
            other = score_of(clip.lips, evaluator.sound(donor.samples, clip.frames))
            swapped.append(other.confidence)
            lower.append(other.confidence < found.confidence)
    return {
        "clips": len(clips),
        "offset_ok": float(np.mean([abs(one.offset) <= 1 for one in own])),
        "shifted_ok": float(np.mean(moved)),
        "distance": float(np.mean([one.distance for one in own])),
        "confidence": float(np.mean([one.confidence for one in own])),
        "confidence_swapped": float(np.mean(swapped)) if swapped else float("nan"),
        "swapped_lower_ok": float(np.mean(lower)) if lower else float("nan"),
    }


def _tested(evaluator: SyncEvaluator) -> Iterator[tuple[str, list[Embedded], dict[str, str]]]:
    clips = {clip.clip_id: clip for clip in tested_clips()}
    donors = choose_donors(list(clips.values()))
    sets: dict[str, list[Embedded]] = {}
    for shard in list_shards(Path("data/crops")):
        for clip_id, parts in iterate_shard(shard, clips):
            one = embed(evaluator, clip_id, parts["mp4"], decode_flac(parts["flac"])[0])
            if one is not None:
                sets.setdefault(clips[clip_id].dataset, []).append(one)
    for dataset, members in sorted(sets.items()):
        yield dataset, members, donors


def _films(evaluator: SyncEvaluator, folders: Sequence[Path], seconds: float) -> list[Embedded]:
    found = []
    for path in sorted(path for folder in folders for path in folder.glob("*.mp4")):
        try:
            beside = path.with_suffix(".wav")
            samples = read_audio(beside if beside.exists() else path, end_s=seconds)
            one = embed(evaluator, path.stem, path, samples, seconds)
            reason = "no face" if one is None else ""
        except (ClipError, TooShortError) as error:
            one, reason = None, str(error)
        if one is None:
            print(f"{path.name} is left out: {reason}")
            continue
        sound = evaluator.sound(one.samples, one.frames)
        score = score_of(one.lips, sound)
        print(f"{path.name}: offset {score.offset}, confidence {score.confidence:.3f}")
        found.append(one)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures of each data set, or of the films."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path(), help="folder of a finished run")
    parser.add_argument("--videos", type=Path, nargs="+", help="folders of other films")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each film, at most")
    options = parser.parse_args(arguments)
    videos = [folder.resolve() for folder in options.videos or ()]
    for folder in videos:
        if not any(folder.glob("*.mp4")):
            sys.stderr.write(f"{folder} holds no .mp4: name a folder of films\n")
            return 1
    network = options.root / "evaluators" / "sync"
    if not (network / "config.json").exists():
        sys.stderr.write(f"{network} holds no network: run `dvc repro`, or name --root\n")
        return 1
    torch.set_num_threads(1)
    os.chdir(options.root)
    evaluator = SyncEvaluator(compact.load(Path("evaluators/sync")), "mouth")
    if not videos:
        for dataset, clips, donors in _tested(evaluator):
            print(dataset, json.dumps(figures(evaluator, clips, donors)))
        return 0
    films = _films(evaluator, videos, options.seconds)
    names = [film.name for film in films]
    others = dict(zip(names, names[1:] + names[:1], strict=True))
    if films:
        print("videos", json.dumps(figures(evaluator, films, others)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
