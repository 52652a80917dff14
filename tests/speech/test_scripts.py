import pytest

from dimitra.clips import ClipError, Reason
from dimitra.speech.scripts import check_script, language_scripts, scripts_of


@pytest.mark.parametrize(
    ("text", "language"),
    [("Ça va? L'été ß ø", "fr"), ("Привет", "ru"), ("こんにちは世界カタカナ", "ja"), ("你好", "zh"),
     ("नमस्ते दुनिया", "hi"), ("안녕", "ko"), ("שלום", "he"), ("سلام", "fa"), ("γειά", "el"),
     ("สวัสดี", "th"), ("The angle π and the name Б", "en"), ("2024 — 5 %", "en"), ("", "en"),
     ("Zdravo Здраво", "sr")],
)  # fmt: skip
def test_a_text_in_its_own_script_passes(text: str, language: str) -> None:
    check_script(text, language_scripts(language), f"language {language!r}")


@pytest.mark.parametrize(
    ("text", "language", "letters"),
    [("Привет, как дела?", "en", "Cyrillic (Приветкадл)"), ("hello there", "ru", "Latin (helotr)"),
     ("你好 hello", "en", "Cjk (你好)"), ("γειά σου κόσμε", "en", "Greek (γειάσουκόμ)")],
)  # fmt: skip
def test_another_script_is_refused_with_its_letters(text: str, language: str, letters: str) -> None:
    with pytest.raises(ClipError) as caught:
        check_script(text, language_scripts(language), f"language {language!r}")
    assert caught.value.reason is Reason.BAD_TRANSCRIPT
    assert letters in caught.value.message
    assert repr(language) in caught.value.message


def test_scripts_are_counted_by_letters() -> None:
    assert scripts_of("aaaa Б", 0.3) == {"LATIN"}
    assert scripts_of("aaaa Б") == {"LATIN", "CYRILLIC"}
