import json
from pathlib import Path
from typing import Any

import pytest

from dimitra.clips import Reason
from dimitra.datasets.celebvhq import read
from dimitra.datasets.listing import LayoutError


def entry(video: str, **changes: Any) -> dict[str, Any]:
    return {
        "ytb_id": video,
        "duration": {"start_sec": 81.62, "end_sec": 86.17},
        "bbox": {"top": 0.0, "bottom": 0.8815, "left": 0.1964, "right": 0.6922},
        "attributes": {"appearance": [0, 1], "action": [1, 0]},
    } | changes


def write(root: Path, clips: Any) -> None:
    (root / "celebvhq_info.json").write_text(json.dumps({"meta_info": {}, "clips": clips}))


def test_clips_anywhere_recordings_as_identities_and_missing_ones(tmp_path: Path) -> None:
    clips = {
        **{f"M2Ohb0FAaJU_{number}": entry("M2Ohb0FAaJU") for number in range(3)},
        "a_b-c_10": entry("a_b-c"),
        "w_0": entry("w", bbox={"top": 0.1, "bottom": 0.5, "left": 1.1, "right": 1.4}),
        "v_0": entry("v", duration={"start_sec": 5.0, "end_sec": 4.0}),
    }
    write(tmp_path, clips)
    for name in (
        *("processed/M2Ohb0FAaJU_0.mp4", "processed/M2Ohb0FAaJU_1.mp4", "35666/a_b-c_10.mp4"),
        *("processed/w_0.mp4", "processed/v_0.mp4", "processed/stranger_0.mp4"),
        *("raw/M2Ohb0FAaJU.mp4", "README.md"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = read(tmp_path, "celeb")
    assert [(clip.clip_id, clip.identity, clip.path) for clip in found.clips] == [
        ("celeb-a_b-c_10", "a_b-c", "35666/a_b-c_10.mp4"),
        ("celeb-m2ohb0faaju_0", "M2Ohb0FAaJU", "processed/M2Ohb0FAaJU_0.mp4"),
        ("celeb-m2ohb0faaju_1", "M2Ohb0FAaJU", "processed/M2Ohb0FAaJU_1.mp4"),
    ]
    assert {clip.source_video for clip in found.clips} == {"a_b-c", "M2Ohb0FAaJU"}
    assert {bad.path: bad.reason for bad in found.bad} == {
        "M2Ohb0FAaJU_2.mp4": Reason.MISSING_FILE,
        "processed/stranger_0.mp4": Reason.WRONG_EXTENSION,
        "processed/v_0.mp4": Reason.BAD_ANNOTATION,
        "processed/w_0.mp4": Reason.BAD_ANNOTATION,
    }
    messages = " ".join(bad.message for bad in found.bad)
    assert "clip w_0: the bbox top=0.1 bottom=0.5 left=1.1 right=1.4 lies outside" in messages
    assert "clip v_0: start_sec 5 and end_sec 4 are no interval" in messages
    assert found.others == 3  # the raw recording, the README, the JSON


def test_the_same_clip_in_two_folders_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"w_0": entry("w")})
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "w_0.mp4").touch()
    found = read(tmp_path, "celeb")
    assert [clip.path for clip in found.clips] == ["a/w_0.mp4"]
    assert [(bad.path, bad.reason) for bad in found.bad] == [("b/w_0.mp4", Reason.DUPLICATE_ID)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "celebvhq_info.json is not JSON"),
        ("[]", 'has no "clips"'),
        ('{"clips": {}}', 'has no "clips"'),
        ('{"clips": {"w_0": {}}}', "clip 'w_0' has the ytb_id None"),
        ('{"clips": {"w_0": {"ytb_id": "v"}}}', "clip 'w_0' has the ytb_id 'v'"),
    ],
)
def test_an_ill_formed_json_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "celebvhq_info.json").write_text(text)
    with pytest.raises(LayoutError, match=message):
        read(tmp_path, "celeb")


def test_a_missing_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"celebvhq_info\.json"):
        read(tmp_path, "celeb")


def test_a_json_nested_beyond_what_can_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "celebvhq_info.json").write_text("[" * 100_000)
    with pytest.raises(LayoutError, match=r"celebvhq_info\.json is nested too deeply"):
        read(tmp_path, "celeb")
