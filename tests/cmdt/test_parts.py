import pytest

from dimitra.cmdt.parts import MODEL_PARTS, mouth_columns, part_columns, parts_of


@pytest.mark.parametrize("face_model", ["open_head", "bfm"])
def test_three_parts_or_one_cover_the_motion(face_model: str) -> None:
    for models in ("separate", "joint"):
        columns = [c for part in parts_of(models) for c in part_columns(face_model, part)]
        assert sorted(columns) == list(range(70))
    sizes = [len(part_columns(face_model, part)) for part in MODEL_PARTS]
    assert sizes == [13, 51, 6, 70]
    assert mouth_columns(face_model) == part_columns(face_model, "lips")
