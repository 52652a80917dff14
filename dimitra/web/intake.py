"""Bodies of requests, taken under a limit: JSON into memory, files into a folder."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect, Request

from dimitra.web.refusal import Refusal

CHUNK_TIMEOUT_S = 30.0
"""A sender who is silent for longer has gone, or holds the connection on purpose."""
_UNSAFE = re.compile(r"[^\w.() -]+")
_MAX_NAME = 80
_MAX_BYTES = 200
"""A file system takes 255, and letters may need four each."""


def new_token() -> str:
    """A name that cannot be guessed: 192 random bits."""
    return secrets.token_urlsafe(24)


def safe_name(name: str, default: str) -> str:
    """A file name that is only a name: no folder, no control or shell characters, not hidden."""
    last = re.split(r"[/\\]", name)[-1]
    clean = _UNSAFE.sub("_", last).strip(" .")
    stem, dot, suffix = clean.rpartition(".")
    if dot and len(suffix) < 10:
        clean = f"{_cut(stem, _MAX_NAME - 10, _MAX_BYTES - 40)}.{suffix}" if stem else ""
    return _cut(clean, _MAX_NAME, _MAX_BYTES) or default


def _cut(name: str, letters: int, size: int) -> str:
    """The start of a name that has at most so many letters and, in UTF-8, so many bytes."""
    return name[:letters].encode()[:size].decode(errors="ignore").rstrip(" .")


async def read_json(request: Request, limit: int) -> Any:
    """The body as JSON.

    Raises:
        Refusal: another type, larger than ``limit`` bytes, or no JSON.
    """
    _check_type(request, "application/json")
    body = bytearray()
    async for chunk in _chunks(request, limit):
        body += chunk
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise Refusal(400, "the request is no JSON") from None


async def read_file(request: Request, place: Path, limit: int) -> int:
    """Stream the body into a new file; its size. Nothing is left of one that is refused.

    Raises:
        Refusal: another type, no bytes, or more than ``limit``.
    """
    _check_type(request, "application/octet-stream")
    size = 0
    try:
        with place.open("xb") as file:
            async for chunk in _chunks(request, limit):
                size += len(chunk)
                await asyncio.to_thread(file.write, chunk)
        if size == 0:
            raise Refusal(400, "the file has no bytes; choose another one")
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    return size


def _check_type(request: Request, wanted: str) -> None:
    # Neither type can be sent by a form of another page.
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != wanted:
        raise Refusal(415, f"the request must be {wanted}")


async def _chunks(request: Request, limit: int) -> Any:
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise Refusal(413, _too_large(int(declared), limit))
    stream = request.stream()
    size = 0
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream), CHUNK_TIMEOUT_S)
        except StopAsyncIteration:
            return
        except (TimeoutError, ClientDisconnect):
            raise Refusal(408, f"nothing came for {CHUNK_TIMEOUT_S:g} s; send it again") from None
        size += len(chunk)
        if size > limit:
            raise Refusal(413, _too_large(size, limit))
        yield chunk


def _too_large(size: int, limit: int) -> str:
    return f"the file has {size} bytes or more, the limit is {limit}; make it smaller"
