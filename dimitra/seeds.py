"""Seeds derived from (seed, names), so that no result depends on the order of work."""

from __future__ import annotations

import hashlib


def clip_seed(seed: int, *names: str) -> int:
    """A 63-bit seed for one clip (or any named thing), the same on every machine.

    Args:
        seed: the run's seed.
        names: what the random numbers are for, for example a clip id and a purpose.
    """
    text = "\0".join([str(seed), *names]).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
