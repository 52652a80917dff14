"""The layout of the graph, against what any drawing of it must hold."""

from __future__ import annotations

import itertools
import re

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report.graph import NODE_HEIGHT, NODE_WIDTH, CycleError, lay_out, layers_of, reduced

PAIRS = list(itertools.combinations("abcdefgh", 2))
Edges = list[tuple[str, str]]


@given(st.lists(st.sampled_from(PAIRS), unique=True))
def test_left_out_edges_are_those_of_the_transitive_reduction(edges: Edges) -> None:
    graph = networkx.DiGraph(edges)
    assert reduced(edges) == sorted(networkx.transitive_reduction(graph).edges)


@given(st.lists(st.sampled_from(PAIRS), unique=True))
def test_nodes_do_not_overlap_and_edges_go_down(edges: Edges) -> None:
    layout = lay_out(list("abcdefgh"), edges)
    assert layout == lay_out(list("hgfedcba"), edges[::-1])
    places = {node.name: (node.x, node.y) for node in layout.nodes}
    assert set(places) == set("abcdefgh")
    for (x, y), (other_x, other_y) in itertools.combinations(places.values(), 2):
        assert abs(x - other_x) >= NODE_WIDTH or abs(y - other_y) >= NODE_HEIGHT
    for x, y in places.values():
        assert NODE_WIDTH / 2 <= x <= layout.width - NODE_WIDTH / 2
        assert NODE_HEIGHT / 2 <= y <= layout.height - NODE_HEIGHT / 2
    for edge in layout.edges:
        numbers = [float(one) for one in re.findall(r"-?[\d.]+", edge.path)]
        start, end = places[edge.start], places[edge.end]
        assert numbers[:2] == pytest.approx([start[0], start[1] + NODE_HEIGHT / 2], rel=1e-4)
        assert numbers[-2:] == pytest.approx([end[0], end[1] - NODE_HEIGHT / 2], rel=1e-4)
        assert start[1] < end[1]


def test_layers() -> None:
    edges = [("a", "b"), ("b", "c"), ("a", "c"), ("s", "c")]
    assert layers_of(list("abcs"), edges) == {"a": 0, "b": 1, "c": 2, "s": 1}


def test_a_cycle_is_named() -> None:
    with pytest.raises(CycleError, match="follow themselves: b, c"):
        lay_out(list("abc"), [("a", "b"), ("b", "c"), ("c", "b")])
