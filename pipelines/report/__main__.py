"""Write the report page, which stands by itself in `report/`: `python -m pipelines.report`."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.lineage.record import with_lineage
from pipelines.params import load
from pipelines.report.page import render_page
from pipelines.runtime.mainguard import guarded
from pipelines.tracking.stage_record import StageRecord

REPORT = Path("report")


def main() -> None:
    """Write the report of the run in the working folder."""
    params = load()
    with StageRecord("report", wanted=params.ray.mlflow) as run:
        render_page(Path(), params, REPORT)
        run.keep(REPORT, "report")


if __name__ == "__main__":
    sys.exit(guarded(with_lineage(main)))
