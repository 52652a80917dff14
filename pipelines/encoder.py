"""Make the head encoder's weights: render heads, train on them, check on others.

    python -m pipelines.encoder                    # the committed weights: about an hour, 2 cores
    python -m pipelines.encoder --device cuda      # where a GPU is at hand
    python -m pipelines.encoder --heads 2000 --steps 300 --out /tmp/small.safetensors

Rendered heads stay in `--folder` and are taken up again after an interruption. The last looks are
kept out of training; the errors on them are printed and stored in the file, with everything that
the weights were made from. Same machine, threads and library versions: same bytes.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save

from dimitra.morphable import open_head
from dimitra.morphable.head_encoder import HeadEncoder
from dimitra.morphable.head_encoder_training import Check, HeadSet, TrainingSettings, check, train
from dimitra.sample.heads import HEADS_PER_LOOK, SIZE_PX, draw_heads
from dimitra.shards import npz_bytes, read_npz, write_atomic
from pipelines.closure import code_digest
from pipelines.runtime.mainguard import guarded
from pipelines.runtime.progress import console

LABELS = ("identity", "expression", "angles", "origin", "scale")
HELD_OUT_LOOKS = 6
WEIGHTS = Path("dimitra/morphable/head_encoder.safetensors")
log = logging.getLogger(__name__)


def _draw(folder: Path, seed: int, look: int, count: int) -> None:
    """Draw one look's heads; the labels are written last and mark it as done."""
    torch.set_num_threads(1)
    heads = draw_heads(open_head.load(), seed, look, count, SIZE_PX)
    write_atomic(folder / f"{look:05d}.rgb", heads.images.tobytes())
    labels = {name: getattr(heads, name) for name in LABELS}
    write_atomic(folder / f"{look:05d}.npz", npz_bytes(labels))


def render(folder: Path, seed: int, looks: int, workers: int) -> None:
    """Draw what is missing of ``looks`` looks.

    Raises:
        ValueError: the folder holds heads of another seed or of other code.
    """
    about = json.dumps({"seed": seed, "code": code_digest("dimitra.sample.heads")})
    marker = folder / "about.json"
    if marker.is_file() and marker.read_text(encoding="utf-8") != about:
        raise ValueError(
            f"{folder} holds heads of another seed or code; remove it, or name another"
        )
    write_atomic(marker, about.encode())
    missing = [look for look in range(looks) if not (folder / f"{look:05d}.npz").is_file()]
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        _bar("looks drawn", len(missing)) as progress,
    ):
        jobs = [pool.submit(_draw, folder, seed, look, HEADS_PER_LOOK) for look in missing]
        try:
            for job in as_completed(jobs):
                job.result()
                progress.advance(progress.task_ids[0])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def read_heads(folder: Path, looks: Iterable[int]) -> HeadSet:
    """Heads of some looks, in memory."""
    shape = (HEADS_PER_LOOK, SIZE_PX, SIZE_PX, 3)
    chosen = list(looks)
    images = np.empty((len(chosen) * HEADS_PER_LOOK, *shape[1:]), np.uint8)
    labels: dict[str, list[torch.Tensor]] = {name: [] for name in LABELS}
    for place, look in enumerate(chosen):
        drawn = np.fromfile(folder / f"{look:05d}.rgb", np.uint8).reshape(shape)
        images[place * HEADS_PER_LOOK : (place + 1) * HEADS_PER_LOOK] = drawn
        stored = read_npz((folder / f"{look:05d}.npz").read_bytes())
        for name in LABELS:
            labels[name].append(torch.from_numpy(stored[name]))
    return HeadSet(images, **{name: torch.cat(values) for name, values in labels.items()})


def _bar(title: str, total: int) -> Progress:
    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn())
    progress = Progress(
        *columns,
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    progress.add_task(title, total=total, note="")
    return progress


def packed(encoder: HeadEncoder, about: dict[str, object]) -> bytes:
    """A safetensors file: 16-bit weights, and what they were made from as metadata."""
    state = {
        name: value.cpu().contiguous().half() if value.is_floating_point() else value.cpu()
        for name, value in encoder.state_dict().items()
    }
    shape = {"width": encoder.width, "hidden": encoder.hidden}
    # One entry: safetensors writes several in no fixed order.
    return save(state, {"about": json.dumps({"shape": shape, **about}, sort_keys=True)})


def describe(result: Check) -> str:
    """One line of a check."""
    whole, mouth = np.median(result.correlation), np.median(result.correlation[:13])
    return (
        f"rotation {result.rotation_deg:.2f} degrees, lips {result.mouth_dm * 100:.2f} mm, "
        f"face {result.face_dm * 100:.2f} mm, median correlation of the expression {whole:.3f}, "
        f"of the mouth {mouth:.3f}"
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--heads", type=_positive, default=51_200, help="pictures to train on")
    parser.add_argument("--steps", type=_positive, default=9_000, help="gradient steps")
    parser.add_argument("--batch", type=_positive, default=64)
    parser.add_argument("--seed", type=int, default=20250217)
    parser.add_argument("--workers", type=_positive, default=2, help="processes that draw")
    parser.add_argument("--threads", type=_positive, default=1, help="threads that train")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--folder", type=Path, default=Path("data/heads"), help="rendered heads")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args(arguments)
    if options.device != "cpu" and not torch.cuda.is_available():
        parser.error(f"--device {options.device}: torch {torch.__version__} sees no GPU; use cpu")
    return options


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the script."""
    options = _options(arguments)
    code = code_digest("pipelines.encoder")  # now: somebody may edit while it trains
    looks = -(-options.heads // HEADS_PER_LOOK)
    render(options.folder, options.seed, looks + HELD_OUT_LOOKS, options.workers)
    torch.set_num_threads(options.threads)
    model = open_head.load()
    settings = TrainingSettings(options.steps, options.batch, seed=options.seed)
    torch.manual_seed(settings.seed)
    encoder = HeadEncoder().to(options.device)
    with _bar("steps", settings.steps) as progress:
        recent: list[float] = []

        def watch(step: int, loss: float) -> None:
            recent.append(loss)
            note = f"loss {np.mean(recent[-100:]):.3f}"
            progress.update(progress.task_ids[0], completed=step + 1, note=note)
            if (step + 1) % 500 == 0:
                log.info("step %d: %s", step + 1, note)

        heads = read_heads(options.folder, range(looks))
        encoder = train(model, heads, settings, encoder, watch)
    others = read_heads(options.folder, range(looks, looks + HELD_OUT_LOOKS))
    encoder = encoder.to("cpu").half().float()  # what is stored is what is checked
    result = check(encoder, model, others)
    log.info("on %d other heads: %s", len(others), describe(result))
    about = {
        "heads": len(heads),
        "looks": looks,
        "settings": asdict(settings),
        "code": code,
        "torch": torch.__version__,
        "check": asdict(result),
    }
    write_atomic(options.out, packed(encoder, about))
    log.info("wrote %s", options.out)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(guarded(main, ValueError, own_arguments=True))
