"""Pairs of frames of one clip, from which a renderer learns: photo, window of motion, true picture.

A pair is built as at inference: the photo's alignment drives every frame of the window, since it
is measured on the photo and not generated.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from torch import Tensor

from dimitra.byte_cache import ByteCache
from dimitra.media.video import read_video
from dimitra.morphable.deng_coefficients import descriptors, rescale_crop, windows
from dimitra.render.reference import resize_reference
from dimitra.seeds import clip_seed
from dimitra.shard_members import Place, places_of
from dimitra.shards import read_npz

MOUTH = slice(48, 68)
"""Of the 68 landmarks."""
MOUTH_WEIGHT = 3.0
"""Weight of the mouth's pixels above those of the rest of the face, which have 1."""


@dataclass(frozen=True, eq=False)
class RendererClip:
    """A clip as the training sees it.

    Attributes:
        clip_id: its name.
        frames: [T, S, S, 3] uint8.
        motion: [T, 70].
        crop: [T, 3] alignments in pixels of the frames.
        landmarks: [T, 68, 2] in pixels of the frames.
    """

    clip_id: str
    frames: NDArray[np.uint8]
    motion: NDArray[np.float32]
    crop: NDArray[np.float32]
    landmarks: NDArray[np.float32]


class RendererCorpus(Protocol):
    """Clips that can be read in any order."""

    @property
    def clip_ids(self) -> Sequence[str]:
        """Every clip, sorted."""
        ...

    def load(self, clip_id: str) -> RendererClip:
        """Read one clip."""
        ...


class CropCorpus:
    """Random access to crops and their motion, by the offsets of their tar members.

    Args:
        crops: shards with ``mp4`` and ``track.npz``.
        motion: shards with ``motion.npz``.
        clip_ids: the clips to train on; others in the shards are passed over.
        crop_size: side of the crops, pixels.
        size: side of the frames, pixels.
        cache_bytes: decoded frames kept in memory; a clip that was used long ago goes first.

    Raises:
        ValueError: no clips, or one of them lacks a part.
    """

    PARTS = ("mp4", "track.npz", "motion.npz")

    def __init__(
        self,
        crops: Sequence[Path],
        motion: Sequence[Path],
        clip_ids: Sequence[str],
        crop_size: int,
        size: int,
        cache_bytes: int,
    ) -> None:
        self._places: dict[str, dict[str, Place]] = {one: {} for one in clip_ids}
        self._crop_size, self._size = crop_size, size
        for path in (*crops, *motion):
            self._index(path)
        for clip_id, parts in self._places.items():
            missing = [part for part in self.PARTS if part not in parts]
            if missing:
                raise ValueError(f"clip {clip_id} has no {', '.join(missing)} in the shards")
        if not self._places:
            raise ValueError(f"no clips to train on in {len(crops)} shards of crops")
        self.clip_ids: Sequence[str] = sorted(self._places)
        self._cache = ByteCache(self._read, lambda clip: clip.frames.nbytes, cache_bytes)

    def _index(self, path: Path) -> None:
        for clip_id, part, place in places_of(path):
            if clip_id in self._places:
                self._places[clip_id][part] = place

    def _part(self, clip_id: str, part: str) -> bytes:
        return self._places[clip_id][part].read().tobytes()

    def coefficients(self, clip_id: str) -> NDArray[np.float32]:
        """Descriptors [T, 73] of a clip in pixels of the frames, without its pictures."""
        fitted = read_npz(self._part(clip_id, "motion.npz"))
        motion, crop = to_motion(fitted), torch.from_numpy(fitted["crop"].astype(np.float32))
        return descriptors(motion, rescale_crop(crop, self._crop_size, self._size)).numpy()

    def load(self, clip_id: str) -> RendererClip:
        """Read one clip, from memory where it was used lately.

        Raises:
            ValueError: frames, motion and track differ in length, or a value is not finite.
        """
        return self._cache.get(clip_id)

    def _read(self, clip_id: str) -> RendererClip:
        video = read_video(self._part(clip_id, "mp4"))
        track = read_npz(self._part(clip_id, "track.npz"))
        values = self.coefficients(clip_id)
        ratio = self._size / self._crop_size
        if video.shape[1:3] != (self._crop_size, self._crop_size):
            raise ValueError(
                f"clip {clip_id}: crops of {video.shape[2]}x{video.shape[1]} px, expected "
                f"{self._crop_size}"
            )
        clip = RendererClip(
            clip_id,
            np.stack([resize_reference(one, values[0, 70:], self._size)[0] for one in video]),
            values[:, :70],
            values[:, 70:],
            track["landmarks"].astype(np.float32) * np.float32(ratio),
        )
        lengths = {len(clip.frames), len(clip.motion), len(clip.landmarks)}
        if len(lengths) != 1:
            raise ValueError(f"clip {clip_id}: frames, motion and track have {sorted(lengths)}")
        return clip


