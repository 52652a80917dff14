"""Features of the transcript's tokens from a pretrained text encoder, by stretch of time.

A transcript that fits into ``limit`` tokens is one stretch. A longer one is cut by the times of
its words on a fixed grid; a cell of the grid that is still too full is halved until it fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_SHORTEST_CELL_S = 0.25


@dataclass(frozen=True)
class TokenFeatures:
    """Token features of several texts, padded to the longest.

    Attributes:
        tokens: ``[K, L, E]``; zero where there is no token.
        mask: ``[K, L]``; true where there is a token.
    """

    tokens: NDArray[np.float32]
    mask: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Sequence[NDArray[np.float32]]) -> TokenFeatures:
        """Pad the features ``[L, E]`` of at least one text each."""
        tokens = np.zeros((len(rows), max(map(len, rows)), rows[0].shape[1]), dtype=np.float32)
        mask = np.zeros(tokens.shape[:2], dtype=np.bool_)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = row
            mask[index, : len(row)] = True
        return cls(tokens, mask)


def shortened(ids: Sequence[int], limit: int) -> list[int]:
    """At most ``limit`` token ids: the last of the text go, the end mark stays."""
    return list(ids) if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]


class TextEncoder(Protocol):
    """Text to one vector a token.

    Attributes:
        dim: width ``E`` of a vector.
    """

    dim: int

    def length(self, text: str) -> int:
        """Number of tokens of a text, the encoder's own start and end marks included."""
        ...

    def encode(self, texts: Sequence[str]) -> TokenFeatures:
        """Features of each text's tokens."""
        ...


@dataclass(frozen=True)
class Stretch:
    """A piece of the transcript.

    Attributes:
        start_s: where its cell of the grid begins, seconds; it lasts until the next stretch.
        text: the words that begin in it; may be empty.
    """

    start_s: float
    text: str


def stretches(
    text: str,
    starts_s: Sequence[float],
    duration_s: float,
    cell_s: float,
    encoder: TextEncoder,
    limit: int,
) -> list[Stretch]:
    """Cut a transcript into stretches of at most ``limit`` tokens.

    Args:
        text: the transcript.
        starts_s: when each word of ``text.split()`` begins, seconds, not decreasing.
        duration_s: length of the clip.
        cell_s: length of a cell of the grid, which begins at 0.
        encoder: counts tokens.
        limit: tokens of a stretch, start and end marks included.

    Raises:
        ValueError: the times are not one a word.
    """
    words = text.split()
    if len(words) != len(starts_s):
        raise ValueError(f"{len(starts_s)} word times for {len(words)} words: one a word is needed")
    if encoder.length(text) <= limit:
        return [Stretch(0.0, " ".join(words))]
    found: list[Stretch] = []
    cells = max(1, int(np.ceil(duration_s / cell_s)))
    # Cells wait on a stack, first in time on top, as (index in the grid of its size, size).
    waiting = [(index, cell_s) for index in reversed(range(cells))]
    while waiting:
        index, size = waiting.pop()
        start_s, stop_s = index * size, (index + 1) * size
        inside = [
            word
            for word, time in zip(words, starts_s, strict=True)
            if start_s <= min(time, duration_s - 1e-6) < stop_s
        ]
        own = " ".join(inside)
        if encoder.length(own) > limit and size / 2 >= _SHORTEST_CELL_S:
            waiting += [(2 * index + 1, size / 2), (2 * index, size / 2)]
        else:
            found.append(Stretch(start_s, own))
    return found


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """Token features of a clip's text, stretch by stretch.

    Attributes:
        tokens: ``[K, L, E]`` float16.
        mask: ``[K, L]``.
        start_s: ``[K]``, when each stretch begins, seconds.
    """

    tokens: NDArray[np.float16]
    mask: NDArray[np.bool_]
    start_s: NDArray[np.float32]


def text_features(
    text: str,
    starts_s: Sequence[float],
    duration_s: float,
    encoder: TextEncoder,
    cell_s: float,
    limit: int,
) -> TextFeatures:
    """Token features of each of ``stretches``, whose arguments these are."""
    cut = stretches(text, starts_s, duration_s, cell_s, encoder, limit)
    features = encoder.encode([stretch.text for stretch in cut])
    return TextFeatures(
        features.tokens.astype(np.float16),
        features.mask,
        np.array([stretch.start_s for stretch in cut], np.float32),
    )
