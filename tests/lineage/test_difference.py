"""Known answers: one thing is changed, the run is made again on paper, and that thing is named."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dimitra.lineage.difference import compare, records_at
from dimitra.lineage.graph import Graph
from dimitra.lineage.record import (
    Artefact,
    AssetUse,
    CodeVersion,
    LineageError,
    LineageRecord,
    write_record,
)
from tests.lineage.trees import git

METRIC = "metrics/chorus.json"
PIPELINE = {
    "ingest": (("datasets", "splits"), ("data/manifest",)),
    "crop": (("data/manifest", "datasets", "weights.yaml"), ("data/crops",)),
    "split": (("data/manifest", "splits"), ("data/split",)),
    "shard": (("data/crops", "data/split"), ("data/shards",)),
    "train@lips": (("data/shards",), ("models/lips",)),
    "train@pose": (("data/shards",), ("models/pose",)),
    "generate": (("data/shards", "models/lips", "models/pose"), ("data/generated",)),
    "train_sync": (("data/crops", "data/split"), ("evaluators/sync",)),
    "evaluate": (("data/generated", "evaluators/sync"), (METRIC,)),
}
LISTS = {"chorus/v1/test.txt": "t", "chorus/v1/train.txt": "r", "hdtf/v1/test.txt": "h"}
SOURCES = {
    "datasets": Artefact("datasets", "raw", 0, {"chorus/vox2_meta.csv": "m"}),
    "splits": Artefact("splits", "lists", 0, LISTS),
    "weights.yaml": Artefact("weights.yaml", "pins", 0),
}

Changes = dict[str, Callable[[LineageRecord], LineageRecord]]


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def made(changes: Changes | None = None, sources: dict[str, Artefact] | None = None) -> Graph:
    """Records of a run in which every output follows from all that its stage has."""
    changes = changes or {}
    known = {**SOURCES, **(sources or {})}
    records = {}
    for stage, (reads, writes) in PIPELINE.items():
        record = LineageRecord(
            stage=stage,
            command=f"python -m pipelines.{stage}",
            code=CodeVersion(
                "commit", None, "d", {"pipelines/params.py": "p", f"pipelines/{stage}.py": "s"}
            ),
            params={
                "seed": 0,
                f"{stage}.steps": 100,
                "datasets.sets.chorus.split": "chorus/v1",
            },
            inputs=tuple(known[path] for path in reads),
            outputs=(),
            assets=(AssetUse("crop.landmarks", "dlib_68", "w", "CC0-1.0", ""),)
            if stage == "crop"
            else (),
            packages={"lock_sha256": "l", "numpy": "2.4.6"},
            environment={"cpu": "one"},
        )
        record = changes.get(stage, lambda same: same)(record)
        depends = (record.code.files, record.params, record.inputs, record.assets)
        depends += (record.environment, record.packages["numpy"])
        outputs = tuple(Artefact(path, digest(path, depends), 1) for path in writes)
        known |= {output.path: output for output in outputs}
        records[stage] = replace(record, outputs=outputs)
    return Graph(records)


def code(path: str) -> Callable[[LineageRecord], LineageRecord]:
    def change(record: LineageRecord) -> LineageRecord:
        files = {**record.code.files, path: "changed"}
        return replace(record, code=replace(record.code, files=files))

    return change


def param(key: str, value: object) -> Callable[[LineageRecord], LineageRecord]:
    return lambda record: replace(record, params={**record.params, key: value})


def told(old: Graph, new: Graph, path: str = METRIC) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.kind, one.what, one.stages) for one in compare(old, new, path)]


def test_the_same_run_has_no_cause() -> None:
    assert told(made(), made()) == []


@pytest.mark.parametrize(
    ("changes", "sources", "expected"),
    [
        (
            {"train@lips": param("train@lips.steps", 101)},
            {},
            [("parameter", "train@lips.steps", ("train@lips",))],
        ),
        ({"crop": code("pipelines/crop.py")}, {}, [("code", "pipelines/crop.py", ("crop",))]),
        (
            {"evaluate": code("pipelines/evaluate.py")},
            {},
            [("evaluator", "pipelines/evaluate.py", ("evaluate",))],
        ),
        (
            {"train_sync": param("train_sync.steps", 7)},
            {},
            [("parameter", "train_sync.steps", ("train_sync",))],
        ),
        (
            {"crop": lambda r: replace(r, assets=(replace(r.assets[0], sha256="other"),))},
            {"weights.yaml": Artefact("weights.yaml", "other", 0)},
            [("weights", "crop.landmarks", ("crop",))],
        ),
        (
            {},
            {"datasets": Artefact("datasets", "other", 0, {"chorus/vox2_meta.csv": "m"})},
            [("data", "datasets", ("ingest", "crop"))],
        ),
        (
            {},
            {"datasets": Artefact("datasets", "other", 0, {"chorus/vox2_meta.csv": "n"})},
            [("data", "datasets/chorus/vox2_meta.csv", ("ingest", "crop"))],
        ),
        (
            {},
            {"splits": Artefact("splits", "other", 0, {**LISTS, "chorus/v1/test.txt": "u"})},
            [("split", "splits/chorus/v1/test.txt", ("ingest", "split"))],
        ),
        (
            {stage: lambda r: replace(r, environment={"cpu": "two"}) for stage in PIPELINE},
            {},
            [("environment", "cpu", tuple(PIPELINE))],
        ),
        (
            {"generate": lambda r: replace(r, packages={"lock_sha256": "k", "numpy": "2.5.0"})},
            {},
            [("environment", "numpy", ("generate",))],
        ),
        (
            {
                "train@lips": param("train@lips.steps", 101),
                "train@pose": code("pipelines/train@pose.py"),
                "evaluate": code("dimitra/metrics/procrustes.py"),
            },
            {},
            [
                ("parameter", "train@lips.steps", ("train@lips",)),
                ("code", "pipelines/train@pose.py", ("train@pose",)),
                ("evaluator", "dimitra/metrics/procrustes.py", ("evaluate",)),
            ],
        ),
    ],
)
def test_what_was_changed_is_named_and_nothing_else(
    changes: Changes,
    sources: dict[str, Artefact],
    expected: list[tuple[str, str, tuple[str, ...]]],
) -> None:
    found = told(made(), made(changes, sources))
    assert sorted(found, key=lambda one: one[1]) == sorted(expected, key=lambda one: one[1])


def test_values_before_and_after_are_told() -> None:
    (cause,) = compare(made(), made({"train@lips": param("train@lips.steps", 101)}), METRIC)
    assert (cause.before, cause.after) == ("100", "101")


def test_what_lies_behind_an_output_that_is_the_same_has_had_no_effect() -> None:
    """Code of every stage is edited, and only the crops come out differently."""
    old = made()
    everywhere = {stage: code("pipelines/params.py") for stage in ("ingest", "crop")}
    new = made(everywhere)
    records = dict(new.records)
    manifest = old.records["ingest"].outputs
    records["ingest"] = replace(records["ingest"], outputs=manifest)
    for stage in ("crop", "split"):
        inputs = tuple(
            manifest[0] if one.path == "data/manifest" else one for one in records[stage].inputs
        )
        records[stage] = replace(records[stage], inputs=inputs)
    records["split"] = old.records["split"]
    for stage in ("shard", "train_sync"):
        inputs = tuple(
            old.records["split"].outputs[0] if one.path == "data/split" else one
            for one in records[stage].inputs
        )
        records[stage] = replace(records[stage], inputs=inputs)
    assert told(old, Graph(records)) == [("code", "pipelines/params.py", ("crop",))]


def test_a_change_of_one_output_is_none_of_another() -> None:
    new = made({"train@lips": param("train@lips.steps", 101)})
    assert told(made(), new, "models/pose") == []
    assert told(made(), new, "models/lips") == [("parameter", "train@lips.steps", ("train@lips",))]


def test_a_stage_that_came_or_went_is_named() -> None:
    old = made()
    records = dict(made({"generate": param("generate.models", "joint")}).records)
    lost = records.pop("train@pose")
    generate = records["generate"]
    inputs = tuple(one for one in generate.inputs if one.path != lost.outputs[0].path)
    records["generate"] = replace(generate, inputs=inputs)
    found = told(old, Graph(records))
    assert ("stage", "train@pose", ("train@pose",)) in found
    assert ("parameter", "generate.models", ("generate",)) in found


def test_bytes_that_differ_without_a_cause_are_called_unknown() -> None:
    new = dict(made().records)
    shards = replace(new["shard"].outputs[0], sha256="other")
    new["shard"] = replace(new["shard"], outputs=(shards,))
    for stage in ("train@lips", "train@pose", "generate"):
        inputs = tuple(shards if i.path == "data/shards" else i for i in new[stage].inputs)
        new[stage] = replace(new[stage], inputs=inputs)
    assert told(made(), Graph(new), "data/shards") == [("unknown", "data/shards", ("shard",))]


def test_revisions_of_git_are_compared(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "README.md").write_text("empty\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "before lineage")
    git(tmp_path, "tag", "empty")
    for tag, graph in (
        ("one", made()),
        ("two", made({"crop": param("crop.steps", 3)})),
    ):
        for record in graph.records.values():
            write_record(record, tmp_path)
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-qm", tag)
        git(tmp_path, "tag", tag)
    one, two = records_at("one", tmp_path), records_at("two", tmp_path)
    assert one == made()
    assert told(one, two) == [("parameter", "crop.steps", ("crop",))]
    with pytest.raises(LineageError, match="empty holds no lineage"):
        records_at("empty", tmp_path)
    with pytest.raises(LineageError, match="no revision of git here"):
        records_at("--output=x", tmp_path)
    with pytest.raises(LineageError, match="no record of either revision tells of nothing"):
        compare(one, two, "nothing")
    assert not (tmp_path / "x").exists()
