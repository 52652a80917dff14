"""What a rater is asked: which pairs, in which order, and which video on which side.

All follows from the study's seed and the rater's number. Two raters in a row get the same pairs
with the sides exchanged, so a habit of one side cancels out.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from dimitra.study.study import Study

Side = Literal["left", "right"]


@dataclass(frozen=True)
class Question:
    """One question of one rater.

    Attributes:
        pair: number of the pair in the study.
        first: side of the pair's first video.
    """

    pair: int
    first: Side


def round_of_pairs(study: Study) -> list[int]:
    """All comparisons once, the methods mixed so that any stretch has its share of each."""
    methods: dict[str, list[int]] = defaultdict(list)
    for number in study.numbered("comparison"):
        methods[study.other(study.pairs[number])].append(number)
    rng = random.Random(f"{study.seed}/round")
    placed: list[tuple[float, int]] = []
    for numbers in methods.values():
        rng.shuffle(numbers)
        shift = rng.random()
        placed += [((i + shift) / len(numbers), number) for i, number in enumerate(numbers)]
    return [number for _, number in sorted(placed)]


def questions(study: Study, rater: int) -> list[Question]:
    """The questions of a rater in their order.

    Every pair is asked as often as any other, within one time for each two raters; within a
    rater each method is on each side equally often, within one; over both of two raters in a row
    exactly.

    Args:
        study: with the pairs.
        rater: number, from 1.
    """
    couple, exchanged = divmod(rater - 1, 2)
    everyone = round_of_pairs(study)
    count = study.pairs_per_rater
    chosen = [everyone[(couple * count + i) % len(everyone)] for i in range(count)]
    sides = _sides(study, couple, chosen)
    checks = study.numbered("check")
    sides |= _sides(study, couple, checks)
    order = random.Random(f"{study.seed}/order/{rater}")
    order.shuffle(chosen)
    for number in checks:
        # Never the first question, which still explains itself.
        chosen.insert(order.randint(1, len(chosen)), number)
    other: dict[Side, Side] = {"left": "right", "right": "left"}
    return [
        Question(number, other[sides[number]] if exchanged else sides[number]) for number in chosen
    ]


def _sides(study: Study, couple: int, numbers: list[int]) -> dict[int, Side]:
    rng = random.Random(f"{study.seed}/sides/{couple}")
    methods: dict[str, list[int]] = defaultdict(list)
    for number in numbers:
        methods[study.other(study.pairs[number])].append(number)
    sides: dict[int, Side] = {}
    for members in methods.values():
        rng.shuffle(members)
        ends: list[Side] = ["left", "right"]
        rng.shuffle(ends)
        sides |= {number: ends[i % 2] for i, number in enumerate(members)}
    return sides
