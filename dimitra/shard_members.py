"""Where the parts of clips lie in a shard, for reading them in any order."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of bytes of a file: where one part of a clip lies in its shard."""

    path: Path
    offset: int
    size: int

    def read(self) -> NDArray[np.uint8]:
        """The bytes [size].

        Raises:
            OSError: the file cannot be read, or is shorter than it was.
        """
        data = np.empty(self.size, np.uint8)
        with self.path.open("rb", buffering=0) as file:
            file.seek(self.offset)
            got = 0
            while got < self.size and (more := file.readinto(data[got:].data)):
                got += more
        if got < self.size:
            raise OSError(f"{self.path} ends {self.size - got} bytes before the part that it held")
        return data


def places_of(shard: Path) -> Iterator[tuple[str, str, Place]]:
    """Clip id, part and place of every member of a shard, in its order."""
    with tarfile.open(shard, mode="r:") as archive:
        for info in archive:
            clip_id, _, part = info.name.partition(".")
            yield clip_id, part, Place(shard, info.offset_data, info.size)
