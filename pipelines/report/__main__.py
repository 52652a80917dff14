"""Write the report page, which stands by itself in `report/`: `python -m pipelines.report`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.lineage import with_lineage
from pipelines.mainguard import guarded
from pipelines.params import load
from pipelines.report.page import render_page

REPORT = Path("report")


def main() -> None:
    """Write the report of the run in the working folder."""
    render_page(Path(), load(), REPORT)


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main)))
