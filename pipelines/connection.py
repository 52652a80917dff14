"""A driver's connection to Ray: one of its own, or a cluster's."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipelines.errors import JobError
from pipelines.params import RayParams
from pipelines.staging import copy_code

LOCAL = "local"


def address_of(params: RayParams) -> str:
    """Where Ray is: ``ray.address``, else ``RAY_ADDRESS``, else ``local``: one of our own."""
    return params.address or os.environ.get("RAY_ADDRESS") or LOCAL


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
    if not shared:
        code = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dimitra-code-")))
        copy_code([module], code)
        options["runtime_env"] = {"working_dir": str(code)}
    try:
        context = ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR, **options
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise JobError(
            f"{stage}: no Ray at ray.address / RAY_ADDRESS {address!r} (need host:port, auto, or "
            f"none for a Ray of its own): {error}"
        ) from None
    stack.callback(ray.shutdown)
    _heed_sigterm(stack)
    url = context.dashboard_url
    return f"http://{url}" if url else None


def _heed_sigterm(stack: ExitStack) -> None:
    """Treat SIGTERM as Ctrl-C: batch systems and containers ask so. Ray's own way cleans less."""

    def interrupt(number: int, frame: object) -> None:  # noqa: ARG001 - by signal.signal
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGTERM, interrupt)
        stack.callback(signal.signal, signal.SIGTERM, before)
