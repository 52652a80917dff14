"""The page as bytes: what is in it, that it stands by itself, and that nothing breaks out of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dimitra.metrics.definitions import METHODS
from dimitra.metrics.published import TABLE_I, TABLE_II
from pipelines.errors import StageError
from pipelines.params import Params
from pipelines.report.page import render_page
from tests.pipelines.ablations.test_variants import entries
from tests.pipelines.report.run import (
    FLOW,
    FRAMES,
    HOSTILE,
    TEXTS,
    digest,
    evaluated,
    make_run,
    write_lineage,
)

Page = tuple[Path, Params, str]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    root = tmp_path_factory.mktemp("run")
    params = make_run(root)
    write_lineage(root)
    render_page(root, params, root / "report")
    return root, params, (root / "report/index.html").read_text()


class Tags(HTMLParser):
    """Checks that tags close in order; collects attributes, and the text of scripts."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)

    @property
    def data(self) -> dict[str, Any]:
        """What the page hands its script."""
        return dict(json.loads(self.scripts[0]))


def test_the_page_is_well_formed_and_stands_by_itself(page: Page) -> None:
    root, _, text = page
    tags = Tags(text)
    targets = [
        (tag, name, attributes[name])
        for tag, attributes in tags.attributes
        for name in ("src", "href", "poster", "action", "data", "srcset")
        if attributes.get(name)
    ]
    assert {target for _, _, target in targets if target and target[0] != "#"} == {"data:,"}
    assert not re.search(r"url\(|@import", text)
    ids = [attributes["id"] for _, attributes in tags.attributes if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {target[1:] for _, _, target in targets if target and target[0] == "#"} <= set(ids)
    for example in tags.data["examples"]:
        for file in example["files"].values():
            assert (root / "report" / file).stat().st_size > 0
    assert len(text) < 3_000_000


def test_only_the_pages_own_script_may_run(page: Page) -> None:
    text = page[2]
    script = text[text.rindex("<script>") + len("<script>") : text.rindex("</script>")]
    style = text[text.index("<style>") + len("<style>") : text.index("</style>")]
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    for kind, content in (("script", script), ("style", style)):
        said = re.search(rf"{kind}-src '(sha256-[^']+)'", policy[1])
        assert said is not None
        right = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert said[1] == f"sha256-{right}"
    assert "default-src 'none'" in policy[1]
    assert "<!doctype html>" in text


def test_what_comes_from_outside_stays_text(page: Page) -> None:
    text = page[2]
    tags = Tags(text)
    assert [tag for tag, _ in tags.attributes].count("script") == 2
    assert "window.broken = 1</script" not in text
    assert "<b>sail" not in text
    assert "&lt;not measured&gt;" in text
    data = tags.data
    said = {one["text"] for one in data["clips"]["datasets"]["lecture"]["clips"]}
    assert said == {HOSTILE}
    assert data["quarantine"][0]["message"].endswith(HOSTILE)


def test_both_tables_with_the_papers_figures_beside(page: Page) -> None:
    text = page[2]
    assert "Table I: chorus" in text
    assert "Table II: lecture" in text
    for table in (TABLE_I, TABLE_II):
        assert f"on {table.dataset}: other data, no comparison" in text
        for values in table.rows.values():
            for value in values:
                assert value is None or f">{value:.2f}<" in text
    assert "F-LMD&nbsp;↓" in text
    assert "sync conf&nbsp;↑" in text


def test_every_number_has_its_card(page: Page) -> None:
    root, params, text = page
    tags = Tags(text)
    ids = {attributes["id"] for _, attributes in tags.attributes if "id" in attributes}
    for dataset in params.datasets.sets:
        table = json.loads((root / f"metrics/{dataset}.json").read_text())
        for method, row in table.items():
            for metric, item in row.items():
                assert item["value"] is None or f"audit-{dataset}-{method}-{metric}" in ids
    start = text.index('id="audit-chorus-dimitra_hp-f_lmd"')
    card = text[start : text.index("</article>", start)]
    # The mean of 3.0, 3.1, 3.2, 3.3, by the numbers that the run has.
    assert ">3.1500<" in card
    assert "n = 4, 0 dropped" in card
    assert "(2 identities)" in card
    assert "dimitra audit metrics/chorus.json#dimitra_hp.f_lmd" in card
    for part in ("lips", "expression", "pose"):
        assert digest("model", part)[:16] in card
    assert digest("commit", "train")[:10] in card
    assert digest("data/shards")[:16] in card
    assert digest("code", "evaluate")[:16] in card
    assert "sha256 5p1it" in card
    frozen = text[text.index('id="audit-chorus-frozen_first_frame-f_lmd"') :]
    assert "Checkpoint" not in frozen[: frozen.index("</article>")]


def test_the_graph_is_that_of_the_records(page: Page) -> None:
    text = page[2]
    tags = Tags(text)
    nodes = {a["data-name"] for _, a in tags.attributes if "data-name" in a}
    assert nodes == {*FLOW, "datasets", "splits", "truth"}
    edges = {(a["data-start"], a["data-end"]) for _, a in tags.attributes if "data-end" in a}
    assert ("train@pose", "generate") in edges
    assert ("generate", "render") in edges
    assert ("crop", "render") not in edges  # it follows from crop, fit, ..., render
    start = text.index('id="lineage-train-pose"')
    card = text[start : text.index("</article>", start)]
    assert digest("data/shards") in card
    assert digest("commit", "train")[:40] in card
    assert "train.deadline_s" in card
    assert f"{digest('changed')}" in text
    evaluated_by = text[text.index('id="lineage-evaluate"') :]
    assert f"CC0-1.0</span></dt><dd><code>{digest('dlib')}" in evaluated_by


def test_clips_worst_first_with_texts_and_numbers(page: Page) -> None:
    data = Tags(page[2]).data
    chorus = data["clips"]["datasets"]["chorus"]
    own = [one for one in evaluated() if one.dataset == "chorus"]
    assert [one["id"] for one in chorus["clips"]] == [one.clip_id for one in reversed(own)]
    assert [one["text"] for one in chorus["clips"]] == [TEXTS[0], TEXTS[2], TEXTS[1], TEXTS[0]]
    number = [method.key for method in METHODS].index("dimitra_hp")
    expected = [1.0 + number + 0.1 * place for place in (3, 2, 1, 0)]
    assert chorus["values"]["dimitra_hp"]["m_lmd"] == pytest.approx(expected)
    assert not any("sync_dist" in columns for columns in chorus["values"].values())


def test_curves_of_truth_fit_and_generated(page: Page) -> None:
    examples = Tags(page[2]).data["examples"]
    assert len(examples) == 5
    by_id = {one["clip_id"]: one for one in examples}
    first = by_id[evaluated()[0].clip_id]
    assert first["frames"] == FRAMES
    for source, radians in (("truth", 0.1), ("fit", 0.2), ("hp", 0.3)):
        assert first["curves"]["pitch"][source] == [round(radians * 57.29578, 2)] * FRAMES
        yaw = first["curves"]["yaw"][source]
        assert (yaw[0], yaw[-1]) == (0.0, 5.73)
    assert first["words"] == [[0.0, 0.3, "one"], [0.4, 0.7, "two"], [0.8, 1.1, "three"]]
    assert set(by_id[evaluated()[2].clip_id]["curves"]["pitch"]) == {"fit", "hp"}
    lecture = by_id[evaluated()[4].clip_id]
    assert (lecture["words"], lecture["standing"]) == ([], "the only one, M-LMD 3.40")


def test_digests_of_corpus_split_and_models(page: Page) -> None:
    for told in ("sha256 5p1it", hashlib.sha256(b"lips").hexdigest()):
        assert told in page[2]


def test_the_same_run_gives_the_same_page(page: Page, tmp_path: Path) -> None:
    root, params, text = page
    (tmp_path / "report").mkdir()
    (tmp_path / "report/stale.html").write_text("old")
    render_page(root, params, tmp_path / "report")
    assert (tmp_path / "report/index.html").read_text() == text
    left = sorted(p.name for p in (tmp_path / "report").iterdir())
    assert left == ["index.html", "metrics.csv", "videos"]
    for table in ("index.html", "metrics.csv"):
        assert (tmp_path / "report" / table).read_bytes() == (root / "report" / table).read_bytes()
    first = sorted((root / "report/videos").iterdir())
    second = sorted((tmp_path / "report/videos").iterdir())
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert len(first) == 3 * (4 + 1)


def test_a_run_without_records_intervals_and_tests_says_so(page: Page, tmp_path: Path) -> None:
    root, params, text = page
    old = tmp_path / "run"
    shutil.copytree(root, old)
    shutil.rmtree(old / "lineage")
    (old / "metrics/paired.json").unlink()
    for path in (old / "metrics").glob("*.json"):
        table = json.loads(path.read_text())
        for row in table.values():
            for item in row.values():
                for key in ("low", "high", "identities", "identities_low", "identities_high"):
                    del item[key]
        path.write_text(json.dumps(table))
    render_page(old, params, old / "report")
    shown = (old / "report/index.html").read_text()
    tags = Tags(shown)
    assert "has left no lineage records" in shown
    assert "commit and parameters not recorded" in shown
    assert hashlib.sha256(b"lips").hexdigest()[:16] in shown
    assert 'id="over-identities"' not in shown
    assert "has no intervals" in shown
    assert 'id="paired"' not in shown
    assert {"has left no lineage records", "has no intervals"}.isdisjoint({text})
    assert not any("data-name" in attributes for _, attributes in tags.attributes)


def test_data_of_ones_own_has_a_table_without_the_papers_figures(
    page: Page, tmp_path: Path
) -> None:
    root, params, _ = page
    sets = {
        name: dataset.model_copy(update={"layout": "folder"})
        for name, dataset in params.datasets.sets.items()
    }
    own = params.model_copy(update={"datasets": params.datasets.model_copy(update={"sets": sets})})
    render_page(root, own, tmp_path / "report")
    shown = (tmp_path / "report/index.html").read_text()
    Tags(shown)
    assert '<h3 id="table-chorus">chorus</h3>' in shown
    assert "Published in the paper" not in shown
    assert ">3.15<" in shown


def test_a_run_without_numbers_has_a_page(page: Page, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(page[0], root)
    shutil.rmtree(root / "metrics")
    render_page(root, page[1], root / "report")
    tags = Tags((root / "report/index.html").read_text())
    assert tags.data["examples"] == []
    assert tags.data["clips"]["datasets"] == {}
    assert {a["data-name"] for _, a in tags.attributes if "data-name" in a} > set(FLOW)


def test_ablations_are_shown_where_there_are_some(page: Page, tmp_path: Path) -> None:
    root, params, text = page
    assert 'id="ablations"' not in text
    path = root / "metrics/ablations.json"
    path.write_text(json.dumps(entries()))
    try:
        render_page(root, params, tmp_path / "report")
    finally:
        path.unlink()
    shown = (tmp_path / "report/index.html").read_text()
    tags = Tags(shown)
    ids = {attributes["id"] for _, attributes in tags.attributes if "id" in attributes}
    assert {"ablations", "audit-ablation-full", "audit-ablation-no_phonemes"} <= ids
    assert "No phonemes: lips worse" in shown
    table = shown[shown.index('id="ablations"') : shown.index('id="training"')]
    assert table.count('<small class="count">n = 4</small>') == table.count('class="audited"') > 0
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
def test_what_is_missing_is_named_with_the_stage_to_run(
    page: Page, tmp_path: Path, path: str, command: str
) -> None:
    root = tmp_path / "run"
    shutil.copytree(page[0], root)
    (root / path).unlink()
    told = f"{re.escape(path)}: not there; run `python -m pipelines\\.{command}` first"
    with pytest.raises(StageError, match=told):
        render_page(root, page[1], root / "report")
    assert (root / "report/index.html").is_file()
