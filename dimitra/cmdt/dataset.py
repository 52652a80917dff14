"""Training windows read from the shards, in an order that depends on the seed alone."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.byte_cache import ByteCache
from dimitra.cmdt.batch import Batch, PackedBatch, PackedConditions
from dimitra.cmdt.conditions import pad_stack
from dimitra.cmdt.drive import PHONEME_IDS, Drive
from dimitra.cmdt.dropout import KEYS
from dimitra.npz_views import npz_views
from dimitra.seeds import clip_seed
from dimitra.shard_members import Place, places_of

CACHE_BYTES = 512 << 20
"""Of clips kept in memory: some 2,000 of six seconds and 416 values a feature, 800 of 1,024."""
PARTS = ("motion.npz", "speech.npz", "text.npz")
"""Of a clip in a train or test shard, those that training reads."""


@dataclass(frozen=True, eq=False)
class MotionClip:
    """A training clip: motion [T, 70] float32 and what drives it."""

    clip_id: str
    motion: NDArray[np.float32]
    drive: Drive


class Corpus(Protocol):
    """Clips that can be read in any order."""

    @property
    def clip_ids(self) -> Sequence[str]:
        """Every clip, sorted."""
        ...

    def load(self, clip_id: str) -> MotionClip:
        """Read one clip."""
        ...


class BadClipError(ValueError):
    """A clip cannot be trained on; the message names it and says why."""


def clip_from_arrays(clip_id: str, parts: Mapping[str, Mapping[str, Any]]) -> MotionClip:
    """A clip from the arrays of ``motion.npz``, ``speech.npz`` and ``text.npz``.

    Raises:
        BadClipError: a part is missing, motion and phonemes differ in frames, or a phoneme has no
            place in the model's table.
    """
    missing = [name for name in PARTS if name not in parts]
    if missing:
        raise BadClipError(f"clip {clip_id} has no {', '.join(missing)} in its shard")
    motion = parts["motion.npz"]
    drive = Drive.from_arrays(parts["speech.npz"], parts["text.npz"])
    values = np.concatenate([motion["expression"], motion["pose"]], axis=1)
    if len(values) != drive.frames:
        raise BadClipError(
            f"clip {clip_id}: {len(values)} frames of motion but {drive.frames} of phonemes"
        )
    wrong = np.flatnonzero((drive.phonemes < 0) | (drive.phonemes >= PHONEME_IDS))
    if len(wrong):
        raise BadClipError(
            f"clip {clip_id}: phoneme {drive.phonemes[wrong[0]]} at frame {wrong[0]}, but the "
            f"model knows 0 to {PHONEME_IDS - 1}; make the clip's speech and shard again"
        )
    return MotionClip(clip_id, values.astype(np.float32, copy=False), drive)


def _size(clip: MotionClip) -> int:
    drive = clip.drive
    return clip.motion.nbytes + drive.features.nbytes + drive.text_tokens.nbytes


class ShardCorpus:
    """Random access to the clips of WebDataset shards, by the offsets of their tar members.

    Args:
        shards: tar files; each clip stands in one of them.
        cache_bytes: of clips that are kept in memory.

    Raises:
        ValueError: no shards, no clips, or a clip in two shards.
    """

    def __init__(self, shards: Sequence[Path], cache_bytes: int = CACHE_BYTES) -> None:
        self._places: dict[str, dict[str, Place]] = {}
        for path in sorted(shards):
            self._index(path)
        if not self._places:
            raise ValueError(f"no clips to train on in {len(shards)} shards")
        self.clip_ids: Sequence[str] = sorted(self._places)
        self._cache = ByteCache(self._read, _size, cache_bytes)

    def _index(self, path: Path) -> None:
        found: dict[str, dict[str, Place]] = {}
        for clip_id, part, place in places_of(path):
            found.setdefault(clip_id, {})[part] = place
        for clip_id in found:
            if clip_id in self._places:
                raise ValueError(f"clip {clip_id} of {path} stands in another shard too")
        self._places.update(found)

    def _read(self, clip_id: str) -> MotionClip:
        places = self._places[clip_id]
        parts = {name: npz_views(places[name].read()) for name in PARTS if name in places}
        return clip_from_arrays(clip_id, parts)

    def load(self, clip_id: str) -> MotionClip:
        """Read one clip, from memory where it was read recently.

        Raises:
            BadClipError: it cannot be trained on.
            OSError: its shard cannot be read.
        """
        return self._cache.get(clip_id)


class Windows:
    """The stream of training batches: a pure function of (seed, step).

    The corpus is shuffled anew each epoch. Every random number of a window (its start, its
    diffusion step, its noise, the key of its dropout) comes from (seed, position in the stream,
    clip id), so a batch can be computed anywhere, in any order, by any number of workers. All
    windows of a batch have one length, drawn between half of N and N, because long motion is
    generated in chunks of such lengths; a shorter clip is padded and masked.

    Args:
        corpus: the training clips.
        columns: the part's columns of the 70 motion values.
        frames: N.
        speech_window: w, features on each side of a frame's own.
        batch: windows a step.
        diffusion_steps: steps of the noise schedule.
        seed: of the run.
        null_probability: share of the windows that see no speech, phonemes and text, for
            classifier-free guidance (Ho and Salimans, 2021).
    """

    def __init__(
        self,
        corpus: Corpus,
        columns: Sequence[int],
        frames: int,
        speech_window: int,
        batch: int,
        diffusion_steps: int,
        seed: int,
        null_probability: float = 0.0,
    ) -> None:
        self.corpus = corpus
        self.columns = list(columns)
        self.frames = frames
        self.speech_window = speech_window
        self.batch_size = batch
        self.diffusion_steps = diffusion_steps
        self.seed = seed
        self.null_probability = null_probability
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> list[str]:
        generator = self._generator("order", str(epoch))
        ids = self.corpus.clip_ids
        return [ids[index] for index in torch.randperm(len(ids), generator=generator).tolist()]

    def _generator(self, *names: str) -> torch.Generator:
        return torch.Generator().manual_seed(clip_seed(self.seed, *names))

    def length_of(self, step: int) -> int:
        """Frames of the windows of a step."""
        generator = self._generator("length", str(step))
        shortest = (self.frames + 1) // 2
        return int(torch.randint(shortest, self.frames + 1, (), generator=generator))

    def batch(self, step: int, rank: int = 0, peers: int = 1) -> Batch:
        """As ``packed``, laid out on the CPU."""
        return self.packed(step, rank, peers).to(torch.device("cpu"))

    def packed(self, step: int, rank: int = 0, peers: int = 1) -> PackedBatch:
        """The batch of a step, or one process's share of it.

        Args:
            step: from 0.
            rank: of the process; it takes the windows ``rank``, ``rank + peers``, ...
            peers: number of processes, at most ``batch_size``.
        """
        length = self.length_of(step)
        clip_ids, motions, drives, noises, levels, keys = [], [], [], [], [], []
        unheard: list[bool] = []
        for slot in range(rank, self.batch_size, peers):
            epoch, place = divmod(step * self.batch_size + slot, len(self.corpus.clip_ids))
            clip = self.corpus.load(self._order(epoch)[place])
            generator = self._generator("window", str(epoch), str(place), clip.clip_id)
            frames = min(length, len(clip.motion))
            last = len(clip.motion) - frames
            start = int(torch.randint(0, last + 1, (), generator=generator))
            levels.append(torch.randint(0, self.diffusion_steps, (), generator=generator))
            noises.append(torch.randn(frames, len(self.columns), generator=generator))
            motions.append(torch.from_numpy(clip.motion[start : start + frames][:, self.columns]))
            drives.append(clip.drive.window(start, frames, self.speech_window))
            clip_ids.append(clip.clip_id)
            if self.null_probability:
                draw = torch.rand((), generator=generator)
                unheard.append(bool(draw < self.null_probability))
            keys.append(torch.randint(0, KEYS, (), generator=generator))
        clean, mask = pad_stack(motions)
        return PackedBatch(
            clip_ids=tuple(clip_ids),
            clean=clean,
            mask=mask,
            conditions=PackedConditions.of(drives, torch.stack([one[0] for one in motions])),
            noise=pad_stack(noises)[0],
            steps=torch.stack(levels),
            keys=torch.stack(keys),
            unheard=torch.tensor(unheard) if self.null_probability else None,
        )
