import pytest

from dimitra.cmdt.parts import MOUTH_INDICES, PARTS, motion_columns


@pytest.mark.parametrize("face_model", sorted(MOUTH_INDICES))
def test_parts_cover_the_seventy_values_once(face_model: str) -> None:
    columns = {part: motion_columns(part, MOUTH_INDICES[face_model]) for part in PARTS}
    assert [len(columns[part]) for part in PARTS] == [13, 51, 6]
    assert sorted(index for part in PARTS for index in columns[part]) == list(range(70))


def test_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="'nose' is not one of lips"):
        motion_columns("nose", [0])
