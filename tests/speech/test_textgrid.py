import re
from pathlib import Path

import pytest
from praatio import textgrid

from dimitra.speech.phonemes import Interval
from dimitra.speech.textgrid import read_textgrid, textgrid_bytes

WORDS = [Interval(0.1, 0.5, "don't"), Interval(0.5, 0.73, 'a "quote"')]
PHONES = [Interval(0.0, 0.1, "SIL"), Interval(0.1, 0.5, "D"), Interval(0.5, 1.0, "AH")]


def test_praatio_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "clip.TextGrid"
    path.write_bytes(textgrid_bytes({"words": WORDS, "phones": PHONES}, 1.0))
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    assert grid.tierNames == ("words", "phones")
    assert grid.maxTimestamp == 1.0
    for name, intervals in (("words", WORDS), ("phones", PHONES)):
        found = [(entry.start, entry.end, entry.label) for entry in grid.getTier(name).entries]
        assert found == [(item.start_s, item.end_s, item.label) for item in intervals]


def test_what_praatio_writes_is_read(tmp_path: Path) -> None:
    grid = textgrid.Textgrid()
    entries = [(item.start_s, item.end_s, item.label) for item in PHONES]
    grid.addTier(textgrid.IntervalTier("phones", entries, 0, 1.0))
    path = tmp_path / "clip.TextGrid"
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)
    assert read_textgrid(path.read_bytes()) == {"phones": PHONES}


def test_round_trip_and_no_gaps() -> None:
    data = textgrid_bytes({"words": WORDS, "empty": []}, 1.0)
    assert read_textgrid(data) == {"words": WORDS, "empty": []}
    assert data.count(b'text = ""\n') == 3  # before, after, and the whole of the empty tier


def test_overlaps_are_refused() -> None:
    with pytest.raises(ValueError, match="overlaps"):
        textgrid_bytes({"words": [Interval(0.0, 0.6, "a"), Interval(0.5, 0.7, "b")]}, 1.0)
    with pytest.raises(ValueError, match="end of the clip"):
        textgrid_bytes({"words": [Interval(0.0, 1.6, "a")]}, 1.0)


def test_other_files_are_refused() -> None:
    with pytest.raises(ValueError, match="clip.TextGrid is not a TextGrid"):
        read_textgrid(b"hello", "clip.TextGrid")
    with pytest.raises(ValueError, match="clip.TextGrid is not UTF-8"):
        read_textgrid(b"\xff\xfe", "clip.TextGrid")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("xmin = 0.5\n", "xmin = 0.45\n", "at 0.45-0.73 s overlaps \"don't\" at 0.1-0.5 s"),
        ("xmax = 0.73\n", "xmax = 0.43\n", "at 0.5-0.43 s ends before it starts"),
        ("xmax = 0.73\n", "xmax = 7.3\n", "at 0.5-7.3 s ends after the file (1.0 s)"),
    ],
)  # fmt: skip
def test_bad_intervals_name_file_tier_and_times(old: str, new: str, said: str) -> None:
    grid = textgrid_bytes({"words": WORDS}, 1.0).decode().replace(old, new, 1)
    with pytest.raises(ValueError, match=re.escape("clip.TextGrid, tier 'words'")) as caught:
        read_textgrid(grid.encode(), "clip.TextGrid")
    assert said in str(caught.value)


def test_another_duration_than_the_sounds_is_refused() -> None:
    data = textgrid_bytes({"words": WORDS}, 1.0)
    assert read_textgrid(data, duration_s=1.02) == {"words": WORDS}
    with pytest.raises(ValueError, match=r"lasts 1\.000 s, its sound 1\.200 s"):
        read_textgrid(data, "clip.TextGrid", 1.2)


def test_times_with_an_exponent_are_read() -> None:
    grid = textgrid_bytes({"words": WORDS}, 1.0).decode().replace("xmin = 0.1\n", "xmin = 1e-1\n")
    assert read_textgrid(grid.encode())["words"] == WORDS
