"""Phoneme agreement with StyleTalk's sample sequences, aligner by aligner.

    DIMITRA_REAL_DATA=... python -m benchmarks.phonemes [--aligner models/aligner]

Whisper tiny.en writes the words down, each aligner times their phones, and each frame at 30 a
second is compared with the published sequence (made by another recogniser and aligner, so 1.0 is
not to be had). A sequence may be shifted by one frame against the sound: the best of three shifts
is shown beside the unshifted agreement.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dimitra.assets import asset_path
from dimitra.clips import ClipError
from dimitra.media.audio import read_audio
from dimitra.speech.aligners import ENGLISH, gmm_aligner, lexicon_for, pocketsphinx_aligner
from dimitra.speech.alignment import PhonemeAligner, Utterance
from dimitra.speech.mfa import MfaAligner
from dimitra.speech.mfa_program import MfaMissingError, find_mfa
from dimitra.speech.phonemes import SILENCE_ID, frame_phonemes
from dimitra.speech.styletalk import FPS, check_index, read_styletalk
from dimitra.speech.transcript import WhisperRecogniser

SHIFTS = (-1, 0, 1)


def agreement(
    own: NDArray[np.int16], other: NDArray[np.int16], shift: int, *, speech: bool = False
) -> float:
    """Share of equal frames where frame ``i`` of ``own`` meets frame ``i + shift`` of ``other``.

    Args:
        own: ``[T]`` ids.
        other: ``[U]`` ids.
        shift: frames.
        speech: only frames that ``other`` does not have as silence.
    """
    places = np.arange(len(own)) + shift
    inside = (places >= 0) & (places < len(other))
    a, b = own[inside], other[places[inside]]
    kept = b != SILENCE_ID if speech else np.ones(len(b), dtype=np.bool_)
    return float(np.mean(a[kept] == b[kept]))


def aligners(folder: Path) -> dict[str, PhonemeAligner]:
    """Those that are at hand."""
    weights = asset_path("g2p_en")
    lexicon = lexicon_for(None, ENGLISH, weights)
    found = {"pocketsphinx": pocketsphinx_aligner(lexicon)}
    if (folder / "aligner.json").is_file():
        found["gmm"] = gmm_aligner(folder, lexicon, english_only=True)
    else:
        print(f"gmm: {folder} holds no trained aligner: run `dvc repro align_train`")
    try:
        found["mfa"] = MfaAligner(find_mfa("mfa", "english_us_arpa", "english_us_arpa"), lexicon)
    except MfaMissingError as error:
        print(f"mfa: {error}")
    return found


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--aligner", type=Path, default=Path("models/aligner"))
    folder = parser.parse_args().aligner
    if "DIMITRA_REAL_DATA" not in os.environ:
        print("set DIMITRA_REAL_DATA to the folder that holds styletalk/")
        return 1
    data = Path(os.environ["DIMITRA_REAL_DATA"]) / "styletalk"
    check_index(json.loads((data / "phindex.json").read_text()), "phindex.json")
    whisper = WhisperRecogniser(asset_path("whisper_tiny_en"), ENGLISH, 1)
    chosen = aligners(folder)
    print(f"{'clip':14} {'aligner':13} {'shift 0':>8} {'best':>6} {'at':>3} {'speech, best':>13}")
    sums: dict[str, list[float]] = {name: [] for name in chosen}
    for path in sorted(data.glob("*_seq.json")):
        name = path.name.removesuffix("_seq.json")
        published = read_styletalk(path.read_bytes(), path.name, FPS)
        samples = read_audio(data / f"{name}.wav")
        utterance = Utterance(name.lower(), samples, whisper.transcribe(samples))
        for kind, aligner in chosen.items():
            (found,) = aligner.align_all([utterance])
            if isinstance(found, ClipError):
                print(f"{name:14} {kind:13} {found}")
                continue
            own = frame_phonemes(found.phones, len(published), FPS)
            scores = {shift: agreement(own, published, shift) for shift in SHIFTS}
            best = max(scores, key=lambda shift: scores[shift])
            sums[kind].append(scores[best])
            voiced = agreement(own, published, best, speech=True)
            print(
                f"{name:14} {kind:13} {scores[0]:8.3f} {scores[best]:6.3f} {best:3d} {voiced:13.3f}"
            )
    for kind, best_scores in sums.items():
        if best_scores:
            print(f"{'mean':14} {kind:13} {'':8} {np.mean(best_scores):6.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
