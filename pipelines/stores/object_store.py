"""Objects by name in a remote store (S3 and what pyarrow speaks besides), whole or not at all.

What pyarrow does and does not promise was measured (docs/storage.md): a stream that is closed, or
merely forgotten, after an exception *commits* what it holds; one with ``background_writes=False``
commits even after a part failed to upload. Hence the shape of ``upload`` below.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

from pipelines.errors import StageError

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

BLOCK_BYTES = 16 << 20
"""Most that is asked of the store at once, and kept in memory of one object."""
_REQUEST_ATTEMPTS = 3
"""Attempts of the AWS library at one request (one part of an upload, one range of a download)."""
_TRANSIENT = re.compile(
    r"curlCode|NETWORK_CONNECTION|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTLING"
    r"|REQUEST_TIMEOUT|REQUEST_TIME_TOO_SKEWED|HTTP status (429|5\d\d)|timed? ?out"
    r"|truncated object",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"ACCESS_DENIED|INVALID_ACCESS_KEY|INVALID_CLIENT_TOKEN|SIGNATURE_DOES_NOT_MATCH"
    r"|MISSING_AUTHENTICATION|INVALID_SIGNATURE|EXPIRED|[Cc]redentials|HTTP status 40[13]"
)


class StorageError(StageError):
    """The storage cannot be reached, or refuses."""


class DamagedError(StorageError):
    """Stored bytes differ from the sha256 that was asked for."""


@dataclass(frozen=True)
class Entry:
    """What a listing says of one file or object.

    Attributes:
        name: relative to the root, forward slashes.
        size_bytes: its size.
        modified_s: when it was written (locally: used last), seconds since 1970.
    """

    name: str
    size_bytes: int
    modified_s: float


@dataclass(frozen=True)
class Patience:
    """How long a remote store is waited for before it is an error.

    Attributes:
        connect_s: longest wait for a connection.
        silence_s: longest time in which a connection may carry nothing.
        delays_s: waits between attempts at a whole operation; one attempt more than delays.
    """

    connect_s: float = 5.0
    silence_s: float = 20.0
    delays_s: tuple[float, ...] = (0.5, 2.0, 8.0)


PATIENCE = Patience()


@functools.lru_cache(maxsize=16)
def _open(
    root: str, patience: Patience, endpoint: str | None, region: str | None, process: int
) -> tuple[Any, str]:
    """A root's pyarrow filesystem and the path below it; once a process (S3 survives no fork)."""
    del process
    from pyarrow import fs

    parts = urlsplit(root)
    if parts.scheme != "s3":
        filesystem, path = fs.FileSystem.from_uri(root)
        return filesystem, path.rstrip("/")
    filesystem = fs.S3FileSystem(
        endpoint_override=endpoint,
        region=region,
        connect_timeout=patience.connect_s,
        request_timeout=patience.silence_s,
        background_writes=True,
        allow_delayed_open=True,  # one request for a small object in place of three
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_REQUEST_ATTEMPTS),
    )
    return filesystem, f"{parts.netloc}{parts.path}".rstrip("/")


def _filesystem(root: str, patience: Patience) -> tuple[Any, str]:
    """As ``_open``, at the endpoint that the environment names (pyarrow itself does not look)."""
    environ = os.environ
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or None
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None
    if endpoint and not region:
        region = "us-east-1"  # else the AWS library asks EC2's metadata service for one
    return _open(root, patience, endpoint, region, os.getpid())


def _advice(message: str) -> str:
    """What to do about an error of the store."""
    if "NO_SUCH_BUCKET" in message:
        return "make the bucket, or correct storage.root in params.yaml"
    if _DENIED.search(message):
        return "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what the bucket's policy allows"
    if _TRANSIENT.search(message):
        return (
            "check the network, AWS_ENDPOINT_URL and AWS_DEFAULT_REGION, then run again: "
            "what was finished is kept"
        )
    return "see docs/storage.md"


def _send(filesystem: Any, path: str, pieces: Iterable[Any]) -> None:
    """Upload; flushed after every piece, so that one piece at a time is in memory.

    The stream is closed even after an error, which commits what it holds unless a part failed:
    left open it would do so later, when it is collected, and nobody would look.
    """
    stream = filesystem.open_output_stream(path)
    try:
        for piece in pieces:
            stream.write(piece)
            stream.flush()
    except BaseException:
        with suppress(OSError):
            stream.close()
        raise
    stream.close()


def _size(filesystem: Any, path: str) -> int:
    """Size of an object by one HEAD request (``get_file_info`` adds a LIST where it is absent).

    Raises:
        FileNotFoundError: there is none.
    """
    with filesystem.open_input_file(path) as file:
        size: int = file.size()
    return size


