"""Spoken words of a written text; in English, numbers, symbols and abbreviations are resolved.

A *surface* word is a piece of the text between white space; it is spoken as zero or more *spoken*
words in lower case (``$5`` -> ``five dollars``), which are what the lexicon pronounces.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = (
    "zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
)  # fmt: skip
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (10**3, "thousand"))
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
_CURRENCIES = {"$": ("dollar", "dollars"), "£": ("pound", "pounds"), "€": ("euro", "euros")}
_SYMBOLS = {"%": "percent", "&": "and", "+": "plus", "=": "equals", "@": "at", "°": "degrees"}
_ABBREVIATIONS = {
    "mr.": "mister", "mrs.": "missus", "ms.": "miss", "dr.": "doctor", "st.": "saint",
    "vs.": "versus", "etc.": "et cetera", "e.g.": "for example", "i.e.": "that is",
}  # fmt: skip
_LARGEST = 10**15
_QUOTES = {0x2019: "'", 0x2018: "'", 0x201C: '"', 0x201D: '"', 0x02BC: "'"}
_DASH = re.compile("[-\u2010-\u2015/]")
_NUMBER = re.compile(
    r"(?P<currency>[$£€])?(?P<whole>\d{1,3}(?:,\d{3})+|\d+)(?:\.(?P<fraction>\d+))?"
    r"(?P<ordinal>st|nd|rd|th)?(?P<plural>'?s)?(?P<percent>%)?"
)
_PIECE = re.compile(_NUMBER.pattern + r"|(?P<word>[^\W\d_]+(?:'[^\W\d_]+)*'?)|(?P<symbol>[%&+=@°])")


@dataclass(frozen=True)
class SpokenWord:
    """One word as it is spoken.

    Attributes:
        word: lower case, letters and apostrophes only.
        surface: index of the surface word (``text.split()``) that it belongs to.
        acronym: written in capitals, so spelt letter by letter where the lexicon does not know it.
    """

    word: str
    surface: int
    acronym: bool = False


def number_words(value: int) -> list[str]:
    """An integer in words, without "and": ``1234`` -> one thousand two hundred thirty four.

    Raises:
        ValueError: negative, or ``10**15`` and above.
    """
    if not 0 <= value < _LARGEST:
        raise ValueError(f"number {value} is outside 0..10**15-1; spell it digit by digit")
    for scale, name in _SCALES:
        if value >= scale:
            rest = number_words(value % scale) if value % scale else []
            return [*number_words(value // scale), name, *rest]
    if value >= 100:
        rest = number_words(value % 100) if value % 100 else []
        return [_ONES[value // 100], "hundred", *rest]
    if value >= 20:
        return [_TENS[value // 10], *([_ONES[value % 10]] if value % 10 else [])]
    return [_ONES[value]]


def year_words(value: int) -> list[str]:
    """A year as it is read: ``1984`` -> nineteen eighty four, ``1905`` -> nineteen oh five."""
    century, rest = divmod(value, 100)
    if rest == 0:
        return [*number_words(century), "hundred"]
    if rest < 10:
        return [*number_words(century), "oh", _ONES[rest]]
    return [*number_words(century), *number_words(rest)]


def _ordinal(words: list[str]) -> list[str]:
    last = words[-1]
    if last in _ORDINALS:
        changed = _ORDINALS[last]
    elif last.endswith("y"):
        changed = last[:-1] + "ieth"
    else:
        changed = last + ("h" if last.endswith("t") else "th")
    return [*words[:-1], changed]


def _plural(words: list[str]) -> list[str]:
    last = words[-1]
    if last.endswith("y"):
        return [*words[:-1], last[:-1] + "ies"]
    return [*words[:-1], last + ("es" if last.endswith("x") else "s")]


def _spoken_number(match: re.Match[str]) -> list[str]:
    digits = match["whole"].replace(",", "")
    value = int(digits)
    plain = not (match["currency"] or match["fraction"] or match["ordinal"] or match["percent"])
    is_year = plain and "," not in match["whole"] and len(digits) == 4
    if value >= _LARGEST or (len(digits) > 1 and digits[0] == "0"):
        words = [_ONES[int(digit)] for digit in digits]
    elif is_year and (1100 <= value < 2000 or 2010 <= value < 2100):
        words = year_words(value)
    else:
        words = number_words(value)
    if match["currency"]:
        singular, plural = _CURRENCIES[match["currency"]]
        cents = match["fraction"]
        words = [*words, singular if value == 1 else plural]
        if cents and len(cents) == 2 and int(cents):
            words += number_words(int(cents))
    elif match["fraction"]:
        words = [*words, "point", *(_ONES[int(digit)] for digit in match["fraction"])]
    if match["ordinal"]:
        words = _ordinal(words)
    if match["plural"]:
        words = _plural(words)
    if match["percent"]:
        words = [*words, "percent"]
    return words


def ascii_text(text: str) -> str:
    """Curly quotes straightened, accents dropped, other scripts kept."""
    text = text.translate(_QUOTES)
    return "".join(
        char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char)
    )


def spoken_words(text: str, language: str = "en") -> list[SpokenWord]:
    """The words of a text as they are spoken, in order.

    Punctuation is silent. Letters of other scripts stay: the lexicon turns a word that it cannot
    pronounce into noise, so the words before and after keep their places. What stands for words
    (numbers, currencies, abbreviations) is written out in English alone; accents are dropped in
    English, as CMUdict has none, and kept elsewhere.

    Args:
        text: as written.
        language: ISO 639-1 code.
    """
    return _english_words(text) if language == "en" else _plain_words(text)


def _plain_words(text: str) -> list[SpokenWord]:
    spoken = []
    for surface, written in enumerate(text.split()):
        clean = unicodedata.normalize("NFC", written).translate(_QUOTES)
        for piece in _DASH.split(clean):
            # Vowel signs of many scripts are marks (category M), so only the ends are trimmed.
            kept = [place for place, char in enumerate(piece) if _is_spoken(char)]
            if kept:
                word = piece[kept[0] : kept[-1] + 1]
                spoken.append(SpokenWord(word.lower(), surface, len(word) > 1 and word.isupper()))
    return spoken


def _is_spoken(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN"


def _english_words(text: str) -> list[SpokenWord]:
    spoken: list[SpokenWord] = []
    for surface, written in enumerate(text.split()):
        clean = ascii_text(written)
        if clean.lower() in _ABBREVIATIONS:
            expansion = _ABBREVIATIONS[clean.lower()].split()
            spoken += [SpokenWord(word, surface) for word in expansion]
            continue
        for match in _PIECE.finditer(clean):
            if match["word"]:
                word = match["word"].rstrip("'") or match["word"]
                acronym = len(word) > 1 and word.isupper()
                spoken.append(SpokenWord(word.lower(), surface, acronym))
            elif match["symbol"]:
                spoken.append(SpokenWord(_SYMBOLS[match["symbol"]], surface))
            else:
                spoken += [SpokenWord(word, surface) for word in _spoken_number(match)]
    return spoken
