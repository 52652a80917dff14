"""What is left when a stage is interrupted, and when the disk is full: nothing half-written."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dimitra.shards import list_sidecars, read_shard, sha256_file, write_shard
from pipelines.runtime.quarantine import write_quarantine
from tests.pipelines.balances import write_balance
from tests.pipelines.runtime.test_jobs import CLIPS

ROOT = Path(__file__).parents[3]
SCRIPT = """
import json, sys
from pathlib import Path
from pipelines.runtime.jobs import Job, run, units_of
from pipelines.runtime.mainguard import guarded
from pipelines.params import RayParams
from tests.pipelines.runtime.test_jobs import CLIPS, WORKER

def main():
    faults, out = json.loads(sys.argv[1]), Path("out")
    run(Job(stage="toy", worker=WORKER, params={"faults": faults}, budget=1.0, deadline_s=60.0,
            units=units_of(CLIPS, [Path("source")]), output=out),
        RayParams(workers=1, mlflow=False))

if __name__ == "__main__":
    sys.exit(guarded(main, own_arguments=True))
"""


def prepare(folder: Path, size: int = 10) -> None:
    for number in range(3):
        samples = {c.clip_id: {"txt": b"x" * size} for c in CLIPS if c.shard == number}
        write_shard(folder / "source" / f"{number:05d}.tar", samples)
    write_quarantine(folder / "source", [])
    write_balance(folder / "source")
    (folder / "job.py").write_text(SCRIPT)


def start(folder: Path, faults: str = "{}") -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DIMITRA_CACHE_DIR": str(folder / "cache"),
    }
    environment.pop("RAY_ADDRESS", None)
    return subprocess.Popen(
        [sys.executable, "job.py", faults],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def check_whole(folder: Path, finished: bool = False) -> int:
    """No file in the output is cut short; returns the number of finished shards."""
    found = list_sidecars(folder / "out")
    for shard, sidecar in found.items():
        assert sha256_file(shard) == sidecar.sha256
    # A shard whose sidecar has not been written yet is whole too, and does not count.
    for shard in (folder / "out").glob("*.tar"):
        assert len(read_shard(shard)) == 4
    others = {path.name for path in (folder / "out").iterdir() if path.suffix == ".parquet"}
    assert others == ({"quarantine.parquet"} if finished else set())
    assert not [path.name for path in (folder / "out").iterdir() if path.name[0] == "."]
    assert not list((folder / "cache" / "partial").iterdir())
    return len(found)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_stage_leaves_whole_shards_and_goes_on_from_them(
    tmp_path: Path, how: signal.Signals
) -> None:
    """The signal goes to the whole process group, as a terminal's Ctrl-C does."""
    prepare(tmp_path)
    (tmp_path / "wait").touch()
    process = start(tmp_path, '{"toy-005": "wait"}')
    until = time.monotonic() + 100
    while not list_sidecars(tmp_path / "out") and time.monotonic() < until:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.killpg(process.pid, how)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "finished shards are kept" in output
    assert "Traceback" not in output
    assert not (tmp_path / "out" / "balance.json").exists()
    assert check_whole(tmp_path) in (1, 2)

    (tmp_path / "wait").unlink()
    again = start(tmp_path, '{"toy-005": "wait"}')
    output, _ = again.communicate(timeout=100)
    assert again.returncode == 0, output
    assert "0 quarantined" in output
    assert "0 of 3 shards from the cache" not in output
    assert check_whole(tmp_path, finished=True) == 3


HASTY = """
import os, signal, threading
import ray
from pipelines.runtime import jobs

def terminate():
    os.kill(os.getpid(), signal.SIGTERM)

def init(*arguments, before=ray.init, **options):
    # Ray has set its own handler and waits for its processes when the signal comes.
    threading.Timer(0.2, terminate).start()
    return before(*arguments, **options)

def keys_of(job):
    terminate()

if {when!r} == "ray":
    ray.init = init
else:
    jobs.keys_of = keys_of
"""


@pytest.mark.parametrize("when", ["ray", "keys"])
def test_sigterm_before_there_is_a_ray_is_an_interruption(tmp_path: Path, when: str) -> None:
    prepare(tmp_path)
    (tmp_path / "job.py").write_text(HASTY.format(when=when) + SCRIPT)
    process = start(tmp_path)
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 130, output
    assert "finished shards are kept" in output
    assert "Traceback" not in output
    last = (tmp_path / "cache" / "live" / "toy.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["state"] == "interrupted"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk_stops_the_stage_and_room_lets_it_go_on(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("no mount command")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(disk)], check=False)
    if made.returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        prepare(disk, size=500_000)  # 3 shards of 2 MB: input, cache and output need 18 MB
        process = start(disk)
        output, _ = process.communicate(timeout=100)
        assert process.returncode == 1
        assert "No space left on device" in output
        assert "Finished shards are kept: make room" in output
        assert "Traceback" not in output
        assert check_whole(disk) < 3
        assert not (disk / "out" / "balance.json").exists()

        subprocess.run([mount, "-o", "remount,size=60m", str(disk)], check=True)
        again = start(disk)
        output, _ = again.communicate(timeout=100)
        assert again.returncode == 0, output
        assert "12 clips in = 12 out" in output
        assert "0 of 3 shards from the cache" not in output
        assert check_whole(disk, finished=True) == 3
    finally:
        subprocess.run([umount, "-l", str(disk)], check=False)
