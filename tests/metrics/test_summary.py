import itertools

import pytest

from dimitra.metrics.summary import ClipValue, Summary, rounded, summarise


def test_mean_n_and_dropped():
    values = [ClipValue(1.0), ClipValue(2.0), ClipValue(None, "missed", dropped=True)]
    assert summarise(values) == Summary(1.5, 2, 1, None)


def test_no_value_has_the_most_frequent_reason():
    values = [ClipValue(None, "b", dropped=True), ClipValue(None, "a"), ClipValue(None, "a")]
    assert summarise(values) == Summary(None, 0, 1, "a")
    assert summarise([]) == Summary(None, 0, 0, "no test clip")


def test_the_order_of_clips_does_not_matter():
    values = [ClipValue(x) for x in (0.1, 1e16, -1e16, 0.3)]
    results = {summarise(order) for order in itertools.permutations(values)}
    assert results == {Summary(0.1, 4, 0, None)}


def test_rounding():
    assert rounded(1.23456789) == 1.2346
    assert rounded(None) is None
    assert str(rounded(-0.00001)) == "0.0"


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="reason"):
        ClipValue(None)
    with pytest.raises(ValueError, match="finite"):
        ClipValue(float("nan"))
