"""What a fault of the machine says, from a worker and from the driver."""

import copy
import errno
import os
from pathlib import Path

import pytest

from pipelines.runtime.machine import MACHINE_FAULTS, MachineError, faults_named


@pytest.mark.parametrize("number", sorted(MACHINE_FAULTS))
def test_a_fault_names_machine_folder_room_and_what_to_do(number: int, tmp_path: Path) -> None:
    with pytest.raises(MachineError) as info, faults_named("crop", tmp_path / "not" / "yet"):
        raise OSError(number, os.strerror(number))
    text = str(info.value)
    assert info.value.errno == number
    assert f"crop: {os.strerror(number)} on {os.uname().nodename}" in text
    assert f"MB free in {tmp_path}. Finished shards are kept: " in text
    assert text.endswith("then run the same command again")
    again = copy.copy(info.value)  # by the protocol that takes it from a worker to the driver
    assert isinstance(again, MachineError)
    assert str(again) == text
    with pytest.raises(MachineError) as outer, faults_named("outer", Path("/")):
        raise again
    assert str(outer.value) == text


def test_the_file_of_a_fault_goes_before_the_folder(tmp_path: Path) -> None:
    with pytest.raises(MachineError) as info, faults_named("crop", Path("/elsewhere")):
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path / "a.tar"))
    assert f"at {tmp_path / 'a.tar'}, " in str(info.value)
    assert f"MB free in {tmp_path}." in str(info.value)


def test_other_errors_pass() -> None:
    with pytest.raises(FileNotFoundError), faults_named("crop", Path("/")):
        Path("/no/such/file").read_bytes()
