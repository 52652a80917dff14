"""Files are paired by name, what cannot be paired is told, and every file is counted once."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.evaluation.matching import (
    MatchError,
    identity_of,
    list_videos,
    match,
    match_with,
    read_table,
)


def files(*names: str) -> dict[str, Path]:
    return {name: Path(f"{name}.mp4") for name in names}


def test_equal_names_match_and_the_rest_is_told() -> None:
    found = match(files("a", "b", "c"), files("a", "c", "other"))
    assert found.pairs == {"a": Path("a.mp4"), "c": Path("c.mp4")}
    assert (found.missing, found.extra) == (("b",), (Path("other.mp4"),))


def test_a_common_beginning_and_end_are_taken_off() -> None:
    found = match(files("clip1", "clip10", "clip2"), files("st-clip1_256", "st-clip10_256", "x"))
    assert {name: path.stem for name, path in found.pairs.items()} == {
        "clip1": "st-clip1_256",
        "clip10": "st-clip10_256",
    }
    assert (found.prefix, found.suffix, found.missing) == ("st-", "_256", ("clip2",))


def test_two_readings_are_refused() -> None:
    with pytest.raises(MatchError, match="--match"):
        match(files("a"), files("x-a", "a-y"))


@given(
    names=st.sets(st.from_regex(r"[a-z]{2}[0-9]{3}", fullmatch=True), min_size=2, max_size=8),
    before=st.sampled_from(["", "ours_", "x-"]),
    after=st.sampled_from(["", "_out", ".final"]),
)
def test_every_name_finds_its_own(names: set[str], before: str, after: str) -> None:
    found = match(files(*names), files(*(before + name + after for name in names)))
    assert found.pairs == {name: Path(f"{before}{name}{after}.mp4") for name in names}
    assert not found.missing
    assert not found.extra


def test_a_table_comes_first_and_names_identities(tmp_path: Path) -> None:
    table = tmp_path / "match.csv"
    table.write_text("reference,generated,identity\na.mp4,out7.mp4,Ann\nb,,Ann\nc,,Bo\n")
    references, generated = files("a", "b", "c"), files("out7", "b", "a")
    read = read_table(table, references, {"ours": generated})
    found = match_with(read.pairs["ours"], references, generated)
    assert {name: path.stem for name, path in found.pairs.items()} == {"a": "out7", "b": "b"}
    assert read.identities == {"a": "Ann", "b": "Ann", "c": "Bo"}
    assert (found.missing, found.extra) == (("c",), (Path("a.mp4"),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reference,generated\na,nothing\n", "line 2: there is no video 'nothing'"),
        ("reference,generated\na,b\na,c\n", "line 3: a or c is paired before"),
        ("reference,generated,method\na,b,theirs\n", "method 'theirs' is none of ours"),
        ("clip,generated\na,b\n", "has the columns clip, generated"),
        ("reference,generated\n", "no rows"),
    ],
)
def test_a_wrong_table_names_the_line(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "match.csv"
    table.write_text(text)
    with pytest.raises(MatchError, match=message):
        read_table(table, files("a"), {"ours": files("b", "c")})


def test_folders_are_searched_to_the_bottom(tmp_path: Path) -> None:
    for name in ("id1/v/00001.mp4", "id2/v/00001.MP4", ".hidden/x.mp4", "id1/v/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(list_videos(tmp_path)) == ["id1/v/00001", "id2/v/00001"]
    (tmp_path / "id1/v/00001.avi").touch()
    with pytest.raises(MatchError, match="one name"):
        list_videos(tmp_path)
    with pytest.raises(MatchError, match="no folder"):
        list_videos(tmp_path / "absent")


def test_voxcelebs_identities_are_known() -> None:
    assert identity_of("chorus-id00013-27d9df375aa-00001") == "id00013"
    assert identity_of("WRA_Jones") is None
