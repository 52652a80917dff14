"""The videos of a study while they are gathered, under names that tell nothing."""

from __future__ import annotations

import random
from pathlib import Path

from dimitra.media.container import MediaInfo
from dimitra.shards import sha256_file
from dimitra.study.study import Video
from dimitra.study.videos import check_video, copy_video, freeze

FROZEN = "frozen"


class Gallery:
    """Copies, each made once.

    Args:
        folder: where they go.
        seed: of their names.

    Attributes:
        videos: in the order in which they came.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._rng = folder, random.Random(f"{seed}/names")
        self.videos: list[Video] = []
        self._at: dict[tuple[str, str], int] = {}

    def add(self, method: str, clip: str, source: Path, info: MediaInfo) -> int:
        """Number of a clip of a method, copied if it is not there yet."""
        if (method, clip) not in self._at:
            place = self._place("webm" if source.suffix.lower() == ".webm" else "mp4")
            copy_video(source, place)
            self._enter(method, clip, place, info)
        return self._at[method, clip]

    def add_frozen(self, clip: str, source: Path) -> int:
        """Number of a clip's frozen video."""
        place = self._place("mp4")
        freeze(source, place)
        self._enter(FROZEN, clip, place, check_video(place))
        return self._at[FROZEN, clip]

    def _place(self, suffix: str) -> Path:
        return self._folder / f"{self._rng.getrandbits(128):032x}.{suffix}"

    def _enter(self, method: str, clip: str, place: Path, info: MediaInfo) -> None:
        self._at[method, clip] = len(self.videos)
        self.videos.append(
            Video(
                file=place.name,
                sha256=sha256_file(place),
                media_type="video/webm" if place.suffix == ".webm" else "video/mp4",
                duration_s=round(info.duration_s, 3),
                width=info.width,
                height=info.height,
                sound=info.audio_codec is not None,
                method=method,
                clip=clip,
            )
        )
