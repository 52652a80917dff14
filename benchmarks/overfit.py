"""Does the model learn one real clip by heart, and what does it then say of another speaker?

    dvc repro shard                      # on your own clips; parameters: docs/morphable.md
    python benchmarks/overfit.py --steps 800

For every clip of `data/shards`, train and test alike, the parts of `--parts` are trained on that
clip alone, with the parameters of `params.yaml`, from its own speech. Then motion is generated for
every clip from its first pose and its speech:

* the clip itself: the loss has to go to near zero and the motion to that of the clip, or the model
  cannot learn (wrong masks, clocks, conditions, normalisation);
* any other: how far one clip of one speaker carries. Read it as it is: a minute of one voice is no
  training set.

Every window hears its speech (`diffusion.null_probability` 0). Loss: L_diff, normalised, mean of
the last 50 steps, under `diffusion.weighting` (about 1: the training mean). Error: mean absolute
error over that of the frozen first pose (below 1 is better than not moving). Correlation: of each
value with the clip's own over time, weighted by how much it varies.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.motion.sampling import correlation  # noqa: E402
from dimitra.cmdt.checkpoint import TrainedPart  # noqa: E402
from dimitra.cmdt.dataset import MotionClip, ShardCorpus  # noqa: E402
from dimitra.cmdt.parts import mouth_columns  # noqa: E402
from dimitra.cmdt.recursion import SamplingConfig, generate_part  # noqa: E402
from dimitra.cmdt.training import train  # noqa: E402
from dimitra.learning.pace import deterministic  # noqa: E402
from dimitra.morphable.coefficients import EXPRESSION_SIZE, PARTS, Part  # noqa: E402
from pipelines.params import load  # noqa: E402
from pipelines.shard import moments  # noqa: E402
from pipelines.training.share import Plan, build_model  # noqa: E402

LAST_STEPS = 50
console = Console(highlight=False, width=110)


class OneClip:
    """A corpus of one clip."""

    def __init__(self, clip: MotionClip) -> None:
        self._clip = clip
        self.clip_ids = (clip.clip_id,)

    def load(self, clip_id: str) -> MotionClip:
        """The clip.

        Raises:
            KeyError: another was asked for.
        """
        if clip_id != self._clip.clip_id:
            raise KeyError(clip_id)
        return self._clip


def learn(clip: MotionClip, part: Part, steps: int | None) -> tuple[TrainedPart, float]:
    """A part trained on one clip, and its last loss."""
    params = load()
    corpus = OneClip(clip)
    stats = {
        "frames": len(clip.motion),
        "expression": moments([clip.motion[:, :EXPRESSION_SIZE]]),
        "pose": moments([clip.motion[:, EXPRESSION_SIZE:]]),
    }
    plan = Plan(params, part, (), stats, "overfit", "")
    model = build_model(plan, corpus)
    windows = plan.windows(corpus, null_probability=0.0)
    config = plan.config if steps is None else replace(plan.config, steps=steps)
    with deterministic(params.train.threads):
        curve = train(model, windows, config, torch.device("cpu"))
    loss = float(np.mean([record.diffusion for record in curve[-LAST_STEPS:]]))
    mouth = mouth_columns(params.fit.face_model)
    window, diffusion = params.model.window, params.diffusion.steps
    return TrainedPart(part, plan.columns, window, diffusion, model, mouth), loss


def judge(trained: TrainedPart, clip: MotionClip, sampling: SamplingConfig) -> tuple[float, float]:
    """Error, as a share of the frozen first pose's, and correlation of one generated sample."""
    aim = clip.motion[:, list(trained.columns)]
    drawn = generate_part(trained, clip.drive, clip.motion[0], sampling, clip.clip_id)
    error = float(np.abs(drawn - aim).mean() / np.abs(aim[:1] - aim).mean())
    return error, correlation(drawn, aim)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=Path, default=Path("data/shards"))
    parser.add_argument("--clips", nargs="+", help="these alone; by default all of the shards")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--steps", type=int, help="instead of those of params.yaml")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    options = parser.parse_args()
    params = load()
    corpus = ShardCorpus(sorted(options.shards.glob("t*-*.tar")))
    ids = options.clips or list(corpus.clip_ids)
    section = params.generate
    sampling = SamplingConfig(
        section.sampler, section.steps, params.seed, section.spacing, 1.0, section.overlap
    )
    rows: list[dict[str, Any]] = []
    table = Table("part", "trained on", "loss", "generated for", "error", "correlation")
    for part in options.parts:
        for name in ids:
            trained, loss = learn(corpus.load(name), part, options.steps)
            for other in ids:
                error, like = judge(trained, corpus.load(other), sampling)
                rows.append(
                    {
                        "part": part,
                        "trained_on": name,
                        "loss": loss,
                        "generated_for": other,
                        "error": error,
                        "correlation": like,
                    }
                )
                table.add_row(part, name, f"{loss:.4f}", other, f"{error:.3f}", f"{like:.3f}")
    console.print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
