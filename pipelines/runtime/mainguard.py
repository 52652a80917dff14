"""How a stage ends: a failure that a person can mend is one clear message and exit code 1.

    if __name__ == "__main__":
        sys.exit(guarded(main))

A stage takes what it needs from ``params.yaml``, and no arguments: `--help` tells what it is, and
any other argument ends in exit code 2, both before anything is touched.

Whatever else fails keeps its traceback: it is a fault of the program.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any

from dimitra.assets import AssetError
from pipelines.errors import StageError
from pipelines.params import ParamsError

__all__ = ["EXPECTED", "INTERRUPTED", "StageError", "guarded"]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

EXPECTED = (AssetError, OSError, ParamsError, StageError)


def _take_no_arguments(script: Mapping[str, Any]) -> None:
    """Answer `--help` with a script's docstring, and refuse arguments.

    Args:
        script: names of its module.

    Raises:
        SystemExit: 0 after `--help`, 2 for any other argument.
    """
    spec = script.get("__spec__")
    argparse.ArgumentParser(
        prog=None if spec is None else f"python -m {spec.name.removesuffix('.__main__')}",
        description=script.get("__doc__"),
        epilog="It takes no arguments: what it does is set in params.yaml.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    ).parse_args()


def guarded(
    main: Callable[[], None], *expected: type[Exception], own_arguments: bool = False
) -> int:
    """Run a stage; returns its exit code.

    Args:
        main: the stage. Where it is that of the running script, the command line is looked at.
        expected: further errors whose message says all that a person needs.
        own_arguments: ``main`` reads the command line itself.

    Raises:
        SystemExit: `--help`, or an argument that nobody reads.
    """
    if main.__module__ == "__main__" and not own_arguments:
        _take_no_arguments(vars(sys.modules["__main__"]))
    caught: tuple[type[Exception], ...] = (*EXPECTED, *expected)
    try:
        main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; finished shards are kept, the next run goes on from them\n")
        return INTERRUPTED
    except caught as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0
