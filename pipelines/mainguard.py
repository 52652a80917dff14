"""How a stage ends: a failure that a person can mend is one clear message and exit code 1.

    if __name__ == "__main__":
        sys.exit(guarded(main))

Anything else keeps its traceback: it is a fault of the program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from dimitra.assets import AssetError
from pipelines.errors import StageError
from pipelines.params import ParamsError

__all__ = ["EXPECTED", "INTERRUPTED", "StageError", "guarded"]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

EXPECTED = (AssetError, OSError, ParamsError, StageError)


def guarded(main: Callable[[], None], *expected: type[Exception]) -> int:
    """Run a stage; returns its exit code.

    Args:
        main: the stage.
        expected: further errors whose message says all that a person needs.
    """
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
