import shutil
import subprocess
from pathlib import Path

import pytest

from dimitra.datasets.sealing import SUMS, SealError, seal, verify
from dimitra.datasets.split import SplitError, read_lists

SPLITS = Path(__file__).parents[2] / "splits"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "toy" / "v1"
    made.mkdir(parents=True)
    (made / "train.txt").write_text("a\nb\n")
    (made / "test.txt").write_text("c\n")
    return made


def test_sha256sum_reads_a_seal(folder: Path) -> None:
    assert not verify(folder)
    assert not read_lists(folder.parent.parent, "toy/v1").sealed
    seal(folder)
    assert verify(folder)
    assert read_lists(folder.parent.parent, "toy/v1").sealed
    assert shutil.which("sha256sum")
    done = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=folder, capture_output=True)
    assert done.returncode == 0


def test_one_byte_more_is_found(folder: Path) -> None:
    seal(folder)
    (folder / "test.txt").write_text("c\n\n")
    with pytest.raises(SplitError, match=r"split toy/v1: .*test\.txt has sha256 .* seal toy/v1"):
        read_lists(folder.parent.parent, "toy/v1")


def test_lists_that_come_and_go(folder: Path) -> None:
    seal(folder)
    (folder / "clips.txt").write_text("made later by hand\n")
    assert verify(folder)
    (folder / SUMS).write_text("".join((folder / SUMS).read_text().splitlines(keepends=True)[:1]))
    with pytest.raises(SealError, match=r"does not name train\.txt"):
        verify(folder)
    seal(folder)
    (folder / "clips.txt").unlink()
    with pytest.raises(SealError, match=r"clips\.txt is gone"):
        verify(folder)
    (folder / SUMS).write_text("nonsense\n")
    with pytest.raises(SealError, match=r"line 1: 'nonsense' is not"):
        verify(folder)
    with pytest.raises(SealError, match="there is nothing to seal"):
        seal(folder.parent)


@pytest.mark.parametrize("version", ["chorus/v1", "hdtf/v1", "lecture/v1", "voxceleb2/v1"])
def test_the_committed_lists_are_sealed(version: str) -> None:
    assert verify(SPLITS / version)
