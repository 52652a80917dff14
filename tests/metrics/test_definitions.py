import re
from pathlib import Path

from dimitra.metrics.definitions import METHODS, METRICS, PAPER_METRICS

ROOT = Path(__file__).parents[2]
SAID = {"lower": "lower", "higher": "higher", "truth": "as the truth's"}


def test_the_columns_of_the_papers_tables():
    assert [metric.key for metric in PAPER_METRICS] == ["f_lmd", "m_lmd", "sync_dist", "sync_conf"]
    assert [metric.arrow for metric in PAPER_METRICS] == ["↓", "↓", "↓", "↑"]


def test_keys_are_unique():
    for items in (METRICS, METHODS):
        keys = [item.key for item in items]
        assert len(set(keys)) == len(keys)


def test_every_metric_has_its_definition_and_direction_in_the_documentation():
    """In a row of a table with a cell for the direction, or in a section that gives it."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    for metric in METRICS:
        assert len(metric.description) > 20
        assert f"`{metric.key}`" in text, metric.key
        for row in re.findall(rf"^\|[^|]*`{metric.key}`[^|]*\|.*\|$", text, re.M):
            cells = [cell.strip() for cell in row.split("|")[1:-1]]
            said = set(cells) & set(SAID.values())
            assert said <= {SAID[metric.better]}, row
            if len(cells) == 4:  # key, definition, direction, source
                assert said, row
                assert cells[3], row
