"""Train the phoneme aligner on the training clips: `python -m pipelines.align_train`."""

from __future__ import annotations

import csv
import functools
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from dimitra.media.audio import decode_flac
from dimitra.shards import write_atomic
from dimitra.speech.acoustics import acoustic_features
from dimitra.speech.aligner_training import Progress, TrainingError, Utterance, train_aligner
from dimitra.speech.lexicon import DictionaryError, Lexicon
from dimitra.speech.transcript import Transcript
from dimitra.speech.words import spoken_words
from pipelines.lineage.record import with_lineage
from pipelines.params import load
from pipelines.runtime.jobs import Unit, read_manifest, units_of
from pipelines.runtime.mainguard import guarded
from pipelines.runtime.progress import console, progress_bar
from pipelines.runtime.units import join
from pipelines.stores.work_cache import WorkCache, local_shard
from pipelines.tracking.stage_record import StageRecord
from pipelines.training.aligning import ALIGNER as OUTPUT
from pipelines.training.aligning import run_lexicon
from pipelines.training.clips import chosen
from pipelines.training.not_trained import write_marker

CROPS = Path("data/crops")
TRANSCRIPTS = Path("data/transcripts")

ENOUGH_S = 120.0
"""Seconds of speech below which phonemes come out in wrong places (docs/speech.md: the curve)."""


def utterances(
    units: Sequence[Unit], wanted: frozenset[str], lexicon: Lexicon, cache: WorkCache
) -> Iterator[Utterance]:
    """Features and pronunciations of the wanted clips, shard by shard."""
    for unit in units:
        for clip, parts in join(unit, functools.partial(local_shard, cache=cache)):
            if clip.clip_id in wanted:
                samples, _ = decode_flac(parts["flac"])
                transcript = Transcript.from_bytes(parts["transcript.json"])
                spoken = spoken_words(transcript.text, transcript.language)
                yield Utterance(
                    clip.clip_id,
                    acoustic_features(samples),
                    tuple(lexicon.pronunciations(word) for word in spoken),
                )


def curve_bytes(curve: Sequence[Progress]) -> bytes:
    """The training curve as CSV; the flat start has no likelihood."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["iteration", "gaussians", "log_likelihood", "aligned"])
    for row in curve:
        likelihood = "" if row.iteration == 0 else f"{row.log_likelihood:.6f}"
        writer.writerow([row.iteration, row.gaussians, likelihood, row.aligned])
    return text.getvalue().encode()


def main() -> None:
    """Run the stage with `params.yaml`.

    Raises:
        StageError: the split has no training clip with a transcript.
        TrainingError: no training clip is long enough for its words.
    """
    params = load()
    if params.speech.aligner != "gmm":
        why = "only the aligner 'gmm' is trained here"
        write_marker(OUTPUT, "align_train", "speech.aligner", params.speech.aligner, why)
        return
    section = params.align_train
    lexicon = run_lexicon(params.speech.dictionary, params.transcribe.language)
    units = units_of(read_manifest(), [CROPS, TRANSCRIPTS])
    clips = chosen(units, section.max_hours, "a crop and a transcript")
    wanted = frozenset(clip.clip_id for clip in clips)
    with progress_bar("align_train", len(wanted)) as bar:
        items: list[Utterance] = []
        for item in utterances(units, wanted, lexicon, WorkCache.of(params.storage.root)):
            items.append(item)
            bar.update(len(items), 0)
    items.sort(key=lambda item: item.clip_id)
    values = section.model_dump() | {"clips": len(items), "seed": params.seed}
    with StageRecord("align_train", values, wanted=params.ray.mlflow) as run:
        aligner, curve = train_aligner(
            items, section.iterations, section.max_gaussians, params.seed
        )
        OUTPUT.mkdir(parents=True, exist_ok=True)
        aligner.save(OUTPUT)
        write_atomic(OUTPUT / "curve.csv", curve_bytes(curve))
        for row in curve[1:]:  # the flat start has no likelihood
            point = {"log_likelihood": row.log_likelihood, "aligned": row.aligned}
            run.point(point, row.iteration)
        run.keep(OUTPUT, f"models/{OUTPUT.name}")
    last = curve[-1]
    seconds = sum(clip.duration_s for clip in clips)
    console.print(
        f"align_train: {len(items)} clips of {seconds:.1f} s together, {last.gaussians} Gaussians, "
        f"log likelihood {last.log_likelihood:.2f} per frame"
    )
    if seconds < ENOUGH_S:
        console.print(
            f"[yellow]align_train: {seconds:.1f} s of speech are too little for phonemes in the "
            f"right places; it takes {ENOUGH_S:.0f} s and more. Add clips, or set speech.aligner "
            "to pocketsphinx (English) or mfa[/]",
            soft_wrap=True,
        )


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main), TrainingError, DictionaryError))
