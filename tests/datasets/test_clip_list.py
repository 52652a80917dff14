from pathlib import Path

import pytest

from dimitra.clips import Reason
from dimitra.datasets.clip_list import choose, read_clip_list
from dimitra.datasets.layouts import read_dataset
from dimitra.datasets.listing import LayoutError


def corpus(root: Path) -> Path:
    for number in range(1, 6):
        path = root / f"mp4/id1/va/0000{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (root / "mp4/id1/va/notes.md").touch()
    return root


def test_listed_absent_and_present_files_add_up(tmp_path: Path) -> None:
    wanted = ("mp4/id1/va/00002.mp4", "mp4/id1/va/00004.mp4", "mp4/id9/vz/00001.mp4")
    text = "# a remark\n\n" + "\n".join(reversed(wanted)) + "\n"
    (tmp_path / "clips.txt").write_text(text)
    found, counts = read_dataset(
        "voxceleb2", corpus(tmp_path / "vox"), "vox", tmp_path / "clips.txt"
    )
    assert [clip.path for clip in found.clips] == list(wanted[:2])
    (bad,) = found.bad
    assert (bad.path, bad.reason) == (wanted[2], Reason.MISSING_FILE)
    assert bad.message.endswith(f"clips.txt names {wanted[2]}, which is not there")
    # 6 files in the folder, 2 of them listed; 3 files listed, 1 of them absent.
    assert (counts["listed"], counts["listed_but_absent"]) == (3, 1)
    assert counts["present_but_not_listed"] == 4
    assert (counts["clips"], counts["refused"]) == (2, 1)


def test_a_listed_file_that_cannot_be_a_clip_keeps_its_row(tmp_path: Path) -> None:
    from dimitra.datasets.voxceleb2 import read

    found, counts = choose(read(corpus(tmp_path), "vox"), "vox", ("mp4/id1/va/notes.md",), "list")
    assert [bad.reason for bad in found.bad] == [Reason.WRONG_EXTENSION]
    assert counts == {"listed": 1, "listed_but_absent": 0, "present_but_not_listed": 5}


def test_what_another_list_promises_too_is_one_row(tmp_path: Path) -> None:
    from dimitra.datasets.hdtf import read

    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "Radio2.mp4").touch()
    (tmp_path / "RD_annotion_time.txt").write_text(
        "Radio1.mp4 00:10-00:20\nRadio2.mp4 00:10-00:20 00:30-00:50\n"
    )
    wanted = ("videos/Radio1_0.mp4", "videos/Radio2.mp4")
    found, counts = choose(read(tmp_path, "hdtf"), "hdtf", wanted, "list")
    assert [clip.clip_id for clip in found.clips] == ["hdtf-radio2_0", "hdtf-radio2_1"]
    assert [(bad.path, bad.reason) for bad in found.bad] == [(wanted[0], Reason.MISSING_FILE)]
    assert counts["listed_but_absent"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nothing\n", "names no clip"),
        ("a.mp4\nb.mp4\na.mp4\n", r":3: a\.mp4 is named a second time \(line 1\)"),
        ("/data/a.mp4\n", r":1: '/data/a\.mp4' is no path below"),
        ("mp4/../a.mp4\n", "is no path below"),
        ("./a.mp4\n", "is no path below"),
    ],
)
def test_an_ill_formed_list_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "clips.txt").write_text(text)
    with pytest.raises(LayoutError, match=message):
        read_clip_list(tmp_path / "clips.txt")


def test_a_missing_list_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="`dimitra split voxceleb2` makes"):
        read_clip_list(tmp_path / "clips.txt")
