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


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"D"', "D", "tier 'phones', interval 2 of 3 is 'xmin = 0.1 xmax = 0.5 text = D'; need"),
        ('"D"', '"D', "damaged"),
        ("xmin = 0.1\n", "xmin = nan\n", "interval 2 of 3 has the time 'nan'; need seconds"),
        ("xmin = 0.1\n", "xmin = abc\n", "interval 2 of 3 has the time 'abc'; need seconds"),
        ("xmin = 0.1\n", "xmin = 0.1.22\n", "interval 2 of 3 has the time '0.1.22'; need seconds"),
        ("xmax = 0.5\n", "", "interval 2 of 3 is 'xmin = 0.1 text = \"D\"'; need"),
        ("intervals [3]", "intervals [4]", "interval 4 stands where 3 belongs"),
        ("intervals: size = 3\n", "intervals: size = 4\n", "has 3 intervals and says size = 4"),
        ("intervals: size = 3\n", "", "has 3 intervals and says no size"),
        ("size = 1\n", "size = 2\n", "clip.TextGrid has 1 tiers and says size = 2"),
        ('name = "phones"', "", "tier 1 of 1 has no class or no name"),
        ("xmax = 1\n", "xmax = abc\n", "clip.TextGrid: xmax has the time 'abc'"),
    ],
)
def test_damage_is_refused_and_named(old: str, new: str, said: str) -> None:
    whole = textgrid_bytes({"phones": PHONES}, 1.0).decode()
    assert whole.count(old) >= 1
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        read_textgrid(whole.replace(old, new, 1).encode(), "clip.TextGrid")
    assert "clip.TextGrid" in str(caught.value)


def test_a_file_cut_at_any_line_is_refused() -> None:
    whole = textgrid_bytes({"words": WORDS, "phones": PHONES}, 1.0)
    lines = whole.splitlines(keepends=True)
    for count in range(len(lines)):
        with pytest.raises(ValueError, match=r"clip\.TextGrid"):
            read_textgrid(b"".join(lines[:count]), "clip.TextGrid")
    assert read_textgrid(whole) == {"words": WORDS, "phones": PHONES}


def test_two_tiers_of_one_name_are_refused() -> None:
    grid = textgrid_bytes({"phones": PHONES, "phonez": PHONES}, 1.0).replace(b"phonez", b"phones")
    with pytest.raises(ValueError, match=r"clip\.TextGrid has two tiers 'phones'"):
        read_textgrid(grid, "clip.TextGrid")


def test_a_label_that_looks_like_the_format_is_a_label() -> None:
    labels = ["item [2]:", "intervals [2]:", 'text = "a"', "size = 9\nxmax = 7", "item []:"]
    intervals = [Interval(k / 10, (k + 1) / 10, label) for k, label in enumerate(labels)]
    assert read_textgrid(textgrid_bytes({"words": intervals}, 1.0)) == {"words": intervals}


def test_a_tier_of_points_is_passed_over(tmp_path: Path) -> None:
    grid = textgrid.Textgrid()
    entries = [(item.start_s, item.end_s, item.label) for item in PHONES]
    grid.addTier(textgrid.PointTier("marks", [(0.2, "a"), (0.4, "b")], 0, 1.0))
    grid.addTier(textgrid.IntervalTier("phones", entries, 0, 1.0))
    path = tmp_path / "clip.TextGrid"
    grid.save(str(path), format="long_textgrid", includeBlankSpaces=True)
    assert read_textgrid(path.read_bytes()) == {"phones": PHONES}
