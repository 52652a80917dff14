"""Montreal Forced Aligner (McAuliffe et al. 2017, version 3) as a subprocess.

MFA lives in a conda environment of its own and takes 10 to 60 s to start, so it is given a corpus
of many clips at a time: a folder a clip, ``CLIP/CLIP.wav`` and ``CLIP/CLIP.lab``. A folder is a
speaker to MFA, and it normalises and adapts by speaker: with one clip a speaker, what a clip gets
does not depend on the clips beside it. (``--single_speaker`` would make all of them one.)
"""

from __future__ import annotations

import contextlib
import csv
import logging
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import soundfile

from dimitra.clips import ClipError, Reason
from dimitra.speech.acoustics import SAMPLE_RATE_HZ
from dimitra.speech.alignment import Alignment, Utterance, without_gaps
from dimitra.speech.lexicon import Lexicon, split_lines
from dimitra.speech.mfa_program import START_S, TAIL, Mfa, MfaError, environment_of
from dimitra.speech.phonemes import NOISE, VOWELS, Interval, is_arpabet, reader
from dimitra.speech.scripts import check_script, scripts_of
from dimitra.speech.textgrid import read_textgrid
from dimitra.speech.words import SpokenWord

log = logging.getLogger(__name__)

PACE = 5.0
"""Time that it may take for a second of sound: a bound against hanging, no estimate."""
_UNKNOWN = frozenset({"<unk>", "spn", "<cutoff>"})
_BEAMS = ("--beam", "100", "--retry_beam", "400")
"""Ten times MFA's own: a clip is lost for its transcript, not for its search."""


