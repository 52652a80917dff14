"""Training windows read from the shards, in an order that depends on the seed alone."""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dimitra.cmdt.conditions import Condition, Conditions, pad_stack
from dimitra.cmdt.drive import Drive, DriveWindow
from dimitra.cmdt.dropout import KEYS
from dimitra.seeds import clip_seed
from dimitra.shards import Members, read_npz

CACHED_CLIPS = 256
"""Decoded clips kept in memory: a quarter of a megabyte for six seconds of 416-d features."""


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


def clip_from_parts(clip_id: str, parts: Members) -> MotionClip:
    """Decode the parts of a clip in a train or test shard.

    Raises:
        ValueError: motion and phonemes differ in frames.
    """
    motion = read_npz(parts["motion.npz"])
    drive = Drive.from_arrays(read_npz(parts["speech.npz"]), read_npz(parts["text.npz"]))
    values = np.concatenate([motion["expression"], motion["pose"]], axis=1)
    if len(values) != drive.frames:
        raise ValueError(
            f"clip {clip_id}: {len(values)} frames of motion but {drive.frames} of phonemes"
        )
    return MotionClip(clip_id, values.astype(np.float32), drive)


class ShardCorpus:
    """Random access to the clips of WebDataset shards, by the offsets of their tar members.

    Args:
        shards: tar files; each clip stands in one of them.

    Raises:
        ValueError: no shards, no clips, or a clip in two shards.
    """

    def __init__(self, shards: Sequence[Path]) -> None:
        self._members: dict[str, dict[str, tuple[Path, int, int]]] = {}
        for path in sorted(shards):
            self._index(path)
        if not self._members:
            raise ValueError(f"no clips to train on in {len(shards)} shards")
        self.clip_ids: Sequence[str] = sorted(self._members)
        self._cached = functools.lru_cache(maxsize=CACHED_CLIPS)(self._read)

    def _index(self, path: Path) -> None:
        found: dict[str, dict[str, tuple[Path, int, int]]] = {}
        with tarfile.open(path, mode="r:") as archive:
            for info in archive:
                clip_id, _, part = info.name.partition(".")
                found.setdefault(clip_id, {})[part] = (path, info.offset_data, info.size)
        for clip_id in found:
            if clip_id in self._members:
                raise ValueError(f"clip {clip_id} of {path} stands in another shard too")
        self._members.update(found)

    def _read(self, clip_id: str) -> MotionClip:
        parts: Members = {}
        for part, (path, offset, size) in self._members[clip_id].items():
            if part.endswith(".npz"):
                with path.open("rb") as file:
                    file.seek(offset)
                    parts[part] = file.read(size)
        return clip_from_parts(clip_id, parts)

    def load(self, clip_id: str) -> MotionClip:
        """Read one clip, from memory where it was read recently."""
        return self._cached(clip_id)


@dataclass(frozen=True, eq=False)
class Batch:
    """One training step's windows.

    Attributes:
        clip_ids: B clips; one can stand twice.
        clean: [B, N, d] x_0 in the units of the data, zero-padded.
        mask: [B, N] bool, True for the real frames.
        conditions: of each window; ``first_pose`` is the window's own first frame.
        noise: [B, N, d] standard normal.
        steps: [B] int64 diffusion steps.
        keys: [B] int64, each window's dropout noise (``dropout.key``).
    """

    clip_ids: tuple[str, ...]
    clean: Tensor
    mask: Tensor
    conditions: Conditions
    noise: Tensor
    steps: Tensor
    keys: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(
            self.clip_ids,
            self.clean.to(device),
            self.mask.to(device),
            self.conditions.to(device),
            self.noise.to(device),
            self.steps.to(device),
            self.keys.to(device),
        )


def gather_conditions(drives: Sequence[DriveWindow], first_poses: Tensor) -> Conditions:
    """Conditions of a batch of windows, padded to the longest.

    Args:
        drives: B windows.
        first_poses: [B, d].
    """
    speech = pad_stack([drive.speech for drive in drives])
    phonemes = pad_stack([drive.phonemes for drive in drives])
    text = pad_stack([drive.text for drive in drives])
    real = torch.ones(len(drives), 1, dtype=torch.bool)
    return Conditions(
        speech=Condition("speech", *speech),
        phonemes=Condition("phonemes", *phonemes),
        text=Condition("text", *text),
        first_pose=Condition("first_pose", first_poses[:, None], real),
    )


class Windows:
    """The stream of training batches: a pure function of (seed, step).

    The corpus is shuffled anew each epoch. Every random number of a window (its start, its
    diffusion step, its noise, the key of its dropout) comes from (seed, position in the stream,
    clip id), so a batch can be computed anywhere, in any order, by any number of workers. All
    windows of a batch have one length, drawn between half of N and N, because long motion is generated in chunks of such
    lengths; a shorter clip is padded and masked.

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
        """The batch of a step, or one process's share of it, on the CPU.

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
        conditions = gather_conditions(drives, torch.stack([motion[0] for motion in motions]))
        if self.null_probability:
            conditions = conditions.unheard(torch.tensor(unheard))
        return Batch(
            clip_ids=tuple(clip_ids),
            clean=clean,
            mask=mask,
            conditions=conditions,
            noise=pad_stack(noises)[0],
            steps=torch.stack(levels),
            keys=torch.stack(keys),
        )
