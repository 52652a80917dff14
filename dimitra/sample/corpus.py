"""The plan of the sample corpus, and what its clips say and how they move.

Everything random derives from the corpus seed and the names of identity and clip, so any clip can
be made alone and gives the same content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from dimitra.sample.motion import FPS, SENSES, HeadMotion, Manner, animate
from dimitra.sample.phones import Span
from dimitra.sample.prosody import measure
from dimitra.sample.voices import SAMPLE_RATE_HZ, Speech, Voice, speak
from dimitra.seeds import clip_seed

SEED = 20250217
CHORUS_SIZE, LECTURE_SIZE = 320, 512
VIDEOS_PER_IDENTITY = 2

_CHORUS_VOICES = (
    Voice("flite", "slt", "f", 0.90, 185, 1.00), Voice("flite", "rms", "m", 0.92, 100, 1.00),
    Voice("flite", "slt", "f", 0.86, 215, 1.08), Voice("flite", "awb", "m", 0.92, 125, 1.00),
    Voice("espeak", "en-us+f2", "f", 0.92, 50, 1.00), Voice("flite", "kal16", "m", 0.98, 105, 1.00),
    Voice("flite", "slt", "f", 0.95, 170, 0.95), Voice("flite", "rms", "m", 0.98, 88, 0.94),
    Voice("espeak", "en-us+f4", "f", 0.95, 45, 1.03), Voice("flite", "awb", "m", 0.88, 145, 1.07),
    Voice("flite", "rms", "f", 0.90, 165, 1.16), Voice("espeak", "en-us+m3", "m", 0.92, 45, 1.00),
    # test
    Voice("flite", "slt", "f", 0.92, 200, 1.04), Voice("flite", "rms", "m", 0.95, 112, 1.05),
    Voice("espeak", "en-us+f3", "f", 0.95, 55, 0.98), Voice("flite", "awb", "m", 0.90, 112, 0.95),
)  # fmt: skip
_LECTURE_VOICES = (
    Voice("flite", "slt", "f", 0.95, 178, 0.98), Voice("flite", "rms", "m", 1.00, 105, 0.98),
    Voice("flite", "awb", "f", 0.95, 190, 1.15), Voice("flite", "kal16", "m", 0.90, 95, 1.04),
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A sentence or two of one sense."""

    sense: str
    text: str


@dataclass(frozen=True)
class ClipPlan:
    """One clip to make.

    Attributes:
        dataset: ``chorus`` or ``lecture``.
        identity: dataset's name of the speaker.
        path: of the video in the dataset's folder, without extension.
        lines: what is said, in order.
        voice: who says it.
        size: of the square frame, pixels.
    """

    dataset: str
    identity: str
    path: str
    lines: tuple[Line, ...]
    voice: Voice
    size: int

    @property
    def clip_id(self) -> str:
        """As ``ingest`` names it: the path below ``mp4/`` or ``videos/``, joined by ``-``."""
        return "-".join([self.dataset, *self.path.split("/")[1:]]).lower()

    @property
    def source_video(self) -> str:
        """The recording that the clip was cut from; background and camera are its own."""
        return self.path.rpartition("/")[0] if self.dataset == "chorus" else self.path

    @property
    def text(self) -> str:
        return " ".join(line.text for line in self.lines)


def _table(name: str) -> list[list[str]]:
    source = files("dimitra.sample") / "text" / name
    lines = source.read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def chorus_lines() -> list[Line]:
    """The sentences of chorus, the senses taking turns."""
    by_sense = {
        sense: [Line(s, text) for s, text in _table("chorus.tsv") if s == sense] for sense in SENSES
    }
    return [line for group in zip(*by_sense.values(), strict=True) for line in group]


