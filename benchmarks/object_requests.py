"""How many requests a shard job makes of an object store, counted by a server that speaks S3.

    python benchmarks/object_requests.py [--json requests.json]

The server is moto's, on this machine; its access log is what is counted. Jobs of no-op clips run
through the real runtime with `storage.root` on that server, once with 4 shards of 10 clips, once
with 4 of 20 and once with 8 of 10, so that requests a job, a shard and a clip can be told apart.
Downloads and uploads of one large object show how requests grow with its size.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks.cluster import noop  # noqa: E402
from pipelines.params import RayParams, StorageParams  # noqa: E402
from pipelines.runtime.job import Job  # noqa: E402
from pipelines.runtime.jobs import run  # noqa: E402
from pipelines.stores.storage import Storage  # noqa: E402

_SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0)
server.start()
print("port", server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_BUCKET = "counted"
_REQUEST = re.compile(r'"([A-Z]+) /' + _BUCKET + r"/?([a-z]*)")
_LARGE_MB = 40

Counts = Mapping[str, float]


class Log:
    """The server's access log, read from where it was left."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def counts(self) -> Counter[str]:
        """Requests since the last call, by method and first folder: ``GET objects``."""
        text = self._path.read_text(errors="replace")
        found = Counter(" ".join(match) for match in _REQUEST.findall(text[self._read :]))
        self._read = len(text)
        return found


@contextmanager
def counted_server(folder: Path) -> Iterator[Log]:
    """A running server with an empty bucket; the environment points to it."""
    import boto3

    path = folder / "access.log"
    with path.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **_ENVIRONMENT},
        )
        if process.stdout is None:
            raise RuntimeError("the server has no standard output")
        port = next(line.split()[1] for line in process.stdout if line.startswith("port "))
        endpoint = f"http://127.0.0.1:{port}"
        os.environ.update(_ENVIRONMENT, AWS_ENDPOINT_URL=endpoint)
        try:
            boto3.client("s3").create_bucket(Bucket=_BUCKET)
            counter = Log(path)
            counter.counts()
            yield counter
        finally:
            process.kill()
            process.wait()


def per_part(small: Counts, longer: Counts, wider: Counts) -> dict[str, dict[str, float]]:
    """Requests a job, a shard and a clip from jobs of 4x10, 4x20 and 8x10 shards by clips."""
    kinds = sorted({*small, *longer, *wider})
    a_clip = {k: (longer.get(k, 0) - small.get(k, 0)) / 40 for k in kinds}
    a_shard = {k: (wider.get(k, 0) - small.get(k, 0)) / 4 - 10 * a_clip[k] for k in kinds}
    a_job = {k: small.get(k, 0) - 4 * a_shard[k] - 40 * a_clip[k] for k in kinds}
    return {"a job": a_job, "a shard": a_shard, "a clip": a_clip}


def _jobs(folder: Path, clips: int, shards: int) -> dict[str, Job]:
    """A job without input, one that reads its shards, and one that reads raw files."""
    work = noop.units(clips, shards)
    name = f"{clips}-{shards}"
    raw = folder / "raw"
    for unit in work:
        for clip in unit.clips:
            path = raw / clip.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name} {clip.clip_id}")
    first = noop.job(f"first{name}", work, Path("first") / name)
    reads = tuple(replace(unit, reads=(first.output / f"{unit.name}.tar",)) for unit in work)
    return {
        "no input": first,
        "one shard read": noop.job(f"second{name}", reads, Path("second") / name),
        "raw files": replace(
            noop.job(f"raw{name}", work, Path("third") / name), media={"noop": "raw"}
        ),
    }


def measure(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Requests by kind of job."""
    found: dict[str, list[Counts]] = {}
    with counted_server(folder) as log:
        storage = StorageParams(root=f"s3://{_BUCKET}")
        for clips, shards in ((40, 4), (80, 4), (80, 8)):
            for kind, job in _jobs(folder, clips, shards).items():
                for again in ("", ", all from the cache"):
                    run(job, RayParams(workers=2, mlflow=False), storage)
                    found.setdefault(f"{kind}{again}", []).append(log.counts())
        large = folder / "large"
        large.write_bytes(bytes(_LARGE_MB * 1_000_000))
        store = Storage(f"s3://{_BUCKET}")
        store.put(large, "large/object")
        put = log.counts()
        store.get("large/object", folder / "back")
        get = log.counts()
    result = {kind: per_part(*counts) for kind, counts in found.items()}
    result[f"an object of {_LARGE_MB} MB"] = {"put": dict(put), "get": dict(get)}
    return result


def show(found: Mapping[str, Mapping[str, Counts]]) -> None:
    """Print the counts."""
    table = Table("job", "of", "requests")
    for kind, parts in found.items():
        for part, counts in parts.items():
            listed = ", ".join(f"{name} {count:g}" for name, count in counts.items() if count)
            table.add_row(kind, part, listed or "none")
    Console(highlight=False, width=110).print(table)


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the counts here too")
    options = parser.parse_args()
    target = options.json.resolve() if options.json is not None else None
    with tempfile.TemporaryDirectory(prefix="dimitra-requests-") as name:
        os.chdir(name)
        os.environ["DIMITRA_CACHE_DIR"] = str(Path(name) / "cache")
        found = measure(Path(name))
        os.chdir(ROOT)
    show(found)
    if target is not None:
        target.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
