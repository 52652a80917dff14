"""Write down what every clip says: `python -m pipelines.transcribe`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from dimitra.assets import asset_path
from dimitra.clips import Clip
from dimitra.media.audio import decode_flac
from dimitra.shards import Members
from dimitra.speech.transcript import AUTO, RecogniserError, WhisperRecogniser, dataset_transcript
from pipelines.lineage.record import with_lineage
from pipelines.params import load
from pipelines.runtime.jobs import Job, Worker, read_manifest, run, units_of
from pipelines.runtime.mainguard import guarded

CROPS = Path("data/crops")
OUTPUT = Path("data/transcripts")

PACKAGES = ("faster-whisper", "ctranslate2", "tokenizers", "numpy")


def make_worker(params: dict[str, Any]) -> Worker:
    """A worker that takes the dataset's own text, or else listens.

    Args:
        params: ``model``, ``language``, ``beam_size``, and ``listens``: whether any clip needs the
            recogniser, for its words or for its language.
    """
    recogniser = (
        WhisperRecogniser(asset_path(params["model"]), params["language"], params["beam_size"])
        if params["listens"]
        else None
    )

    def worker(clip: Clip, parts: Members) -> Members:
        language = params["language"]
        if clip.transcript is not None and (recogniser is None or language != AUTO):
            transcript = dataset_transcript(clip.transcript, language)
        else:
            if recogniser is None:
                raise RuntimeError(f"{clip.clip_id} has no text, and the recogniser is not loaded")
            samples, _ = decode_flac(parts["flac"])
            transcript = (
                recogniser.transcribe(samples)
                if clip.transcript is None
                else dataset_transcript(clip.transcript, recogniser.language(samples))
            )
        return {"transcript.json": transcript.to_bytes()}

    return worker


def main() -> None:
    """Run the stage with `params.yaml`."""
    params = load()
    section = params.transcribe
    units = units_of(read_manifest(), [CROPS])
    listens = section.language == AUTO or any(
        clip.transcript is None for unit in units for clip in unit.clips
    )
    run(
        Job(
            stage="transcribe",
            worker="pipelines.transcribe:make_worker",
            params={
                "model": section.model,
                "language": section.language,
                "beam_size": section.beam_size,
                "listens": listens,
            },
            units=units,
            output=OUTPUT,
            budget=params.budgets.transcribe,
            deadline_s=section.deadline_s,
            seed=params.seed,
            assets=(section.model,) if listens else (),
            packages=PACKAGES,
        ),
        params.ray,
        params.storage,
    )


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main), RecogniserError))
