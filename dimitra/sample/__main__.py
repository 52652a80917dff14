"""Make the sample corpus: ``python -m dimitra.sample --out DIR``."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from dimitra.sample.corpus import ClipPlan, plan_chorus, plan_lecture, speak_clip
from dimitra.sample.layout import write_lists

_log = logging.getLogger("dimitra.sample")


def make(plans: list[ClipPlan], root: Path, workers: int) -> int:
    """Make every planned clip, the truth beside it and the datasets' own lists.

    Returns:
        Number of frames drawn.
    """
    spawn = multiprocessing.get_context("spawn")
    # espeak-ng's timing depends on what it said before: a fresh process for every utterance.
    with ProcessPoolExecutor(workers, mp_context=spawn, max_tasks_per_child=1) as pool:
        spoken = list(pool.map(speak_clip, plans))
    # Imported here: the speaking processes import this module too, and have no use for torch.
    from dimitra.sample.clip import make_clip

    seconds = sum(clip.speech.duration_s for clip in spoken)
    _log.info("speech of %d clips, %.0f s", len(spoken), seconds)
    spoken.sort(key=lambda clip: -clip.speech.duration_s)
    frames = 0
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        for done, count in enumerate(pool.map(partial(make_clip, root=root), spoken), 1):
            frames += count
            if done % 10 == 0 or done == len(spoken):
                _log.info("%d of %d clips, %d frames", done, len(spoken), frames)
    write_lists(root / "datasets", spoken)
    return frames


def main() -> None:
    """Parse the command line and make the corpus."""
    parser = argparse.ArgumentParser(prog="python -m dimitra.sample", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for datasets/ and truth/")
    parser.add_argument("--identities", type=int, default=16, help="of chorus (default 16)")
    parser.add_argument("--clips-per-identity", type=int, default=6, help="of chorus (default 6)")
    parser.add_argument("--lectures", type=int, default=4, help="identities of lecture (default 4)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    plans = plan_chorus(arguments.identities, arguments.clips_per_identity)
    plans += plan_lecture(arguments.lectures) if arguments.lectures else []
    make(plans, arguments.out, arguments.workers)


if __name__ == "__main__":
    main()
