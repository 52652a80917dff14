"""Write the report page, which stands by itself in `report/`: `python -m pipelines.report`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.lineage import with_lineage
from pipelines.mainguard import guarded
from pipelines.params import load
from pipelines.report.page import render_page
from pipelines.tracking import StageRecord

REPORT = Path("report")


def main() -> None:
    """Write the report of the run in the working folder."""
    params = load()
    with StageRecord("report", wanted=params.ray.mlflow) as run:
        render_page(Path(), params, REPORT)
        run.keep(REPORT, "report")


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main)))
