"""Do lips meet at p, b and m? In the corpus's own motion, in the fit, as generated, and closed.

    python benchmarks/lip_contact.py                       # after a `dvc repro`
    python benchmarks/lip_contact.py --root RUN --truth truth/chorus

At every p, b, m of the test clips, as the corpus says when they are spoken: the smallest gap of the
inner lips within 40 ms, in millimetres of the face model, the widest of its three pairs of points.
Negative: the lips overlap, which is contact. The face model's mouth at rest has a gap of 2.5 mm.
`closed` is the generated motion as `dimitra animate` draws it, with the lips brought together at
the phonemes that the aligner has found.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dimitra.animation.lip_contact import closing_shares, inner_lips  # noqa: E402
from dimitra.morphable import open_head  # noqa: E402
from dimitra.morphable.model import FaceModel  # noqa: E402
from dimitra.shards import read_npz  # noqa: E402

BILABIALS = frozenset("PBM")
AROUND_S = 0.04
FPS = 25.0
MM = 100.0
NOTHING_MM = 1e-3
"""Lips that are brought together miss each other by the rounding of float32."""
LIMITS_MM = (0.0, 1.0, 2.0, 3.0)


def lip_gaps(
    model: FaceModel, identity: NDArray[np.float32], expression: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Widest vertical gap of the inner lips in each frame, millimetres, [T]."""
    return np.asarray(MM * inner_lips(model, identity).gaps(expression).max(axis=1))


def member(shard: Path, name: str) -> bytes:
    """Content of a file in a shard."""
    with tarfile.open(shard) as tar:
        content = tar.extractfile(name)
        if content is None:
            raise FileNotFoundError(f"{shard} holds no {name}")
        return content.read()


def contacts(data: Path, truth: Path) -> dict[str, list[float]]:
    """The smallest gap at each p, b, m: in the truth, in the fit, as generated, closed."""
    model = open_head.load()
    found: dict[str, list[float]] = {"truth": [], "fit": [], "generated": [], "closed": []}
    for shard in sorted((data / "generated").glob("*.tar")):
        with tarfile.open(shard) as tar:
            names = [name for name in tar.getnames() if name.endswith(".generated.npz")]
        for name in names:
            clip = name.split(".")[0]
            if not (truth / f"{clip}.npz").is_file():
                continue
            own = read_npz((truth / f"{clip}.npz").read_bytes())
            fit = read_npz(member(data / "motion" / shard.name, f"{clip}.motion.npz"))
            made = read_npz(member(shard, name))["motion"]
            made = made[0] if made.ndim == 3 else made
            heard = read_npz(member(data / "speech" / shard.name, f"{clip}.speech.npz"))
            lips = inner_lips(model, fit["identity"])
            closed = lips.closed(made, closing_shares(heard["phonemes"]))
            gaps = {
                "truth": lip_gaps(model, own["identity"], own["expression"]),
                "fit": lip_gaps(model, fit["identity"], fit["expression"]),
                "generated": lip_gaps(model, fit["identity"], made[:, :64]),
                "closed": lip_gaps(model, fit["identity"], closed[:, :64]),
            }
            seconds = (np.arange(min(map(len, gaps.values()))) + 0.5) / FPS
            for phone, (start, end) in zip(own["phones"], own["phone_times"], strict=True):
                near = np.flatnonzero((seconds > start - AROUND_S) & (seconds < end + AROUND_S))
                if str(phone) in BILABIALS and len(near):
                    for kind, values in gaps.items():
                        found[kind].append(float(values[near].min()))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path(), help="of a finished `dvc repro`")
    parser.add_argument("--truth", type=Path, default=Path("truth/chorus"), help="of the corpus")
    options = parser.parse_args(arguments)
    found = contacts(options.root / "data", options.truth)
    if not found["truth"]:
        sys.stderr.write(f"no p, b or m: are {options.root}/data/generated and the truth there?\n")
        return 1
    columns = [f"< {limit:g} mm" for limit in LIMITS_MM]
    table = Table("motion", "p, b, m", "median mm", "largest mm", *columns)
    for kind, values in found.items():
        shares = [f"{np.mean(np.less(values, limit + NOTHING_MM)):.1%}" for limit in LIMITS_MM]
        table.add_row(
            kind, str(len(values)), f"{np.median(values):.2f}", f"{max(values):.2f}", *shares
        )
    Console(width=100).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
