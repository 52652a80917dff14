"""What the trained SyncNet knows of people it has not seen, on the clips of a finished run.

    python -m benchmarks.sync                   # test clips of data/, network of evaluators/sync
    python -m benchmarks.sync --videos DIR      # every .mp4 with sound in a folder too

For each clip: is the offset within a frame of 0; with the sound moved by k = -10..10 frames, within
a frame of k; is the confidence with another clip's sound lower. `ok` are shares.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.clips import ClipError
from dimitra.media.audio import SAMPLE_RATE_HZ, decode_flac, read_audio
from dimitra.media.video import iterate_frames, to_rgb
from dimitra.shards import iterate_shard, list_shards
from dimitra.sync import compact
from dimitra.sync.evaluator import SyncEvaluator, TooShortError, score_of
from dimitra.sync.protocol import SAMPLES_PER_FRAME
from pipelines.evaluate import dlib_finder, track_faces
from pipelines.evaluate_sync import choose_donors
from pipelines.scores import tested_clips

SHIFTS = range(-10, 11)


@dataclass(frozen=True)
class Embedded:
    """A clip: its pictures' embeddings, frames, and sound ``[N]`` at 16 kHz."""

    name: str
    lips: NDArray[np.float32]
    frames: int
    samples: NDArray[np.float32]


def embed(
    evaluator: SyncEvaluator, name: str, video: bytes | Path, samples: NDArray[np.float32]
) -> Embedded | None:
    """A clip's embeddings, with its own landmarks; None where no frame has a face."""
    track = track_faces(video, dlib_finder())  # type: ignore[arg-type] # a path decodes too
    if not track.found.any():
        return None
    frames = (to_rgb(frame) for frame in iterate_frames(video))
    lips = evaluator.lips(frames, track.points, track.found)
    return Embedded(name, lips, len(track.found), samples)


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


def _films(evaluator: SyncEvaluator, folder: Path) -> list[Embedded]:
    found = []
    for path in sorted(folder.glob("*.mp4")):
        try:
            samples = read_audio(path)[: 60 * SAMPLE_RATE_HZ]
            one = embed(evaluator, path.stem, path, samples)
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


def main() -> None:
    """Print the figures of each data set."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--videos", type=Path, help="folder of other videos with sound")
    options = parser.parse_args()
    torch.set_num_threads(1)
    evaluator = SyncEvaluator(compact.load(Path("evaluators/sync")), "mouth")
    for dataset, clips, donors in _tested(evaluator):
        print(dataset, json.dumps(figures(evaluator, clips, donors)))
    if options.videos is not None:
        films = _films(evaluator, options.videos)
        names = [film.name for film in films]
        others = dict(zip(names, names[1:] + names[:1], strict=True))
        if films:
            print("videos", json.dumps(figures(evaluator, films, others)))


if __name__ == "__main__":
    main()
