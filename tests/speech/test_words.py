import pytest

from dimitra.speech.words import number_words, spoken_words, year_words


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Hello, world!", "hello world"),
        ("It’s $5.50", "it's five dollars fifty"),
        ("in 1984, 1905 and 1900", "in nineteen eighty four nineteen oh five and nineteen hundred"),
        ("the 21st of 1,234", "the twenty first of one thousand two hundred thirty four"),
        ("the 1980s", "the nineteen eighties"),
        ("3.14 or 50%", "three point one four or fifty percent"),
        ("Dr. O'Neil & co-operate", "doctor o'neil and co operate"),
        ("agent 007", "agent zero zero seven"),
        ("naïve café", "naive cafe"),
        ("$1", "one dollar"),
        ("12th 8th 20th", "twelfth eighth twentieth"),
        ("— … ?!", ""),
        ("", ""),
    ],
)
def test_text_is_spoken(text: str, spoken: str) -> None:
    assert " ".join(word.word for word in spoken_words(text)) == spoken


def test_surface_words_are_kept() -> None:
    words = spoken_words("pay $20 — now")
    assert [(word.word, word.surface) for word in words] == [
        ("pay", 0), ("twenty", 1), ("dollars", 1), ("now", 3),
    ]  # fmt: skip


def test_capitals_are_acronyms() -> None:
    assert [word.acronym for word in spoken_words("NASA and I sat")] == [True, False, False, False]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "zero"), (19, "nineteen"), (90, "ninety"), (100, "one hundred"),
        (1_000_000_007, "one billion seven"),
        (999_999, "nine hundred ninety nine thousand nine hundred ninety nine"),
    ],
)  # fmt: skip
def test_numbers(value: int, words: str) -> None:
    assert " ".join(number_words(value)) == words


def test_a_number_too_large_for_words_is_refused() -> None:
    with pytest.raises(ValueError, match="digit by digit"):
        number_words(10**15)
    assert len(spoken_words("1" * 20)) == 20


def test_years() -> None:
    assert " ".join(year_words(2025)) == "twenty twenty five"
