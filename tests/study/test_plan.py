"""Balance of sides and pairs, and that the seed decides."""

from __future__ import annotations

from collections import Counter

import pytest

from dimitra.study.plan import questions
from dimitra.study.study import Pair, Study, Video


def study(clips: dict[str, int], checks: int = 2, per_rater: int = 6, seed: int = 5) -> Study:
    """A study with so many clips against each method; the files are not there."""
    videos: list[Video] = []
    pairs: list[Pair] = []

    def add(method: str, clip: int) -> int:
        videos.append(
            Video(
                file=f"{len(videos):032x}.mp4",
                sha256="0" * 64,
                media_type="video/mp4",
                duration_s=1.0,
                width=64,
                height=64,
                sound=True,
                method=method,
                clip=f"clip{clip}",
            )
        )
        return len(videos) - 1

    for method, count in clips.items():
        pairs += [
            Pair(kind="comparison", first=add("Dimitra", clip), second=add(method, clip))
            for clip in range(count)
        ]
    pairs += [
        Pair(kind="check", first=add("ground truth", clip), second=add("frozen", clip))
        for clip in range(checks)
    ]
    return Study(
        question="?",
        consent=("yes",),
        ours="Dimitra",
        others=tuple(clips),
        seed=seed,
        pairs_per_rater=per_rater,
        videos=tuple(videos),
        pairs=tuple(pairs),
    )


def test_sides_are_balanced_within_and_over_raters() -> None:
    made = study({"A": 7, "B": 7, "C": 7}, checks=3, per_rater=21)
    for couple in range(5):
        one, two = questions(made, 2 * couple + 1), questions(made, 2 * couple + 2)
        first = {question.pair: question.first for question in one}
        assert len(first) == len(one) == 24
        assert all(first[question.pair] != question.first for question in two)
        for asked in (one, two):
            left = Counter(
                made.other(made.pairs[question.pair])
                for question in asked
                if question.first == "left"
            )
            assert {method: left[method] in (3, 4) for method in "ABC"} == dict.fromkeys(
                "ABC", True
            )
            assert left["frozen"] in (1, 2)


def test_the_order_differs_and_is_the_seeds() -> None:
    made = study({"A": 6, "B": 6}, per_rater=12)
    orders = {tuple(q.pair for q in questions(made, rater)) for rater in range(1, 21)}
    assert len(orders) == 20
    assert questions(made, 3) == questions(made, 3)
    assert questions(made, 3) != questions(study({"A": 6, "B": 6}, per_rater=12, seed=6), 3)
    sides = {tuple(q.first for q in questions(made, rater)) for rater in range(1, 21)}
    assert len(sides) > 15


@pytest.mark.parametrize(("clips", "per_rater"), [({"A": 10, "B": 10}, 6), ({"A": 9, "B": 3}, 5)])
def test_parts_of_the_pairs_cover_all_of_them_equally(
    clips: dict[str, int], per_rater: int
) -> None:
    made = study(clips, per_rater=per_rater)
    asked: Counter[int] = Counter()
    for rater in range(1, 17):
        own = questions(made, rater)
        pairs = [q.pair for q in own if made.pairs[q.pair].kind == "comparison"]
        assert len(set(pairs)) == len(pairs) == per_rater
        asked.update(pairs)
        methods = Counter(made.other(made.pairs[number]) for number in pairs)
        for method, count in clips.items():
            assert abs(methods[method] - per_rater * count / sum(clips.values())) <= 1.5
    assert len(asked) == sum(clips.values())
    assert max(asked.values()) - min(asked.values()) <= 2


def test_each_rater_has_all_checks_and_none_comes_first() -> None:
    made = study({"A": 6}, checks=3)
    for rater in range(1, 30):
        kinds = [made.pairs[q.pair].kind for q in questions(made, rater)]
        assert kinds.count("check") == 3
        assert kinds[0] == "comparison"
