"""Version of the metric code: a number is only as good as the code that computed it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dimitra.shards import sha256_file
from dimitra.statistics.version import DATA_FILES as STATISTICS
from dimitra.sync.version import DATA_FILES as SYNC

DATA_FILES = (
    "beats.py",
    "bilabials.py",
    "coefficients.py",
    "definitions.py",
    "estimates.py",
    "features.py",
    "fidelity.py",
    "frechet.py",
    "image.py",
    "landmarks_distance.py",
    "motion.py",
    "procrustes.py",
    "published.py",
    "records.py",
    "summary.py",
)
"""Every module of this package; who states the version depends on all of them."""

MODULES = {"metrics": DATA_FILES, "statistics": STATISTICS, "sync": SYNC}
"""Package to the modules that make the numbers."""


def code_digest() -> str:
    """Sha256 of the sorted lines ``<sha256>  <package>/<module>`` of the metric modules."""
    root = Path(__file__).parents[1]
    files = sorted(f"{package}/{name}" for package, names in MODULES.items() for name in names)
    lines = "".join(f"{sha256_file(root / name)}  {name}\n" for name in files)
    return hashlib.sha256(lines.encode()).hexdigest()