def plan_chorus(identities: int, clips: int) -> list[ClipPlan]:
    """Plan of chorus: every identity says its own sentences, the senses in turn.

    Args:
        identities: 1 to 16.
        clips: per identity, 1 to 6.

    Raises:
        ValueError: either is out of range.
    """
    if not 1 <= identities <= len(_CHORUS_VOICES) or not 1 <= clips <= 6:
        raise ValueError(
            f"{identities} identities x {clips} clips: chorus has 1 to {len(_CHORUS_VOICES)} "
            "identities and 1 to 6 clips of each"
        )
    lines = chorus_lines()
    plans = []
    per_video = -(-6 // VIDEOS_PER_IDENTITY)
    for number in range(identities):
        identity = f"id{number + 1:05d}"
        for clip in range(clips):
            # 6 clips an identity against 4 senses: start each identity at another sense.
            line = lines[(number * 6 + clip) % len(lines)]
            video = hashlib.sha256(f"{identity}/{clip // per_video}".encode()).hexdigest()[:11]
            path = f"mp4/{identity}/{video}/{clip % per_video + 1:05d}"
            voice = _CHORUS_VOICES[number]
            plans.append(ClipPlan("chorus", identity, path, (line,), voice, CHORUS_SIZE))
    return plans


def plan_lecture(identities: int) -> list[ClipPlan]:
    """Plan of lecture: one long clip each.

    Raises:
        ValueError: not 1 to 4 identities.
    """
    if not 1 <= identities <= len(_LECTURE_VOICES):
        raise ValueError(f"{identities} identities: lecture has 1 to {len(_LECTURE_VOICES)}")
    rows = _table("lecture.tsv")
    names = list(dict.fromkeys(name for name, _, _ in rows))[:identities]
    return [
        ClipPlan(
            "lecture",
            name,
            f"videos/{name}_0",
            tuple(Line(sense, text) for owner, sense, text in rows if owner == name),
            voice,
            LECTURE_SIZE,
        )
        for name, voice in zip(names, _LECTURE_VOICES, strict=False)
    ]


@dataclass(frozen=True)
class SpokenClip:
    """A clip's sound, made before its pictures.

    Attributes:
        plan: of the clip.
        speech: with phone and word times.
        senses: the sense of each sentence, with times.
    """

    plan: ClipPlan
    speech: Speech
    senses: tuple[Span, ...]


def speak_clip(plan: ClipPlan) -> SpokenClip:
    """Synthesise a clip's sound: its sentences with pauses, a whole number of frames long."""
    generator = np.random.default_rng(clip_seed(SEED, plan.clip_id, "speech"))
    lead = float(generator.uniform(0.3, 0.5))
    pieces = []
    for index, line in enumerate(plan.lines):
        last = index + 1 == len(plan.lines)
        tail = float(generator.uniform(0.35, 0.6)) if last else float(generator.uniform(0.15, 0.3))
        pieces.append(speak(line.text, plan.voice, lead if index == 0 else 0.15, tail))
    samples, phones, words, senses = [], [], [], []
    clock = 0.0
    for line, piece in zip(plan.lines, pieces, strict=True):
        samples.append(piece.samples)
        phones.extend(_moved(piece.phones, clock))
        words.extend(_moved(piece.words, clock))
        senses.append(
            Span(line.sense, clock + piece.words[0].start_s, clock + piece.words[-1].end_s)
        )
        clock += piece.duration_s
    sound = np.concatenate(samples)
    frames = max(int(np.ceil(clock * FPS)), 4 * FPS + 3)
    sound = np.pad(sound, (0, frames * SAMPLE_RATE_HZ // FPS - len(sound)))
    phones[-1] = Span("SIL", phones[-1].start_s, frames / FPS)
    room = generator.standard_normal(len(sound)).astype(np.float32) * 4e-4
    speech = Speech((sound + room).astype(np.float32), tuple(phones), tuple(words))
    return SpokenClip(plan, speech, tuple(senses))


def _moved(spans: Sequence[Span], offset_s: float) -> list[Span]:
    return [Span(span.label, span.start_s + offset_s, span.end_s + offset_s) for span in spans]


def _manner(generator: np.random.Generator) -> Manner:
    return Manner(
        jaw=float(generator.uniform(0.85, 1.15)),
        mood=float(generator.uniform(0.85, 1.15)),
        nod=float(generator.uniform(0.8, 1.2)),
        sway=float(generator.uniform(0.6, 1.0)),
        blink_s=float(generator.uniform(2.2, 3.6)),
        asymmetry=float(generator.uniform(-0.08, 0.08)),
    )


def move_clip(spoken: SpokenClip, unit_names: Sequence[str]) -> HeadMotion:
    """Motion of a clip."""
    plan = spoken.plan
    manner = _manner(np.random.default_rng(clip_seed(SEED, plan.dataset, plan.identity, "manner")))
    generator = np.random.default_rng(clip_seed(SEED, plan.clip_id, "motion"))
    prosody = measure(spoken.speech.samples, spoken.speech.phones)
    return animate(
        spoken.speech.duration_s, spoken.speech.phones, prosody, spoken.senses, manner,
        unit_names, generator,
    )  # fmt: skip
