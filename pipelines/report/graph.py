"""Layout of a directed graph without cycles, drawn downwards in layers.

Layers are those of the longest path from a source (Sugiyama, Tagawa and Toda 1981, in the simplest
form): an edge over several layers passes through a place in each one, and places are ordered by
the mean place of what lies above them. Edges that follow from others are left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NODE_WIDTH, NODE_HEIGHT = 124, 32
LAYER = 62
COLUMN = 140
_PASSING = 36
"""Width of a place that an edge passes through."""
MARGIN = 8
_SWEEPS = 4


class CycleError(ValueError):
    """The graph has a cycle; the message names its nodes."""


@dataclass(frozen=True)
class Node:
    """A placed node: its middle, in pixels."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Edge:
    """A drawn edge, as SVG path data."""

    start: str
    end: str
    path: str


@dataclass(frozen=True)
class Layout:
    """A graph ready to draw in a ``width`` x ``height`` viewport."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    width: float
    height: float


Place = tuple[str, str]
"""A node (its name, empty), or what an edge passes through (its ends)."""


def layers_of(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Layer of every node: one below the lowest of those that it follows.

    A node that follows none is one above the highest of those that follow it.

    Raises:
        CycleError: some nodes follow themselves.
    """
    above: dict[str, set[str]] = {name: set() for name in nodes}
    for start, end in edges:
        above[end].add(start)
    layers: dict[str, int] = {}
    while len(layers) < len(above):
        ready = [n for n in above if n not in layers and above[n] <= layers.keys()]
        if not ready:
            left = sorted(set(above) - layers.keys())
            raise CycleError(f"these follow themselves: {', '.join(left)}")
        layers |= {n: 1 + max((layers[one] for one in above[n]), default=-1) for n in ready}
    for name in (n for n in above if not above[n]):
        followers = [layers[end] for start, end in edges if start == name]
        layers[name] = min(followers, default=1) - 1
    return layers


def reduced(edges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The edges that do not follow from a longer way, sorted."""
    below: dict[str, set[str]] = {}
    for start, end in edges:
        below.setdefault(start, set()).add(end)

    def reaches(start: str, aim: str, first: bool) -> bool:
        return any(
            (nxt == aim and not first) or (nxt != aim and reaches(nxt, aim, False))
            for nxt in below.get(start, ())
        )

    return sorted(edge for edge in set(edges) if not reaches(*edge, True))


def _ordered(
    layers: Mapping[str, int], edges: Sequence[tuple[str, str]]
) -> tuple[list[list[Place]], list[list[Place]]]:
    """Places of each layer from left to right, and the chain of places of each edge."""
    rows: list[list[Place]] = [[] for _ in range(1 + max(layers.values()))]
    for name, layer in layers.items():
        rows[layer].append((name, ""))
    chains = []
    for start, end in edges:
        between = range(layers[start] + 1, layers[end])
        for layer in between:
            rows[layer].append((start, end))
        chains.append([(start, ""), *((start, end) for _ in between), (end, "")])
    links = [
        ((upper, layers[chain[0][0]] + step), lower)
        for chain in chains
        for step, (upper, lower) in enumerate(itertools.pairwise(chain))
    ]
    for sweep in range(2 * _SWEEPS):
        downwards = sweep % 2 == 0
        order = range(1, len(rows)) if downwards else range(len(rows) - 2, -1, -1)
        for layer in order:
            near = rows[layer - 1] if downwards else rows[layer + 1]
            share = {place: (at + 0.5) / len(near) for at, place in enumerate(near)}
            pulls: dict[Place, list[float]] = {}
            for (upper, at), lower in links:
                if downwards and at == layer - 1:
                    pulls.setdefault(lower, []).append(share[upper])
                elif not downwards and at == layer:
                    pulls.setdefault(upper, []).append(share[lower])
            now = {place: (at + 0.5) / len(rows[layer]) for at, place in enumerate(rows[layer])}
            rows[layer].sort(
                key=lambda place: (
                    sum(pulls[place]) / len(pulls[place]) if place in pulls else now[place],
                    place,
                )
            )
    return rows, chains


def lay_out(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> Layout:
    """Place nodes and edges; the same graph gives the same layout.

    Args:
        nodes: names, at least one.
        edges: start and end, both among the nodes.

    Raises:
        CycleError: some nodes follow themselves.
    """
    drawn = reduced(edges)
    layers = layers_of(sorted(nodes), edges)
    rows, chains = _ordered(layers, drawn)
    wide = [[COLUMN if not place[1] else _PASSING for place in row] for row in rows]
    width = max(sum(row) for row in wide) + 2 * MARGIN
    at: dict[tuple[Place, int], tuple[float, float]] = {}
    for layer, row in enumerate(rows):
        x = (width - sum(wide[layer])) / 2
        for place, size in zip(row, wide[layer], strict=True):
            at[place, layer] = (x + size / 2, MARGIN + NODE_HEIGHT / 2 + layer * LAYER)
            x += size
    paths = []
    for chain in chains:
        first = layers[chain[0][0]]
        points = [at[place, first + step] for step, place in enumerate(chain)]
        paths.append(Edge(chain[0][0], chain[-1][0], _path(points)))
    placed = tuple(Node(name, *at[(name, ""), layer]) for name, layer in sorted(layers.items()))
    height = 2 * MARGIN + NODE_HEIGHT + (len(rows) - 1) * LAYER
    return Layout(placed, tuple(paths), width, height)


def _path(points: Sequence[tuple[float, float]]) -> str:
    """A curve that leaves and enters straight down, from a node's lower to another's upper edge."""
    half = NODE_HEIGHT / 2
    x, y = points[0]
    path = f"M{x:g} {y + half:g}"
    y += half
    for number, (to_x, to_y) in enumerate(points[1:], start=1):
        arrives = to_y - half
        bend = (y + arrives) / 2
        path += f"C{x:g} {bend:g} {to_x:g} {bend:g} {to_x:g} {arrives:g}"
        x, y = to_x, arrives
        if number < len(points) - 1:
            y = to_y + half
            path += f"L{x:g} {y:g}"
    return path
