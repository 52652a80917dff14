import logging
import random

import pytest

from dimitra.speech.letters import sounds, spelt
from dimitra.speech.lexicon import english, from_entries
from dimitra.speech.phonemes import PHONES
from dimitra.speech.words import SpokenWord


def first(word: str, acronym: bool = False) -> str:
    return " ".join(english().pronunciations(SpokenWord(word, 0, acronym))[0])


def edits(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def test_dictionary_is_complete_and_stress_free() -> None:
    entries = english().entries
    assert len(entries) > 120_000
    assert entries["read"] == (("R", "EH", "D"), ("R", "IY", "D"))
    assert {phone for variants in entries.values() for v in variants for phone in v} <= set(PHONES)
    assert all(len(set(variants)) == len(variants) for variants in entries.values())


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("lipreading", "L IH P R IY D IH NG"),
        ("podcasted", "P AO D K AE S T IH D"),
        ("timeshift", "T AY M SH IH F T"),
        ("strawberry's", "S T R AO B EH R IY Z"),
        ("brznk", "B IY AA R Z IY EH N K EY"),
        ("привет", "NSN"),
    ],
)
def test_words_outside_the_dictionary(
    word: str, phones: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert first(word) == phones
    assert word in caplog.text


def test_an_unknown_acronym_is_spelt() -> None:
    assert first("cmdt", acronym=True) == " ".join(spelt("cmdt")) == "S IY EH M D IY T IY"


def test_letter_rules_against_the_dictionary() -> None:
    """One phone in five is wrong on dictionary words the rules never saw as a list."""
    entries = english().entries
    words = [word for word in sorted(entries) if word.isalpha() and len(word) > 3]
    wrong = total = 0
    for word in random.Random(0).sample(words, 3000):
        guess = sounds(word)
        assert set(guess) <= set(PHONES)
        nearest = min(entries[word], key=lambda variant: edits(guess, variant))
        wrong += edits(guess, nearest)
        total += len(nearest)
    assert wrong / total < 0.20


def test_own_lexicon() -> None:
    lexicon = from_entries([("cat", "K AE1 T"), ("cat", "K AH0 T")])
    assert lexicon.entries["cat"] == (("K", "AE", "T"), ("K", "AH", "T"))
    with pytest.raises(ValueError, match="no pronunciation"):
        from_entries([("cat", "")])
