import logging
import random
from pathlib import Path

import pytest

from dimitra.assets import asset_path
from dimitra.speech.g2p import GraphemesToPhones
from dimitra.speech.lexicon import DictionaryError, Lexicon, from_entries, read_dictionary, spelt
from dimitra.speech.lexicon import english as cmudict
from dimitra.speech.phonemes import PHONES
from dimitra.speech.words import SpokenWord


def english() -> Lexicon:
    return cmudict(asset_path("g2p_en"))


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
        ("dimitra", "D IH M IY T R AH"),
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


def test_a_word_of_another_script_in_english_is_noise_and_one_of_no_letters_too() -> None:
    assert first("привет") == first("2024") == "NSN"


def test_the_network_against_the_dictionary() -> None:
    """One phone in twelve is wrong; most of these words were in its training."""
    entries = english().entries
    sounds = GraphemesToPhones(asset_path("g2p_en"))
    words = [word for word in sorted(entries) if word.isalpha() and len(word) > 3]
    wrong = total = 0
    for word in random.Random(0).sample(words, 1000):
        guess = sounds(word)
        assert set(guess) <= set(PHONES)
        nearest = min(entries[word], key=lambda variant: edits(guess, variant))
        wrong += edits(guess, nearest)
        total += len(nearest)
    assert wrong / total < 0.09


def test_own_lexicon() -> None:
    lexicon = from_entries([("cat", "K AE1 T"), ("cat", "K AH0 T")])
    assert lexicon.entries["cat"] == (("K", "AE", "T"), ("K", "AH", "T"))
    with pytest.raises(ValueError, match="no pronunciation"):
        from_entries([("cat", "")])


CMU = """\
;;; a comment
schön  SH ER1 N
schön(2)  SH EH1 N # rarer
gut  G UW1 T
"""
MFA = """\
schön\t0.99\t0.14\t1.0\t1.0\tʃ øː n
schön\t0.01\t0.14\t1.0\t1.0\tʃ œ n
gut\tɡ uː tʰ
ja\tj a
"""


def test_a_dictionary_in_the_form_of_cmudict(tmp_path: Path) -> None:
    path = tmp_path / "german.dict"
    path.write_text(CMU)
    lexicon = read_dictionary(path)
    assert lexicon.entries["schön"] == (("SH", "ER", "N"), ("SH", "EH", "N"))
    assert lexicon.entries["schon"] == lexicon.entries["schön"]
    assert lexicon.scripts == {"LATIN"}


def test_a_dictionary_in_the_form_of_mfa_and_the_ipa(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "german.dict"
    path.write_text(MFA)
    lexicon = read_dictionary(path)
    assert lexicon.entries["schön"] == (("SH", "OW", "N"), ("SH", "AO", "N"))
    assert lexicon.entries["ja"] == (("Y", "AA"),)
    caplog.set_level(logging.INFO)
    assert lexicon.pronunciations(SpokenWord("guts", 0)) == (("NSN",),)  # no English plurals here
    assert "guts" in caplog.text


def test_the_script_of_a_dictionary_is_that_of_its_words(tmp_path: Path) -> None:
    path = tmp_path / "russian.dict"
    path.write_text("привет\tp rʲ ɪ vʲ e t\nмир\tmʲ i r\n")
    assert read_dictionary(path).scripts == {"CYRILLIC"}
    assert read_dictionary(path).entries["мир"] == (("M", "IY", "R"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [("gut G UW1 T\nschön\n", "line 2: word 'schön' has no phones"), (";;; nothing\n", "no word"),
     ("gut G UW1 QQ\n", "line 1: phone label 'QQ'|line 1: phone label 'G'"),
     ("gut 0.5 0.1\n", "line 1: word 'gut' has no phones")],
)  # fmt: skip
def test_a_bad_dictionary_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.dict"
    path.write_text(text)
    with pytest.raises(DictionaryError, match=said):
        read_dictionary(path)


def test_a_dictionary_in_latin_1_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.dict"
    path.write_bytes("schön SH\n".encode("latin-1"))
    with pytest.raises(DictionaryError, match="not UTF-8"):
        read_dictionary(path)
