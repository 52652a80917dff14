"""Version of the metric code: a number is only as good as the code that computed it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dimitra.shards import sha256_file

DATA_FILES = (
    "coefficients.py",
    "definitions.py",
    "image.py",
    "landmarks_distance.py",
    "motion.py",
    "procrustes.py",
    "published.py",
    "records.py",
    "summary.py",
)
"""Every module of this package; who states the version depends on all of them."""


def code_digest() -> str:
    """Sha256 of the sorted lines ``<sha256>  <module>`` of the metric modules."""
    folder = Path(__file__).parent
    lines = "".join(f"{sha256_file(folder / name)}  {name}\n" for name in sorted(DATA_FILES))
    return hashlib.sha256(lines.encode()).hexdigest()
