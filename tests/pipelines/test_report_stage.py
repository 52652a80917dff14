import hashlib
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dimitra.clips import MANIFEST_SCHEMA, QUARANTINE_SCHEMA
from dimitra.media.mp4 import encode_mp4
from dimitra.metrics.definitions import METHODS, METRICS
from dimitra.metrics.published import TABLE_I, TABLE_II
from dimitra.metrics.records import ClipRecord
from dimitra.metrics.summary import ClipValue
from dimitra.shards import write_shard
from pipelines.errors import StageError
from pipelines.evaluate_tables import DataSet, write_metrics
from pipelines.params import load
from pipelines.report import (
    BALANCES,
    choose_examples,
    read_curve,
    render_page,
    result_table,
    running_mean,
)


def clip_row(index, dataset, identity):
    return {
        "clip_id": f"{dataset}-{identity.lower()}-v-{index:05d}",
        "dataset": dataset,
        "identity": identity,
        "source_video": f"{identity}/v",
        "path": "a.mp4",
        "audio_path": None,
        "sha256": "0" * 64,
        "start_s": 0.0,
        "end_s": None,
        "duration_s": 6.0,
        "fps": 25.0,
        "width": 320,
        "height": 320,
        "transcript": None,
        "shard": 0,
    }


def record(row, offset):
    values = {}
    for number, method in enumerate(METHODS):
        values[method.key] = {}
        for metric in METRICS:
            absent = metric.key.startswith("sync") or method.key == "ground_truth"
            values[method.key][metric.key] = (
                ClipValue(None, "<not measured>") if absent else ClipValue(1.0 + number + offset)
            )
    return ClipRecord(row["clip_id"], row["dataset"], row["identity"], 150, {}, values)


def make_run(root, frames=5):
    """A run folder with everything the report reads, of two datasets."""
    rows = [clip_row(i, "chorus", f"id{13 + i % 2:05d}") for i in range(4)]
    rows += [clip_row(0, "chorus", "id00001"), clip_row(0, "lecture", "Avery")]
    for folder in (*BALANCES.values(), "models", "metrics"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.Table.from_pylist(rows, schema=MANIFEST_SCHEMA), root / "data/manifest/clips.parquet"
    )
    split = [
        {"clip_id": r["clip_id"], "split": "train" if r["identity"] == "id00001" else "test"}
        for r in rows
    ]
    pq.write_table(pa.Table.from_pylist(split), root / "data/split/split.parquet")
    for stage, folder in BALANCES.items():
        bad = [
            {
                "clip_id": "chorus-bad",
                "dataset": "chorus",
                "stage": stage,
                "reason": "no_face",
                "message": "no face in <b>any</b> of 150 frames",
                "input_sha256": None,
                "attempts": 1,
            }
        ] * (stage == "crop")
        pq.write_table(
            pa.Table.from_pylist(bad, schema=QUARANTINE_SCHEMA),
            root / folder / "quarantine.parquet",
        )
        balance = {
            "stage": stage,
            "clips_in": 6 + len(bad),
            "clips_out": 6,
            "quarantined": len(bad),
            "reasons": {"no_face": 1} if bad else {},
            "budget": 0.05,
        }
        (root / folder / "balance.json").write_text(json.dumps(balance))
    steps = np.arange(300)
    for number, part in enumerate(("lips", "expression", "pose")):
        (root / "models" / part).mkdir()
        (root / "models" / part / "model.safetensors").write_bytes(part.encode())
        noise = np.random.default_rng(number).uniform(0.7, 1.3, len(steps))
        loss = (0.3 + 6.0 * np.exp(-steps / 60.0)) * noise
        lines = [
            "step,loss,diffusion",
            *(f"{s},{v:.5f},{v / 6:.5f}" for s, v in zip(steps, loss, strict=True)),
        ]
        (root / "models" / part / "curve.csv").write_text("\n".join(lines) + "\n")
    tests = [row for row, side in zip(rows, split, strict=True) if side["split"] == "test"]
    records = {}
    for index, row in enumerate(tests):
        records.setdefault(row["dataset"], []).append(record(row, 0.1 * index))
    sets = {name: DataSet(clips) for name, clips in records.items()}
    write_metrics(sets, root / "metrics", 0)
    crops, videos = {}, {}
    for index, row in enumerate(tests):
        clips = [
            encode_mp4(
                [
                    np.full((64, 64, 3), (40 * index + 7 * t + 50 * k) % 256, np.uint8)
                    for t in range(frames)
                ]
            )
            for k in range(3)
        ]
        crops[row["clip_id"]] = {"mp4": clips[0], "flac": b""}
        videos[row["clip_id"]] = {"hp.mp4": clips[1], "no_hp.mp4": clips[2]}
    write_shard(root / "data/crops/00000.tar", crops)
    write_shard(root / "data/videos/00000.tar", videos)
    (root / "data/split/split.json").write_text('{"digest": "5p1it"}')


@pytest.fixture(scope="module")
def page(tmp_path_factory, pytestconfig):
    root = tmp_path_factory.mktemp("run")
    make_run(root)
    params = load(pytestconfig.rootpath / "conf/sample.yaml")
    render_page(root, params, root / "report")
    return root, params, (root / "report/index.html").read_text()


