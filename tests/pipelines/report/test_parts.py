"""The page's small parts: curves, corpus, embedded data, paired tests, records."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.lineage.record import CodeVersion, LineageRecord
from pipelines.errors import StageError
from pipelines.report import lineage, paired
from pipelines.report.corpus import corpus_rows
from pipelines.report.curves import read_curve, running_mean
from pipelines.report.embedded import script_json
from pipelines.report.quarantined import MOST_ROWS, shown
from tests.pipelines.report.run import artefact


def test_running_mean() -> None:
    assert running_mean([1.0, 3.0, 8.0, 7.0], 3) == [2.0, 4.0, 6.0, 7.5]


def test_an_empty_curve_is_named(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    path.write_text("step,loss\n")
    with pytest.raises(ValueError, match=r"curve\.csv holds no training step"):
        read_curve(path, "lips")


class Scripts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text() | st.sampled_from(["</script>", "<!--<script>", "]]>", "\u2028&amp;"]))
def test_any_text_comes_back_from_the_page_as_it_was(text: str) -> None:
    parser = Scripts()
    parser.feed(f"<script>{script_json({'text': text})}</script>")
    parser.close()
    assert parser.tags == ["script"]
    assert json.loads(parser.text) == {"text": text}
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json(float("nan"))


def clip(identity: str, number: int, seconds: float) -> dict[str, Any]:
    return {
        "clip_id": f"{identity}-{number}",
        "dataset": "chorus",
        "identity": identity,
        "source_video": f"{identity}/{number // 2}",
        "duration_s": seconds,
    }


def test_statistics_of_the_corpus() -> None:
    clips = [clip("ann", 0, 4.0), clip("ann", 1, 5.0), clip("bob", 0, 7.0), clip("cy", 0, 4.25)]
    sides = {"ann-0": "train", "ann-1": "train", "bob-0": "test"}
    (row,) = corpus_rows(clips, sides)
    assert (row.clips, row.identities, row.videos) == (4, 3, 3)
    assert (row.minutes, row.shortest_s, row.longest_s) == (20.25 / 60, 4.0, 7.0)
    assert (row.train, row.test, row.train_identities, row.test_identities) == (2, 1, 1, 1)
    assert row.shared == 0
    assert row.speakers == (("ann", "train", 2), ("bob", "test", 1), ("cy", "not in the split", 1))
    assert row.durations.series == ("train", "test", "not in the split")
    (both,) = corpus_rows(clips, {**sides, "ann-1": "test"})
    assert both.shared == 1


def test_long_quarantines_are_cut() -> None:
    rows = shown([{"clip_id": f"{n}", "message": "x" * 1000} for n in range(MOST_ROWS + 5)])
    assert len(rows) == MOST_ROWS
    assert rows[0]["message"] == "x" * 399 + "…"


@pytest.mark.parametrize(
    ("metric", "difference", "p", "verdict"),
    [
        ("m_lmd", -1.0, 0.01, "Dimitra (HP) better"),
        ("m_lmd", 1.0, 0.01, "Frozen first frame better"),
        ("sync_conf", 1.0, 0.01, "Dimitra (HP) better"),
        ("sync_conf", -1.0, 0.05, paired.NO_VERDICT),
        ("sync_conf", 0.0, 0.01, paired.NO_VERDICT),
        ("m_lmd", -1.0, None, paired.NO_VERDICT),
        ("head_speed", -1.0, 0.01, "they differ"),
    ],
)
def test_which_method_is_better(
    metric: str, difference: float, p: float | None, verdict: str
) -> None:
    test = {
        "first": "dimitra_hp",
        "second": "frozen_first_frame",
        "n": 9,
        "dropped": 1,
        "difference": difference,
        "low": -0.5,
        "high": 1.5,
        "identities_low": None,
        "identities_high": None,
        "permutation_p_holm": p,
        "permutation_p_identities": None,
    }
    found = paired.table({"chorus": {metric: [test]}})
    row = dict(zip(found["columns"], found["rows"][0], strict=True))
    assert row["verdict"] == verdict
    assert row["clips"] == "−0.500 to 1.500"
    assert row["identities"] == ""
    baselines = {**test, "first": "ground_truth"}
    assert paired.table({"chorus": {metric: [baselines]}})["rows"] == []


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "lineage").mkdir()
    assert lineage.read(tmp_path) == {}
    for content in ("[]", '{"schema": 1, "stage": "crop"}', '{"stage": "crop", '):
        (tmp_path / "lineage/crop.json").write_text(content)
        with pytest.raises(StageError, match=r"lineage/crop\.json is no lineage record"):
            lineage.read(tmp_path)


def test_stages_are_linked_by_what_they_read() -> None:
    def record(stage: str, inputs: list[str], output: str) -> LineageRecord:
        return LineageRecord(
            stage=stage,
            command="",
            code=CodeVersion(None, None, "c0de", {}),
            params={},
            inputs=tuple(artefact(path, 1) for path in inputs),
            outputs=(artefact(output, 1),),
        )

    found = lineage.linked(
        {
            "shard": record("shard", ["data/motion"], "data/shards"),
            "train@lips": record("train@lips", ["data/shards/index.parquet"], "models/lips"),
            "export": record("export", ["models"], "out"),
        }
    )
    assert found.sources == ("data/motion",)
    assert found.edges == (
        ("data/motion", "shard"),
        ("shard", "train@lips"),
        ("train@lips", "export"),
    )
    assert lineage.linked({}).layout is None
