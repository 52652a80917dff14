"""Scripts are run by Bash with a stand-in for Python that writes down what it is called with."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from dimitra.evaluation.inputs.commands import script

PYTHON = """#!/usr/bin/env bash
printf '%q ' "$@" >> "$OUT/calls"; echo >> "$OUT/calls"
case " $* " in *" bad"*|*/bad.*) exit 3;; esac
while [ $# -gt 0 ]; do
  case "$1" in
    --output_path) : > "$2";;
    --result_dir) mkdir -p "$2"; : > "$2/2024_01_01_00.00.00.mp4";;
    --output_name) mkdir -p output_video; : > "output_video/$2.mp4";;
  esac
  shift
done
"""


@pytest.mark.parametrize("method", ["styletalk", "sadtalker", "dreamtalk"])
def test_every_clip_gets_a_video_and_a_bad_one_ends_no_other(tmp_path: Path, method) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text(PYTHON)
    (tmp_path / "bin/python").chmod(0o755)
    split, out = tmp_path / "split", tmp_path / "out"
    split.mkdir()
    (split / "commands.sh").write_text(script(method, ["bad", "one", "two"], "clip"))
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SPLIT": str(split),
        "OUT": str(out),
    }
    command = ["bash", str(split / "commands.sh")]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.stderr == "bad: failed\n"
    assert sorted(path.name for path in out.glob("*.mp4")) == ["one.mp4", "two.mp4"]
    calls = [shlex.split(line) for line in (out / "calls").read_text().splitlines()]
    assert len(calls) == 3
    files = [value for value in calls[1] if value.startswith(str(split))]
    assert f"{split}/wav/one.wav" in files
    assert f"{split}/first_frame/one.png" in files
    assert (f"{split}/{method}/pose/one.mat" in files) == (method != "sadtalker")
    assert ("--ref_pose" in calls[1]) == (method == "sadtalker")
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert len((out / "calls").read_text().splitlines()) == 4  # the bad one, once more


def test_sadtalker_makes_its_own_pose_of_the_first_frame() -> None:
    assert "--ref_pose" not in script("sadtalker", ["one"], "first_frame")


def test_an_id_is_a_word_of_the_script_and_no_more() -> None:
    with pytest.raises(ValueError, match="clip id"):
        script("dreamtalk", ["a; rm -r x"], "clip")