class Tags(HTMLParser):
    """Checks that tags close in order, and collects attributes."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_stands_by_itself(page):
    root, _, text = page
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    for tag, attributes in tags.attributes:
        for name in ("src", "href"):
            target = attributes.get(name)
            if not target or target.startswith(("#", "data:")):
                continue
            assert tag == "video"
            assert (root / "report" / target.partition("#")[0]).stat().st_size > 0
    assert "http" not in re.sub(r"http-equiv", "", text)
    ids = {attributes["id"] for _, attributes in tags.attributes if "id" in attributes}
    links = [a["href"][1:] for t, a in tags.attributes if t == "a"]
    assert set(links) <= ids


def test_both_tables_with_the_papers_figures_beside(page):
    _, _, text = page
    assert "Table I: chorus" in text
    assert "Table II: lecture" in text
    for table in (TABLE_I, TABLE_II):
        assert f"on {table.dataset}: other data, no comparison" in text
        for values in table.rows.values():
            for value in values:
                assert value is None or f">{value:.2f}<" in text
    assert "F-LMD ↓" in text
    assert "sync conf ↑" in text


def test_digests_of_corpus_split_and_models(page):
    for digest in ("sha256 5p1it", hashlib.sha256(b"lips").hexdigest()):
        assert digest in page[2]


def test_messages_are_escaped(page):
    assert "no face in &lt;b&gt;any&lt;/b&gt; of 150 frames" in page[2]
    assert "&lt;not measured&gt;" in page[2]


def test_the_same_run_gives_the_same_page(page, tmp_path):
    root, params, text = page
    (tmp_path / "report").mkdir()
    (tmp_path / "report/stale.html").write_text("old")
    render_page(root, params, tmp_path / "report")
    assert (tmp_path / "report/index.html").read_text() == text
    assert sorted(p.name for p in (tmp_path / "report").iterdir()) == ["index.html", "videos"]
    first = sorted((root / "report/videos").iterdir())
    second = sorted((tmp_path / "report/videos").iterdir())
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert len(first) == 3 * (3 + 1)


def test_examples_change_the_identity_first():
    clips = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c"), ("c2", "c")]
    assert choose_examples(clips, 4) == ["a1", "b1", "c1", "a2"]
    assert len(choose_examples(clips, 100)) == 5


def table_with(hp, no_hp):
    row = {m.key: {"value": 1.0, "n": 3, "dropped": 1, "reason": None} for m in METRICS}
    table = {method.key: row for method in METHODS}
    table["dimitra_hp"] = {**row, "f_lmd": {**row["f_lmd"], "value": hp}}
    table["dimitra_no_hp"] = {**row, "f_lmd": {**row["f_lmd"], "value": no_hp}}
    return result_table("chorus", "voxceleb2", table)


def test_the_better_variant_is_marked_where_the_shown_values_differ():
    def best(table):
        return [row.label for row in table.rows if row.cells[0].best]

    assert best(table_with(2.0, 3.0)) == ["Dimitra (HP)"]
    assert best(table_with(3.0, 2.0)) == ["Dimitra (no HP)"]
    assert best(table_with(2.001, 2.002)) == []
    assert table_with(2.0, 3.0).rows[1].cells[0].detail == "n = 3, 1 dropped"
    assert table_with(2.0, 3.0).clips == 4


def test_running_mean():
    assert running_mean([1.0, 3.0, 8.0, 7.0], 3) == [2.0, 4.0, 6.0, 7.5]


def test_an_empty_curve_is_named(tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("step,loss\n")
    with pytest.raises(ValueError, match=r"curve\.csv holds no training step"):
        read_curve(path, "lips")


def test_ablations_are_shown_where_there_are_some(page, tmp_path):
    from tests.pipelines.test_ablations import entries

    root, params, text = page
    assert 'id="ablations"' not in text
    path = root / "metrics/ablations.json"
    path.write_text(json.dumps(entries()))
    try:
        render_page(root, params, tmp_path / "report")
    finally:
        path.unlink()
    shown = (tmp_path / "report/index.html").read_text()
    tags = Tags()
    tags.feed(shown)
    assert tags.open == []
    assert 'id="ablations"' in shown
    assert "No phonemes: lips worse" in shown
    assert shown.count('class="bar-0"') == 3


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("data/manifest/clips.parquet", "ingest"),
        ("data/split/split.parquet", "split"),
        ("data/split/split.json", "split"),
        ("data/crops/balance.json", "crop"),
        ("models/expression/curve.csv", "train --part expression"),
        ("data/videos/balance.json", "render"),
        ("metrics/clips/chorus.parquet", "evaluate"),
    ],
)
def test_what_is_missing_is_named_with_the_stage_to_run(page, tmp_path, path, command):
    root = tmp_path / "run"
    shutil.copytree(page[0], root)
    (root / path).unlink()
    told = f"{re.escape(path)}: not there; run `python -m pipelines\\.{command}` first"
    with pytest.raises(StageError, match=told):
        render_page(root, page[1], root / "report")
    assert (root / "report/index.html").is_file()
