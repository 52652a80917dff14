import os
from pathlib import Path

import pytest

from dimitra.clips import ClipError, Reason
from dimitra.datasets.face_boxes import FaceBox, check_boxes, parse
from dimitra.datasets.voxceleb2 import read

HEADER = (
    "Identity  : \tid00012\nReference : \t21Uxsk56VDQ\nOffset    : \t-1\n"
    "FV Conf   : \t17.802\t(1)\nASD Conf  : \t7.171\n\nFRAME \tX \tY \tW \tH \n"
)


def test_header_and_boxes_of_the_released_layout() -> None:
    found = parse(f"{HEADER}000001 \t0.330 \t0.197 \t0.275 \t0.488 \n000002\t.33\t.2\t.3\t.5\n", "f")
    assert found.header["Reference"] == "21Uxsk56VDQ"
    assert found.header["Offset"] == "-1"
    assert found.boxes == (
        FaceBox(1, 0.33, 0.197, 0.275, 0.488),
        FaceBox(2, 0.33, 0.2, 0.3, 0.5),
    )


def test_a_face_at_the_border_may_reach_beyond_it() -> None:
    assert len(parse(f"{HEADER}1\t-0.1\t0.7\t0.3\t0.5\n", "f").boxes) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            "000001\t0.3\t0.2\t0.3\t0.5\n000002\t1.1\t0.2\t0.3\t0.5\n",
            r"a/b\.txt:9: the face box X=1\.1 Y=0\.2 W=0\.3 H=0\.5 of frame 2 lies outside",
        ),
        ("1\t215\t60\t98\t98\n", r":8: the face box X=215 .*has more than twice the frame's size .*98.*pixels"),
        ("1\t0.3\t0.2\t-0.3\t0.5\n", r"W=-0\.3 .*has no size \(width -0\.3, height 0\.5\)"),
        ("1\tnan\t0.2\t0.3\t0.5\n", "X=nan .*finite"),
        ("1\t0.3\t0.2\t0.3\n", r":8: '1\\t0\.3\\t0\.2\\t0\.3' is not of the form FRAME X Y W H"),
        ("x\t0.3\t0.2\t0.3\t0.4\n", "is not of the form"),
        ("2\t.3\t.2\t.3\t.4\n2\t.3\t.2\t.3\t.4\n", ":9: frame 2 follows frame 2"),
        ("\n", "has no box"),
    ],
)
def test_what_cannot_be_a_face_is_named_with_line_and_values(rows: str, message: str) -> None:
    with pytest.raises(ClipError, match=message) as caught:
        parse(HEADER + rows, "txt/a/b.txt")
    assert caught.value.reason is Reason.BAD_ANNOTATION


def test_a_file_without_its_table_is_named() -> None:
    with pytest.raises(ClipError, match="f has no line FRAME X Y W H"):
        parse("1\t0.3\t0.2\t0.3\t0.5\n", "f")


def test_clips_with_bad_boxes_are_set_aside_and_those_without_stay(tmp_path: Path) -> None:
    for number in range(1, 6):
        path = tmp_path / f"mp4/id1/va/0000{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    boxes = tmp_path / "txt/id1/va"
    boxes.mkdir(parents=True)
    (boxes / "00001.txt").write_text(f"{HEADER}1\t.3\t.2\t.3\t.4\n")
    (boxes / "00002.txt").write_text(f"{HEADER}1\t.3\t1.2\t.3\t.4\n")
    (boxes / "00003.txt").write_bytes(b"\xe9")
    os.mkfifo(boxes / "00004.txt")
    found, count = check_boxes(tmp_path, "vox", read(tmp_path, "vox"))
    assert count == 4
    assert [clip.clip_id for clip in found.clips] == ["vox-id1-va-00001", "vox-id1-va-00005"]
    assert [(bad.path, bad.reason) for bad in found.bad] == [
        (f"mp4/id1/va/0000{number}.mp4", Reason.BAD_ANNOTATION) for number in (2, 3, 4)
    ]
    assert "txt/id1/va/00002.txt:8: the face box X=0.3 Y=1.2" in found.bad[0].message
    assert "is not UTF-8" in found.bad[1].message
    assert "is a pipe" in found.bad[2].message
