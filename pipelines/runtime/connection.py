"""A driver's connection to Ray: one of its own, or a cluster's."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines.errors import JobError
from pipelines.params import RayParams
from pipelines.runtime.staging import copy_code

LOCAL = "local"
_KNOCK_S = 5.0
"""Longest wait for a cluster's port; Ray itself waits for one that is not there without end."""


def address_of(params: RayParams) -> str:
    """Where Ray is: ``ray.address``, else ``RAY_ADDRESS``, else ``local``: one of our own."""
    return params.address or os.environ.get("RAY_ADDRESS") or LOCAL


def _knock(stage: str, address: str) -> None:
    """Find out whether anybody listens at ``host:port``; names such as ``auto`` are Ray's to find.

    Raises:
        JobError: nobody does.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:  # Ray says what is wrong with it
        return
    if host is None or port is None:
        return
    try:
        socket.create_connection((host, port), timeout=_KNOCK_S).close()
    except OSError as error:
        raise JobError(
            f"{stage}: nobody listens at ray.address / RAY_ADDRESS {address!r}: {error}. Start the "
            "cluster (`ray start --head`), correct the address, or leave both unset for a Ray of "
            "the stage's own"
        ) from None


def connect(
    stack: ExitStack, stage: str, params: RayParams, cpus: int, module: str, *, shared: bool
) -> str | None:
    """Start or join Ray until the stack is left.

    Args:
        stack: ends the connection.
        stage: for messages.
        params: where Ray is.
        cpus: of a Ray of our own.
        module: whose import closure the workers run.
        shared: workers see this checkout; else the code is sent to them.

    Returns:
        The address of Ray's dashboard, where it has one.

    Raises:
        JobError: there is no Ray at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    address = address_of(params)
    options: dict[str, Any] = {}
    if address == LOCAL:
        options = {
            "num_cpus": cpus,
            "include_dashboard": params.dashboard,
            "dashboard_host": "127.0.0.1",
            "object_store_memory": params.object_store_mb * 1_000_000,
        }
    else:
        _knock(stage, address)
    if not shared:
        code = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dimitra-code-")))
        copy_code([module], code)
        options["runtime_env"] = {"working_dir": str(code)}
    stack.callback(ray.shutdown)  # before it starts: an interruption must leave no half of it
    try:
        context = ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR, **options
        )
        _heed_sigterm()  # again: Ray has put a handler of its own in its place
    except SystemExit as error:
        if error.code == signal.SIGTERM:  # that handler's, for a signal while Ray was starting
            raise KeyboardInterrupt from None
        raise
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise JobError(
            f"{stage}: no Ray at ray.address / RAY_ADDRESS {address!r} (need host:port, auto, or "
            f"none for a Ray of its own): {error}"
        ) from None
    url = context.dashboard_url
    return f"http://{url}" if url else None


def _interrupt(number: int, frame: object) -> None:  # noqa: ARG001 - by signal.signal
    raise KeyboardInterrupt


def _heed_sigterm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C: batch systems and containers ask so. Ray's own way cleans less."""
    before = signal.getsignal(signal.SIGTERM)
    _heed_sigterm()
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
