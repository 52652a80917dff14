from pathlib import Path

import pytest

from dimitra.datasets.listing import LayoutError
from dimitra.datasets.voxceleb2_meta import Speaker, read_speakers, summary

HEADER = "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set\t\n"


def write(root: Path, text: str) -> Path:
    path = root / "vox2_meta.csv"
    path.write_bytes(text.encode())
    return path


def test_stray_blanks_tabs_and_line_ends_are_taken_off(tmp_path: Path) -> None:
    path = write(
        tmp_path, f"\ufeff{HEADER}id00012 ,n000012 ,m ,dev \r\nid00017\t,\tn000017 , F,test\n\n"
    )
    assert read_speakers(path) == {
        "id00012": Speaker("id00012", "n000012", "m", "dev"),
        "id00017": Speaker("id00017", "n000017", "f", "test"),
    }
    assert summary(tmp_path, ["id00017", "id00017", "id9"]) == {
        "identities": 2,
        "with_clips": 1,
        "gender": {"f": 1},
        "set": {"test": 1},
        "not_in_table": ["id9"],
    }


def test_without_a_table_there_is_no_summary(tmp_path: Path) -> None:
    assert summary(tmp_path, ["id1"]) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: '' is not VoxCeleb2 ID"),
        ("VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n", "not that of VoxCeleb1"),
        (HEADER, "names nobody"),
        (f"{HEADER}id1,n1,m\n", r"vox2_meta.csv:2: 'id1,n1,m' has not four fields"),
        (f"{HEADER}id1,n1,m,dev\nid2,n2,x,dev\n", ":3: gender of id2 is 'x', not m or f"),
        (f"{HEADER}id1,n1,m,val\n", ":2: set of id1 is 'val', not dev or test"),
        (f"{HEADER}id1,n1,m,dev\nid1,n1,m,dev\n", ":3: id1 is named a second time"),
    ],
)
def test_an_ill_formed_table_is_named_with_line_and_values(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(LayoutError, match=message):
        read_speakers(write(tmp_path, text))