def to_motion(fitted: Mapping[str, NDArray[Any]]) -> Float[Tensor, "frames 70"]:
    """Expression, angles and translation of ``motion.npz``."""
    joined = np.concatenate([fitted["expression"], fitted["pose"]], axis=1)
    return torch.from_numpy(joined.astype(np.float32))


@dataclass(frozen=True, eq=False)
class PairBatch:
    """What one training step learns from.

    Attributes:
        clip_ids: B clips, one for every pair.
        photo: [B, 3, S, S] in -1..1.
        window: [B, 73, 27] descriptors around the target frame, as at inference.
        target: [B, 3, S, S] in -1..1.
        region: [B, 1, S, S] weights of the target's pixels: 1 in the face, more at the mouth.
    """

    clip_ids: tuple[str, ...]
    photo: Float[Tensor, "batch 3 size size"]
    window: Float[Tensor, "batch 73 27"]
    target: Float[Tensor, "batch 3 size size"]
    region: Float[Tensor, "batch 1 size size"]

    def to(self, device: torch.device) -> PairBatch:
        """The same batch on another device."""
        tensors = (self.photo, self.window, self.target, self.region)
        return PairBatch(self.clip_ids, *(one.to(device) for one in tensors))


class Pairs:
    """The stream of training batches: a pure function of (seed, step).

    The clips are shuffled anew each epoch; the two frames of a pair come from (seed, place in the
    stream, clip id). As PIRender trains, every pair is taken both ways, so a batch of B pairs holds
    2 B pictures.

    Args:
        corpus: the training clips.
        pairs: B, of a step.
        seed: of the run.
    """

    def __init__(self, corpus: RendererCorpus, pairs: int, seed: int) -> None:
        self.corpus, self.pairs, self.seed = corpus, pairs, seed
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> list[str]:
        ids = sorted(self.corpus.clip_ids)
        rng = np.random.default_rng(clip_seed(self.seed, "renderer order", str(epoch)))
        return [ids[index] for index in rng.permutation(len(ids))]

    def chosen(self, step: int) -> list[tuple[str, int]]:
        """Clip of every pair of a step, and the seed of its frames."""
        found = []
        for slot in range(self.pairs):
            epoch, place = divmod(step * self.pairs + slot, len(self.corpus.clip_ids))
            clip_id = self._order(epoch)[place]
            names = ("renderer pair", str(step), str(slot), clip_id)
            found.append((clip_id, clip_seed(self.seed, *names)))
        return found

    def batch(self, step: int) -> PairBatch:
        """The batch of a step, on the CPU; first all pairs one way, then the other.

        Raises:
            ValueError: a clip cannot be used.
        """
        there, back = [], []
        for clip_id, seed in self.chosen(step):
            clip = self.corpus.load(clip_id)
            first, second = np.random.default_rng(seed).integers(len(clip.frames), size=2).tolist()
            there.append(pair_of(clip, first, second))
            back.append(pair_of(clip, second, first))
        both = [*there, *back]
        columns = zip(
            *((one.photo, one.window, one.target, one.region) for one in both), strict=True
        )
        names = tuple(one.clip_ids[0] for one in both)
        return PairBatch(names, *(torch.cat(column) for column in columns))


def pair_of(clip: RendererClip, source: int, target: int) -> PairBatch:
    """One pair: the photo is frame ``source``, the truth frame ``target``."""
    crop = np.tile(clip.crop[source], (len(clip.motion), 1))
    values = descriptors(torch.from_numpy(clip.motion), torch.from_numpy(crop))
    window = windows(values)[target]
    size = clip.frames.shape[1]
    region = face_region(clip.landmarks[target], size)
    return PairBatch(
        (clip.clip_id,),
        to_levels(clip.frames[source])[None],
        window[None],
        to_levels(clip.frames[target])[None],
        torch.from_numpy(region)[None, None],
    )


def to_levels(picture: NDArray[np.uint8]) -> Float[Tensor, "3 height width"]:
    """A picture [H, W, 3] of bytes in -1..1, as the renderer takes it."""
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1).float() / 127.5 - 1.0


def face_region(landmarks: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Weights [S, S]: 1 in the hull of the 68 landmarks, ``1 + MOUTH_WEIGHT`` in the mouth's."""
    inside = _inside(landmarks, size).astype(np.float32)
    mouth = _inside(landmarks[MOUTH], size).astype(np.float32)
    return inside + np.float32(MOUTH_WEIGHT) * mouth


def _inside(points: NDArray[np.float32], size: int) -> NDArray[np.bool_]:
    """Pixels whose middle lies in the convex hull of points."""
    sides = ConvexHull(points.astype(np.float64)).equations
    middles = np.arange(size) + 0.5
    x, y = np.meshgrid(middles, middles)
    values = sides[:, 0, None, None] * x + sides[:, 1, None, None] * y + sides[:, 2, None, None]
    return np.asarray((values <= 0.0).all(axis=0))
