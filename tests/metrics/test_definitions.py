from dimitra.metrics.definitions import METHODS, METRICS, PAPER_METRICS


def test_the_columns_of_the_papers_tables():
    assert [metric.key for metric in PAPER_METRICS] == ["f_lmd", "m_lmd", "sync_dist", "sync_conf"]
    assert [metric.arrow for metric in PAPER_METRICS] == ["↓", "↓", "↓", "↑"]


def test_keys_are_unique():
    for items in (METRICS, METHODS):
        keys = [item.key for item in items]
        assert len(set(keys)) == len(keys)
