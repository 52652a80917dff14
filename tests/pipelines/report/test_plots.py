import csv
import io

from dimitra.metrics.definitions import METHODS, PAPER_METRICS
from pipelines.report.plots import plots_csv


def test_methods_with_a_value_have_a_row() -> None:
    empty = {metric.key: {"value": None} for metric in PAPER_METRICS}
    table = {method.key: empty for method in METHODS}
    table["dimitra_hp"] = {**empty, "f_lmd": {"value": 1.5}, "sync_conf": {"value": 0.25}}
    rows = list(csv.DictReader(io.StringIO(plots_csv({"chorus": table}))))
    assert rows == [
        {
            "method": "chorus: Dimitra (HP)",
            "f_lmd": "1.5",
            "m_lmd": "",
            "sync_dist": "",
            "sync_conf": "0.25",
        }
    ]