class MfaAligner:
    """Aligns batches of clips with MFA.

    Args:
        mfa: the program and its models.
        guess: pronounces words that the dictionary lacks, where that is in ARPAbet; None leaves
            them to MFA, which takes them as spoken noise.
        start_s: time that MFA may take to start.
        pace: time that it may take for a second of sound.

    Raises:
        ValueError: the dictionary breaks its form.
    """

    def __init__(
        self, mfa: Mfa, guess: Lexicon | None, start_s: float = START_S, pace: float = PACE
    ) -> None:
        self._mfa = mfa
        self._start_s, self._pace = start_s, pace
        lines = mfa.dictionary.read_text(encoding="utf-8").splitlines()
        rows = list(split_lines(lines, str(mfa.dictionary)))
        self._words = frozenset(word.lower() for _, word, _ in rows)
        labels = {label for _, _, phones in rows for label in phones}
        self._read = reader(labels)
        self._scripts = scripts_of("".join(self._words), 0.01)
        self._stressed = any(label[-1:].isdigit() for label in labels)
        self._guess = guess if all(is_arpabet(label) for label in labels) else None

    def align_all(self, utterances: Sequence[Utterance]) -> list[Alignment | ClipError]:
        """An alignment of each clip, or why it has none: one run of MFA.

        Raises:
            MfaError: MFA ended with an error, or was late with several clips.
        """
        found: dict[str, Alignment | ClipError] = {}
        for utterance in utterances:
            try:
                check_script(utterance.transcript.text, self._scripts, "the dictionary")
            except ClipError as error:
                found[utterance.clip_id] = error
        fitting = [item for item in utterances if item.clip_id not in found]
        if fitting:
            with tempfile.TemporaryDirectory(prefix="mfa-") as name:
                found |= self._run(Path(name), fitting)
        return [found[utterance.clip_id] for utterance in utterances]

    def _run(
        self, place: Path, utterances: Sequence[Utterance]
    ) -> dict[str, Alignment | ClipError]:
        corpus, output = place / "corpus", place / "output"
        for item in utterances:
            folder = corpus / item.clip_id
            folder.mkdir(parents=True)
            soundfile.write(folder / f"{item.clip_id}.wav", item.samples, SAMPLE_RATE_HZ, "PCM_16")
            text = " ".join(word.word for word in item.spoken)
            (folder / f"{item.clip_id}.lab").write_text(text + "\n", encoding="utf-8")
        dictionary = self._dictionary(place, utterances)
        deadline_s = self._start_s + self._pace * sum(item.duration_s for item in utterances)
        late = self._call(place, corpus, dictionary, output, deadline_s)
        if late is not None:
            if len(utterances) > 1:
                raise MfaError(late)
            return {utterances[0].clip_id: ClipError(Reason.DEADLINE, late)}
        grids = {path.stem: path for path in output.rglob("*.TextGrid")}
        likelihoods = _likelihoods(output / "alignment_analysis.csv")
        found: dict[str, Alignment | ClipError] = {}
        for item in utterances:
            likelihood = likelihoods.get(item.clip_id, float("nan"))
            try:
                if item.clip_id not in grids or likelihood is None:
                    raise ClipError(
                        Reason.UNALIGNED,
                        f"MFA {self._mfa.version} left it out: {len(item.spoken)} words in "
                        f"{item.duration_s:.2f} s; check its transcript",
                    )
                found[item.clip_id] = self._alignment(item, grids[item.clip_id], likelihood)
            except ClipError as error:
                found[item.clip_id] = error
        return found

    def _dictionary(self, place: Path, utterances: Sequence[Utterance]) -> Path:
        """The dictionary, with the words that it lacks where they can be pronounced."""
        unknown = {
            word.word: word
            for item in utterances
            for word in item.spoken
            if word.word not in self._words
        }
        lines = []
        for name, word in sorted(unknown.items()):
            variants = self._guess.pronunciations(word) if self._guess is not None else ()
            if not variants:
                log.info("word %r is not in MFA's dictionary: spoken noise", name)
            lines += [
                f"{name}\t{' '.join(map(self._label, phones))}"
                for phones in variants
                if NOISE not in phones
            ]
        if not lines:
            return self._mfa.dictionary
        own = place / "dictionary.dict"
        text = self._mfa.dictionary.read_text(encoding="utf-8").rstrip("\n")
        own.write_text("\n".join([text, *lines]) + "\n", encoding="utf-8")
        return own

    def _label(self, phone: str) -> str:
        """A phone in the dictionary's own labels: a guessed vowel carries the main stress."""
        return f"{phone}1" if self._stressed and phone in VOWELS else phone

    def _call(
        self, place: Path, corpus: Path, dictionary: Path, output: Path, deadline_s: float
    ) -> str | None:
        """Run ``mfa align``; what to say where it was late, else None."""
        command = [
            self._mfa.command, "align", str(corpus), str(dictionary),
            str(self._mfa.acoustic_model), str(output),
            "--output_format", "long_textgrid",
            "--temporary_directory", str(place / "work"),
            "--num_jobs", "1", "--no_use_mp", "--no_use_postgres",
            "--textgrid_cleanup", "--clean", "--overwrite", *_BEAMS,
        ]  # fmt: skip
        root = place / "root"
        root.mkdir()
        environment = {
            **environment_of(self._mfa.command), "MFA_ROOT_DIR": str(root), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        said = place / "said.txt"
        # A file rather than a pipe: a child of MFA's that outlives it would hold a pipe open.
        with said.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603 - the user's own MFA
                command,
                cwd=place,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                process.wait(deadline_s)
            except subprocess.TimeoutExpired:
                return f"MFA was not done after {deadline_s:.0f} s"
            finally:
                _end(process)
        if process.returncode != 0:
            end = said.read_bytes().decode(errors="replace").strip()[-TAIL:]
            raise MfaError(f"`mfa align` ended with {process.returncode}; it said: {end}")
        return None

    def _alignment(self, item: Utterance, grid: Path, likelihood: float) -> Alignment:
        """What a TextGrid says.

        Raises:
            ClipError: ``UNALIGNED``: the file is broken, or holds other words.
        """
        name = f"{item.clip_id}.TextGrid of MFA"
        try:
            tiers = read_textgrid(grid.read_bytes(), name, item.duration_s)
            missing = [tier for tier in ("words", "phones") if not tiers.get(tier)]
            if missing:
                raise ValueError(
                    f"{name} has nothing in its tier {' and '.join(missing)}; its tiers: "
                    f"{', '.join(tiers) or 'none'}"
                )
            phones = [
                Interval(phone.start_s, phone.end_s, self._phone(phone, name))
                for phone in tiers["phones"]
            ]
            words = _match(item.spoken, tiers["words"], name)
        except ValueError as error:
            raise ClipError(Reason.UNALIGNED, str(error)) from None
        return Alignment(
            without_gaps(phones, item.duration_s), words, tuple(item.spoken), likelihood
        )

    def _phone(self, interval: Interval, name: str) -> str:
        try:
            return self._read(interval.label)
        except ValueError as error:
            raise ValueError(
                f"{name}, tier 'phones', {interval.start_s}-{interval.end_s} s: {error}"
            ) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a process's session: MFA's own workers outlive it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _likelihoods(table: Path) -> dict[str, float | None]:
    """Log likelihood per frame of each clip in MFA's ``alignment_analysis.csv``.

    None is an utterance that is listed without one: it was not aligned.
    """
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8", newline="") as stream:
        return {
            row["file"]: float(row["overall_log_likelihood"])
            if row["overall_log_likelihood"]
            else None
            for row in csv.DictReader(stream)
            if row.get("overall_log_likelihood") is not None
        }


def _letters(word: str) -> str:
    return "".join(char for char in word.lower() if char.isalnum())


def _match(
    spoken: Sequence[SpokenWord], intervals: Sequence[Interval], name: str
) -> tuple[Interval, ...]:
    """The interval of each spoken word; MFA may cut one at an apostrophe or a hyphen.

    Raises:
        ValueError: the tier holds other words.
    """
    words: list[Interval] = []
    place = 0
    for word in spoken:
        first, joined = place, ""
        while place < len(intervals) and joined != _letters(word.word):
            label = intervals[place].label
            place += 1
            if label in _UNKNOWN and place == first + 1:
                break
            joined += _letters(label)
        if place == first or not (
            joined == _letters(word.word) or intervals[first].label in _UNKNOWN
        ):
            said = " ".join(interval.label for interval in intervals[first : first + 3])
            raise ValueError(
                f"{name}, tier 'words': {said!r} in place of {word.word!r}, word {len(words) + 1} "
                f"of {len(spoken)}"
            )
        words.append(Interval(intervals[first].start_s, intervals[place - 1].end_s, word.word))
    if place < len(intervals):
        raise ValueError(
            f"{name}, tier 'words': {intervals[place].label!r} at {intervals[place].start_s}-"
            f"{intervals[place].end_s} s comes after the last of {len(spoken)} words"
        )
    return tuple(words)
