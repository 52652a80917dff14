"""A small run with ablations of it: a lock, two commits, DVC's cache and the file of numbers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from dimitra.lineage.ablations import FILE
from dimitra.lineage.record import read_records, write_record
from dimitra.shards import json_bytes
from pipelines.ablations.variants import BY_KEY, changed_params, entry
from pipelines.lineage.record import make_record
from pipelines.lineage.stages import read_stages
from tests.lineage.small_run import make_run
from tests.lineage.trees import git
from tests.pipelines.ablations.numbers import scores

SHARED = ("data/manifest", "data/motion", "data/shards", "data/split", "models/aligner")
ERRORS = {"full": 0.1, "no_text": 0.2, "joint": 0.05}


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def keep(root: Path, files: dict[str, bytes]) -> str:
    """Put a folder into DVC's cache; returns its md5."""
    listing = [{"md5": _md5(data), "relpath": name} for name, data in files.items()]
    folder = json.dumps(listing).encode()
    names = [*(one["md5"] for one in listing), f"{_md5(folder)}.dir"]
    for name, data in zip(names, [*files.values(), folder], strict=True):
        place = root / ".dvc/cache/files/md5" / name[:2] / name[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    return names[-1]


def write_lock(root: Path) -> None:
    """A lock in DVC's shape: of shared outputs, records, metrics, and what the report read."""
    records = read_records(root)
    stages: dict[str, Any] = {}
    for name, record in records.items():
        outs = [
            {"path": one.path, "hash": "md5", "md5": f"{_md5(one.path.encode())}.dir"}
            for one in record.outputs
            if one.path in SHARED
        ]
        own = f"lineage/{name.replace('@', '-')}.json"
        outs.append({"path": own, "hash": "md5", "md5": _md5((root / own).read_bytes())})
        stages[name] = {"cmd": record.command, "outs": outs}
    if (root / FILE).is_file():
        md5 = _md5((root / FILE).read_bytes())
        stages["report"]["deps"] = [{"path": FILE, "hash": "md5", "md5": md5}]
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def write_report(root: Path) -> None:
    """The record and the lock of a report that has read the file of ablations as it is."""
    (stage,) = (one for one in read_stages(root) if one.name == "report")
    write_record(make_record(stage, root), root)
    write_lock(root)


def make_ablated_run(folder: Path) -> Path:
    """Write the run into an empty folder, in two commits: of the run, and with its ablations."""
    root = make_run(folder)
    (root / ".gitignore").write_text("/data\n/models\n/evaluators\n/.dvc/cache\n/report\n")
    write_lock(root)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "run")
    baseline = git(root, "rev-parse", "HEAD").strip()
    before = (root / "params.yaml").read_text()
    records = read_records(root)
    code = {
        stage: next(r.code.digest for n, r in records.items() if n.partition("@")[0] == stage)
        for stage in ("train", "generate", "score")
    }
    made = {}
    for number, (key, error) in enumerate(ERRORS.items()):
        values = yaml.safe_load(before)
        for name, text in BY_KEY[key].overrides.items():
            section, parameter = name.split(".")
            values[section][parameter] = yaml.safe_load(text)
        mark = f"{number}" * 64
        own = scores(error)
        kept = {f"{name}.json": json_bytes(content) for name, content in own.items()}
        lineage = {
            "fingerprint": mark,
            "experiment": f"ablation-{key.replace('_', '-')}-{mark[:10]}",
            "baseline_commit": baseline,
            "code": code,
            "params": changed_params(before, yaml.safe_dump(values)),
            "seed": values["seed"],
            "digests": {
                **{path: f"{_md5(path.encode())}.dir" for path in SHARED},
                "data/scores": keep(root, kept),
                "models/lips": keep(root, {"model.safetensors": key.encode()}),
            },
        }
        made[key] = entry(BY_KEY[key], own, scores(ERRORS["full"]), lineage)
    (root / FILE).write_bytes(json_bytes(made))
    write_report(root)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "ablations")
    return root
