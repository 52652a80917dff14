"""Getting bytes: archives of the package index, files of a server, members of archives."""

from __future__ import annotations

import errno
import functools
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dimitra.assets import Archive, AssetError, is_safe
from dimitra.shards import sha256_file

Progress = Callable[[int, int], None]
"""Called with bytes so far and bytes expected; 0 where nobody knows how many."""

_POLL_S = 0.2
_TIMEOUT_S = 1800.0


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


@contextmanager
def watched(folder: Path, expected: int, progress: Progress | None) -> Iterator[None]:
    """Report the growth of ``folder`` while the body runs."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_POLL_S):
            if progress is not None:
                progress(min(_size(folder), expected), expected)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def pip_download(archive: Archive, folder: Path, progress: Progress | None) -> Path:
    """Download one archive with pip, its sha256 required, and return its path."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n")
    target = folder / "download"
    temporary = folder / "tmp"
    target.mkdir()
    temporary.mkdir()
    command = [
        *[sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"],
        *["--no-deps", "--no-cache-dir", "--require-hashes", "--dest", str(target)],
        *["--requirement", str(requirements)],
    ]
    if archive.sdist:
        package = archive.requirement.split("==", maxsplit=1)[0]
        command += ["--no-binary", package, "--no-build-isolation"]
    else:
        command += ["--only-binary", ":all:"]
        if archive.platform is not None:
            command += ["--platform", archive.platform]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with watched(folder, archive.size_bytes, progress):
        result = subprocess.run(  # noqa: S603 - an argument list, no shell
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    files = [path for path in target.iterdir() if path.is_file()]
    if result.returncode != 0 or len(files) != 1:
        if "No space left on device" in result.stderr:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        tail = "\n".join(result.stderr.strip().splitlines()[-6:])
        raise AssetError(
            f"pip could not download {archive.requirement} (exit {result.returncode}). Is the "
            f"package index reachable? `pip config list` shows which one is asked.\n{tail}"
        )
    if sha256_file(files[0]) != archive.sha256:
        raise AssetError(
            f"{archive.requirement}: the archive's sha256 is {sha256_file(files[0])}, "
            f"expected {archive.sha256}; nothing was kept"
        )
    return files[0]


def _members(archive: Path) -> Iterator[tuple[str, int, Callable[[], Any]]]:
    """Yield (name, size, opener) of every plain file of a zip or tar archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if not info.is_dir():
                    yield info.filename, info.file_size, functools.partial(zipped.open, info)
        return
    try:
        with tarfile.open(archive) as tarred:
            for member in tarred:
                if member.isreg():
                    yield member.name, member.size, functools.partial(tarred.extractfile, member)
    except tarfile.TarError as error:
        raise AssetError(
            f"{archive.name} is neither a whole zip nor a whole tar: {error}"
        ) from None


def extract(archive: Path, member: str, target: Path, limit_bytes: int) -> None:
    """Take one file, or one folder (``member`` ends in ``/``), out of an archive.

    Only plain files are taken; links, devices and names that leave the folder are refused.
    ``member`` may be a comma-separated list for a folder asset; the paths of one folder are
    relative to it, those of a list are kept whole.

    Args:
        archive: wheel, zip or tar.
        member: path inside the archive.
        target: file or folder to write; must not exist.
        limit_bytes: largest total size, against decompression bombs.

    Raises:
        AssetError: no such member, an unsafe name, or more than ``limit_bytes``.
    """
    prefixes = [part for part in member.split(",") if part]
    folder = any(prefix.endswith("/") for prefix in prefixes) or len(prefixes) > 1
    total = 0
    found = False
    for name, size, opener in _members(archive):
        chosen = any(name == p or (p.endswith("/") and name.startswith(p)) for p in prefixes)
        if not chosen:
            continue
        if not is_safe(name):
            raise AssetError(f"{archive.name}: member {name!r} leaves its folder; refused")
        total += size
        if total > limit_bytes:
            raise AssetError(
                f"{archive.name}: {member} holds more than the {limit_bytes} bytes recorded for it"
            )
        kept = name.removeprefix(prefixes[0]) if len(prefixes) == 1 else name
        path = target / kept if folder else target
        path.parent.mkdir(parents=True, exist_ok=True)
        with opener() as source, path.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())
        found = True
    if not found:
        raise AssetError(f"{archive.name} holds no {member}")


def download_url(url: str, target: Path, limit_bytes: int, progress: Progress | None) -> None:
    """Download a file.

    Args:
        url: of the file.
        target: file to write.
        limit_bytes: the size recorded for it; or the room there is.
        progress: called while bytes arrive.

    Raises:
        AssetError: the server cannot be reached, refuses, or sends more, or less than it announced.
    """
    try:
        with (
            urllib.request.urlopen(url, timeout=60) as response,  # noqa: S310 - https, by fetch
            target.open("wb") as sink,
        ):
            expected = int(response.headers.get("Content-Length") or 0)
            done = 0
            while block := response.read(1 << 20):
                done += len(block)
                if done > limit_bytes:
                    raise AssetError(f"{url} sends more than {limit_bytes} bytes")
                sink.write(block)
                if progress is not None:
                    progress(done, expected)
            if done < expected:
                raise AssetError(f"{url} broke off after {done} of {expected} bytes")
            sink.flush()
            os.fsync(sink.fileno())
    except urllib.error.URLError as error:
        raise AssetError(f"{url} cannot be had: {error.reason}") from error
