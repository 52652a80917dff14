"""What holds for all tests, and how the test run ends."""

from __future__ import annotations

import atexit
import os
import sys

import pytest
from hypothesis import settings

settings.register_profile("house", deadline=None)  # a busy machine makes no test wrong
settings.load_profile("house")
os.environ.setdefault("DIMITRA_MLFLOW", "0")  # toy jobs are no entry in a person's records

_STATUS = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the run's result."""
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without the interpreter's teardown where Ray was used in this process.

    Ray's native threads outlive `ray.shutdown()`; once in a few runs one of them crashed the
    process after the summary had been printed, which turned a passed run into exit code 139.
    """
    if "ray" not in sys.modules or _STATUS not in config.stash:
        return
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(config.stash[_STATUS])
