"""Names of files, and tokens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.web.intake import new_token, safe_name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        (r"C:\Users\me\talk.wav", "talk.wav"),
        ("Æther ünd (2).png", "Æther ünd (2).png"),
        ("a\r\nSet-Cookie: b.png", "a_Set-Cookie_ b.png"),
        (".bashrc", "bashrc"),
        ("..", "file"),
        ("", "file"),
        ("/", "file"),
        ("$(rm -rf ~);.mp4", "_(rm -rf _)_.mp4"),
    ],
)
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name, "file") == safe


def test_letters_of_four_bytes_make_a_name_that_a_file_system_takes(tmp_path: Path) -> None:
    for suffix in ("", ".wav"):
        name = safe_name("\U00020000" * 90 + suffix, "file")
        assert name.endswith(suffix)
        assert len(name.encode()) <= 200
        (tmp_path / name).write_bytes(b"")


@given(st.text(max_size=300))
def test_any_name_is_only_a_name(name: str) -> None:
    safe = safe_name(name, "file")
    assert 1 <= len(safe) <= 80
    assert not safe.startswith(".")
    assert re.fullmatch(r"[\w.() -]+", safe)
    assert safe_name(safe, "file") == safe


def test_tokens_are_long_and_differ() -> None:
    tokens = {new_token() for _ in range(1000)}
    assert len(tokens) == 1000
    assert min(len(token) for token in tokens) == 32