@dataclass(frozen=True)
class ObjectStore:
    """Objects under ``root``, a URI; can be pickled, and opens its connection where it is used.

    Every method waits and tries again where an error may pass (connection lost, 5xx, time-outs),
    as long as ``patience`` says. A missing object or a refusal is told at once.
    """

    root: str
    patience: Patience = PATIENCE

    def _do(self, what: str, name: str, action: Callable[[Any, str], Result]) -> Result:
        """Call ``action(filesystem, path)``, again after errors that may pass.

        Raises:
            FileNotFoundError: there is no such object.
            StorageError: the store cannot be reached, or refuses.
            OSError: of this machine, as it came (it has an ``errno``; the store's have none).
        """
        uri = f"{self.root}/{name}" if name else self.root
        try:
            filesystem, base = _filesystem(self.root, self.patience)
        except (ValueError, OSError) as error:
            raise StorageError(f"{self.root} cannot be opened: {error}") from error
        path = f"{base}/{name}" if name else base
        for attempt, delay_s in enumerate((*self.patience.delays_s, None), start=1):
            try:
                return action(filesystem, path)
            except FileNotFoundError:
                raise FileNotFoundError(f"{uri} does not exist") from None
            except OSError as error:
                if error.errno is not None:
                    raise
                message = str(error)
                if delay_s is None or not _TRANSIENT.search(message):
                    tries = f" ({attempt} attempts)" if attempt > 1 else ""
                    advice = _advice(message)
                    raise StorageError(
                        f"{what} {uri} failed{tries}: {message}. What to do: {advice}"
                    ) from error
                logger.warning("%s %s: %s; again in %g s", what, uri, message, delay_s)
                time.sleep(delay_s)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def size(self, name: str) -> int | None:
        """Bytes of an object; None where there is none."""
        try:
            return self._do("looking for", name, _size)
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        """All bytes of an object."""

        def action(filesystem: Any, path: str) -> bytes:
            with filesystem.open_input_file(path) as file:
                data: bytes = file.read()
            return data

        return self._do("reading", name, action)

    def upload(self, name: str, pieces: Callable[[], Iterable[Any]], size_bytes: int) -> None:
        """Make an object of ``size_bytes`` bytes out of pieces; nothing is seen before the end.

        The upload runs in a thread of its own: Ctrl-C is raised in the main thread only, so it
        cannot fall between two pieces and leave a stream that commits half. After an error of the
        store pyarrow commits nothing; after any other between two pieces (no memory, an
        unreadable source) it does, and what came out too short is removed.

        Args:
            name: of the object.
            pieces: gives the pieces anew for every attempt.
            size_bytes: of all of them.
        """

        def action(filesystem: Any, path: str) -> None:
            with ThreadPoolExecutor(max_workers=1) as thread:
                sending = thread.submit(_send, filesystem, path, pieces())
                failure = sending.exception()
            if isinstance(failure, OSError) and failure.errno is None:
                raise failure
            with suppress(FileNotFoundError):
                if _size(filesystem, path) != size_bytes:
                    filesystem.delete_file(path)
                elif failure is None:
                    return
            raise failure or OSError("the store kept a truncated object; it was removed")

        self._do("writing", name, action)

    def download(self, name: str, start: Callable[[], BinaryIO]) -> str:
        """Write an object's bytes into ``start()``, called anew for every attempt.

        Returns:
            Their sha256.
        """

        def action(filesystem: Any, path: str) -> str:
            sink = start()
            digest = hashlib.sha256()
            with filesystem.open_input_file(path) as file:
                size, done = file.size(), 0
                while done < size:
                    block = file.read(BLOCK_BYTES)
                    if not block:
                        raise OSError(f"truncated object: {done} of {size} bytes came")
                    digest.update(block)
                    sink.write(block)
                    done += len(block)
            return digest.hexdigest()

        return self._do("fetching", name, action)

    def remove(self, name: str) -> None:
        """Remove an object; absent is fine."""
        try:
            self._do("removing", name, lambda filesystem, path: filesystem.delete_file(path))
        except FileNotFoundError:
            return

    def list(self, prefix: str) -> Iterator[Entry]:
        """Objects below a folder, sorted by name; one folder's listing in memory at a time."""
        from pyarrow import fs

        def action(filesystem: Any, path: str) -> Any:
            return filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))

        def order(info: Any) -> str:
            return str(info.base_name) + ("/" if info.type == fs.FileType.Directory else "")

        for info in sorted(self._do("listing", prefix, action), key=order):
            name = f"{prefix}/{info.base_name}" if prefix else str(info.base_name)
            if info.type == fs.FileType.Directory:
                yield from self.list(name)
            else:
                yield Entry(name, int(info.size), info.mtime_ns / 1e9)
