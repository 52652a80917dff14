"""Scripts: which a text is written in, and which a language or a dictionary is.

A letter's script is the first word of its Unicode name (``CYRILLIC SMALL LETTER A``), which tells
the scripts of the languages below apart.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable

from dimitra.clips import ClipError, Reason

_CYRILLIC = ("be", "bg", "kk", "mk", "mn", "ru", "tg", "tt", "uk", "ba")
_ARABIC = ("ar", "fa", "ps", "sd", "ur")
_HAN = frozenset({"CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC"})
_SCRIPTS: dict[str, frozenset[str]] = {
    **dict.fromkeys(_CYRILLIC, frozenset({"CYRILLIC"})),
    **dict.fromkeys(_ARABIC, frozenset({"ARABIC"})),
    **dict.fromkeys(("zh", "yue", "ja"), _HAN),
    **dict.fromkeys(("hi", "mr", "ne", "sa"), frozenset({"DEVANAGARI"})),
    **dict.fromkeys(("he", "yi"), frozenset({"HEBREW"})),
    **dict.fromkeys(("bn", "as"), frozenset({"BENGALI"})),
    "sr": frozenset({"CYRILLIC", "LATIN"}), "uz": frozenset({"CYRILLIC", "LATIN"}),
    "az": frozenset({"CYRILLIC", "LATIN"}), "ko": frozenset({"HANGUL", "CJK"}),
    "el": frozenset({"GREEK"}), "hy": frozenset({"ARMENIAN"}), "ka": frozenset({"GEORGIAN"}),
    "th": frozenset({"THAI"}), "lo": frozenset({"LAO"}), "km": frozenset({"KHMER"}),
    "my": frozenset({"MYANMAR"}), "bo": frozenset({"TIBETAN"}), "am": frozenset({"ETHIOPIC"}),
    "ta": frozenset({"TAMIL"}), "te": frozenset({"TELUGU"}), "kn": frozenset({"KANNADA"}),
    "ml": frozenset({"MALAYALAM"}), "gu": frozenset({"GUJARATI"}), "si": frozenset({"SINHALA"}),
    "pa": frozenset({"GURMUKHI", "ARABIC"}),
}  # fmt: skip
_LATIN = frozenset({"LATIN"})

FOREIGN_SHARE = 0.1
"""Largest share of a text's letters that may be of another script: a name or a formula, no more."""


def script_of(letter: str) -> str:
    """Script of a letter, in capitals, as Unicode names it."""
    return unicodedata.name(letter, "UNKNOWN").split()[0].split("-")[0]


def language_scripts(language: str) -> frozenset[str]:
    """Scripts that a language is written in; Latin where none is known.

    Args:
        language: ISO 639-1 code.
    """
    return _SCRIPTS.get(language, _LATIN)


def scripts_of(text: str, least: float = 0.0) -> frozenset[str]:
    """Scripts that hold at least a share ``least`` of a text's letters."""
    counts: Counter[str] = Counter()
    for char, count in Counter(text).items():
        if char.isalpha():
            counts[script_of(char)] += count
    total = sum(counts.values())
    return frozenset(script for script, count in counts.items() if count >= least * total)


def check_script(text: str, allowed: Iterable[str], what: str) -> None:
    """Refuse a text of which more than ``FOREIGN_SHARE`` of the letters are of another script.

    Args:
        text: a transcript.
        allowed: scripts, as `script_of` names them.
        what: names what it must fit: ``language 'en'``, ``the dictionary``.

    Raises:
        ClipError: ``BAD_TRANSCRIPT``, with the scripts and the first letters.
    """
    known = frozenset(allowed)
    letters = [char for char in text if char.isalpha()]
    foreign = [char for char in letters if script_of(char) not in known]
    if len(foreign) > FOREIGN_SHARE * len(letters):
        named = "".join(dict.fromkeys(foreign))[:12]
        found = ", ".join(sorted({script_of(char).title() for char in foreign}))
        raise ClipError(
            Reason.BAD_TRANSCRIPT,
            f"{len(foreign)} of {len(letters)} letters are {found} ({named}), but {what} is "
            f"written in {', '.join(sorted(script.title() for script in known))}: check the "
            "transcript, transcribe.language and speech.dictionary",
        )
