"""Synthetic speech with exact phone and word times, from flite and espeak-ng.

Both synthesisers are system libraries (Debian: ``libflite1``, ``libespeak-ng1``), needed only to
make the corpus again. They are called in the process, because their programs round or leave out
the times. A voice's resonances are shifted by resampling: speech made ``tract`` times too slow
and played ``tract`` times too fast has its formants and pitch raised by that factor.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from dimitra.sample.phones import Span, espeak_phones, flite_phones

SAMPLE_RATE_HZ = 16_000


class SynthesiserError(RuntimeError):
    """A speech synthesiser is missing or refuses a voice; the message says what to install."""


@dataclass(frozen=True)
class Voice:
    """How one identity speaks.

    Attributes:
        engine: the synthesiser.
        name: flite voice (``slt``) or espeak-ng voice with variant (``en-us+f2``).
        gender: ``f`` or ``m``, as in ``vox2_meta.csv``.
        speed: 1 is the voice's own tempo, 1.1 is a tenth faster.
        pitch: flite: mean F0 in hertz; espeak-ng: its 0-100 scale, 50 being the voice's own.
        tract: formant factor, above 1 for a shorter vocal tract.
    """

    engine: Literal["flite", "espeak"]
    name: str
    gender: Literal["f", "m"]
    speed: float
    pitch: float
    tract: float = 1.0


@dataclass(frozen=True)
class Speech:
    """One utterance.

    Attributes:
        samples: mono float32 in [-1, 1] at ``SAMPLE_RATE_HZ``.
        phones: ARPAbet without stress or ``SIL``, end to end, covering the sound.
        words: lower-case words with times.
    """

    samples: NDArray[np.float32]
    phones: tuple[Span, ...]
    words: tuple[Span, ...]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE_HZ


def _library(name: str, package: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise SynthesiserError(
            f"{name} cannot be loaded ({error}); it is needed to make the sample corpus again: "
            f"apt-get install {package}"
        ) from error


class _FliteWave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _FliteVoice(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


@functools.cache
def _flite_library() -> ctypes.CDLL:
    flite = _library("libflite.so.1", "libflite1")
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    signatures: dict[str, tuple[object, list[object]]] = {
        "flite_synth_text": (pointer, [text, pointer]),
        "utt_wave": (ctypes.POINTER(_FliteWave), [pointer]),
        "utt_relation": (pointer, [pointer, text]),
        "relation_head": (pointer, [pointer]),
        "item_next": (pointer, [pointer]),
        "ffeature_string": (text, [pointer, text]),
        "ffeature_float": (ctypes.c_float, [pointer, text]),
        "feat_set_float": (None, [pointer, text, ctypes.c_float]),
        "delete_utterance": (None, [pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(flite, name)
        function.restype, function.argtypes = result, arguments
    flite.flite_init()
    return flite


def _speak_flite(text: str, voice: Voice) -> tuple[NDArray[np.float32], int, list[Span]]:
    """Samples, their rate, and segments ``(name|word, start, end)`` of flite."""
    flite = _flite_library()
    library = _library(f"libflite_cmu_us_{voice.name}.so.1", "libflite1")
    register = getattr(library, f"register_cmu_us_{voice.name}")
    register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    handle = register(None)
    features = ctypes.cast(handle, ctypes.POINTER(_FliteVoice)).contents.features
    flite.feat_set_float(features, b"int_f0_target_mean", voice.pitch / voice.tract)
    flite.feat_set_float(features, b"duration_stretch", voice.tract / voice.speed)
    utterance = flite.flite_synth_text(text.encode(), handle)
    wave = flite.utt_wave(utterance).contents
    samples = np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).astype(
        np.float32
    ) / np.float32(32768)
    rate = int(wave.sample_rate)
    segments: list[Span] = []
    item = flite.relation_head(flite.utt_relation(utterance, b"Segment"))
    start = 0.0
    while item:
        name = flite.ffeature_string(item, b"name").decode()
        word = flite.ffeature_string(item, b"R:SylStructure.parent.parent.name").decode()
        first_end = flite.ffeature_float(
            item, b"R:SylStructure.parent.parent.daughter.daughter.end"
        )
        end = float(flite.ffeature_float(item, b"end"))
        label = name if name == "pau" else f"{name}|{word}|{int(first_end == np.float32(end))}"
        segments.append(Span(label, start, end))
        start = end
        item = flite.item_next(item)
    flite.delete_utterance(utterance)
    return samples, rate, segments


class _EspeakId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _EspeakEvent(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EspeakId),
    )


_ESPEAK_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_EspeakEvent)
)
_ESPEAK_WORD, _ESPEAK_PHONEME = 1, 7
_ESPEAK_WORDS_PER_MINUTE = 160


@functools.cache
def _espeak_library() -> tuple[ctypes.CDLL, int]:
    """The library, started once a process (it hangs when started again), and its sample rate."""
    espeak = _library("libespeak-ng.so.1", "libespeak-ng1")
    rate = int(espeak.espeak_Initialize(2, 0, None, 1))  # synchronous, with phoneme events
    if rate <= 0:
        raise SynthesiserError("espeak-ng does not start: apt-get install espeak-ng-data")
    return espeak, rate


def _speak_espeak(text: str, voice: Voice) -> tuple[NDArray[np.float32], int, list[Span]]:
    """Samples, their rate, and events of espeak-ng.

    An event is ``(mnemonic, start, start)`` for a phoneme and ``(=position, start, start)`` where
    the word at that character of the text begins.
    """
    espeak, rate = _espeak_library()
    blocks: list[NDArray[np.int16]] = []
    events: list[Span] = []
    source = text.encode()

    def collect(wave: object, count: int, event: object) -> int:
        if wave and count > 0:
            blocks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while event[index].type != 0:  # type: ignore[index]
            item = event[index]  # type: ignore[index]
            time = item.sample / rate
            if item.type == _ESPEAK_PHONEME:
                events.append(Span(item.id.string.decode(), time, time))
            elif item.type == _ESPEAK_WORD:
                events.append(Span(f"={item.text_position - 1}", time, time))
            index += 1
        return 0

    callback = _ESPEAK_CALLBACK(collect)
    espeak.espeak_SetSynthCallback(callback)
    if espeak.espeak_SetVoiceByName(voice.name.encode()) != 0:
        raise SynthesiserError(f"espeak-ng has no voice {voice.name!r}: see espeak-ng --voices")
    words_per_minute = round(_ESPEAK_WORDS_PER_MINUTE * voice.speed / voice.tract)
    espeak.espeak_SetParameter(1, words_per_minute, 0)
    espeak.espeak_SetParameter(3, round(voice.pitch), 0)
    espeak.espeak_Synth(source, len(source) + 1, 0, 1, 0, 1, None, None)
    espeak.espeak_Synchronize()
    samples = np.concatenate(blocks).astype(np.float32) / np.float32(32768)
    return samples, rate, events


def speak(text: str, voice: Voice, lead_s: float = 0.25, tail_s: float = 0.3) -> Speech:
    """Synthesise one text.

    Args:
        text: plain English.
        voice: who speaks.
        lead_s: silence before the speech, seconds.
        tail_s: silence after it, seconds.

    Raises:
        SynthesiserError: the synthesiser or the voice is missing.
        ValueError: the synthesiser used a phone that has no ARPAbet counterpart.
    """
    if voice.engine == "flite":
        raw, rate, segments = _speak_flite(text, voice)
        phones, words = flite_phones(segments)
    else:
        raw, rate, segments = _speak_espeak(text, voice)
        phones, words = espeak_phones(segments, text, len(raw) / rate)
    samples = soxr.resample(raw, rate * voice.tract, SAMPLE_RATE_HZ, quality="VHQ")
    spoken = [span for span in phones if span.label != "SIL"]
    begin, finish = spoken[0].start_s / voice.tract, spoken[-1].end_s / voice.tract
    length = round((lead_s + finish - begin + tail_s) * SAMPLE_RATE_HZ)
    offset = round((begin - lead_s) * SAMPLE_RATE_HZ)
    moved = np.zeros(length, np.float32)
    source = samples[max(offset, 0) : max(offset, 0) + length - max(-offset, 0)]
    moved[max(-offset, 0) : max(-offset, 0) + len(source)] = source
    shift = offset / SAMPLE_RATE_HZ
    duration_s = length / SAMPLE_RATE_HZ

    def place(span: Span) -> Span:
        start, end = (
            np.clip(t / voice.tract - shift, 0.0, duration_s) for t in (span.start_s, span.end_s)
        )
        return Span(span.label, float(start), float(end))

    placed = [place(span) for span in phones if span.label != "SIL"]
    level = float(np.sqrt(np.mean(np.square(moved[np.abs(moved) > 0.01])))) or 1.0
    moved *= min(0.1 / level, 0.95 / float(np.abs(moved).max()))
    return Speech(moved, _with_silence(placed, duration_s), tuple(place(word) for word in words))


def _with_silence(spans: list[Span], duration_s: float) -> tuple[Span, ...]:
    """Fill every gap with ``SIL``, so that the spans cover the sound end to end."""
    filled: list[Span] = []
    clock = 0.0
    for span in spans:
        if span.start_s > clock + 1e-4:
            filled.append(Span("SIL", clock, span.start_s))
        filled.append(span)
        clock = span.end_s
    if duration_s > clock + 1e-4:
        filled.append(Span("SIL", clock, duration_s))
    return tuple(filled)
