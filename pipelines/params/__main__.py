"""Check a parameter file before anything runs: ``python -m pipelines.params [FILE]``."""

from __future__ import annotations

import sys

from pipelines.params import ParamsError, load


def main() -> int:
    """Read it; returns the exit code."""
    try:
        load(*sys.argv[1:2])
    except (OSError, ParamsError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
