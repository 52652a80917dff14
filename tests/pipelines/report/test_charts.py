import re

import pytest

from pipelines.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    column_chart,
    line_chart,
    nice_ticks,
)


def test_ticks_are_round():
    assert nice_ticks(0.0, 600.0) == [0.0, 200.0, 400.0, 600.0]
    assert nice_ticks(0.13, 0.48) == pytest.approx([0.2, 0.3, 0.4])
    assert nice_ticks(5.0, 5.0) == [5.0]


def test_ends_of_the_line_are_the_corners():
    chart = line_chart("a", "step", [0, 1, 2], {"loss": [0.0, 5.0, 10.0]})
    points = [tuple(map(float, p)) for p in re.findall(r"([\d.]+) ([\d.]+)", chart.lines[0].path)]
    assert points == [
        (LEFT, HEIGHT - BOTTOM),
        ((LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2),
        (WIDTH - RIGHT, TOP),
    ]
    assert chart.lines[0].last == "10"
    assert not chart.log


def test_wide_ranges_are_logarithmic_and_decades_are_even():
    chart = line_chart("a", "step", [0, 1, 2], {"loss": [1.0, 10.0, 100.0]})
    assert chart.log
    assert [tick.label for tick in chart.y_ticks] == ["1", "10", "100"]
    ys = [tick.at for tick in chart.y_ticks]
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2])


def test_long_curves_are_thinned_and_keep_their_end():
    chart = line_chart("a", "step", range(10_000), {"loss": [1.0 + i for i in range(10_000)]})
    assert chart.lines[0].path.count("L") < 500
    assert (chart.lines[0].x, chart.lines[0].y) == (WIDTH - RIGHT, TOP)


def test_gaps_and_not_a_number_are_left_out():
    chart = line_chart(
        "a", "step", [0, 1, 2], {"loss": [1.0, None, float("nan")], "none": [None] * 3}
    )
    assert [line.name for line in chart.lines] == ["loss"]
    with pytest.raises(ValueError, match="no finite value"):
        line_chart("a", "step", [0], {"loss": [None]})


def test_bins_of_a_histogram_are_round_and_hold_their_lower_edge():
    counted = {"train": [4.0, 4.2, 4.99, 5.0], "test": [4.5, 9.0]}
    chart = column_chart("a", "seconds", counted)
    assert [c.label for c in chart.columns] == [
        "4 to 4.5 seconds, train: 2",
        "4.5 to 5 seconds, train: 1",
        "4.5 to 5 seconds, test: 1",
        "5 to 5.5 seconds, train: 1",
        "9 to 9.5 seconds, test: 1",
    ]
    per_clip = (HEIGHT - BOTTOM - TOP) / 2
    assert [c.height for c in chart.columns] == [2 * per_clip, *[per_clip] * 4]
    assert chart.columns[2].y == pytest.approx(TOP)  # on top of what lies below it
    assert chart.columns[0].x == LEFT + 1
    assert chart.columns[-1].x + chart.columns[-1].width == pytest.approx(WIDTH - RIGHT - 1)


def test_a_histogram_of_one_value_and_of_none():
    chart = column_chart("a", "seconds", {"train": [3.0]})
    assert [c.label for c in chart.columns] == ["3 to 3.1 seconds, train: 1"]
    with pytest.raises(ValueError, match="no value to count"):
        column_chart("a", "seconds", {"train": []})
