"""How a stage ends: a failure that a person can mend is one clear message and exit code 1.

    if __name__ == "__main__":
        sys.exit(guarded(main))

Anything else keeps its traceback: it is a fault of the program.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from dimitra.assets import AssetError
from pipelines.closure import ClosureError
from pipelines.jobs import JobError
from pipelines.params import ParamsError
from pipelines.quarantine import BalanceError, BudgetError
from pipelines.workers import ShardError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class StageError(RuntimeError):
    """A stage's input breaks a rule; the message names it and what to do."""


EXPECTED = (
    AssetError,
    BalanceError,
    BudgetError,
    ClosureError,
    JobError,
    OSError,
    ParamsError,
    ShardError,
    StageError,
)


def guarded(main: Callable[[], None], *expected: type[Exception]) -> int:
    """Run a stage; returns its exit code.

    Args:
        main: the stage.
        expected: further errors whose message says all that a person needs.
    """
    try:
        main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; finished shards are kept, the next run goes on from them\n")
        return INTERRUPTED
    except (*EXPECTED, *expected) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0
