"""The lineage record of a stage: what its outputs were made from, as ``lineage/<stage>.json``.

A record holds nothing that differs from run to run. It is committed to git, so that a number can be
followed back to the raw videos in a clone that has no artefacts. docs/audit.md describes the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dimitra.shards import json_bytes, write_atomic

SCHEMA = 1
"""Version of the file's layout."""
FOLDER = Path("lineage")


class LineageError(ValueError):
    """A lineage record is missing or malformed, or a target cannot be found."""


@dataclass(frozen=True)
class Artefact:
    """A file or a folder that a stage reads or writes.

    Attributes:
        path: relative to the checkout.
        sha256: of the file's bytes, or of the folder (``dimitra.lineage.tree``); None where it was
            not there.
        size_bytes: of all its files; raw videos, which the manifest tells of, are not counted.
        files: for a folder, relative path to sha256 of every file that is neither a shard nor a
            sidecar nor a raw video: those have their digests in ``shards`` and in the manifest.
    """

    path: str
    sha256: str | None
    size_bytes: int
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ShardFile:
    """A shard that a stage wrote.

    Attributes:
        path: relative to the checkout.
        sha256: of the tar's bytes.
        clips: clips in it.
        size_bytes: of the tar.
    """

    path: str
    sha256: str
    clips: int
    size_bytes: int


@dataclass(frozen=True)
class CodeVersion:
    """The code of a stage: the import closure of its module.

    Attributes:
        commit: the last one that touched a file of it; None outside git.
        uncommitted: digest of the files of it that differ from that commit; None where none does.
        digest: sha256 over names and digests of all files.
        files: path to sha256.
    """

    commit: str | None
    uncommitted: str | None
    digest: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class AssetUse:
    """Third-party weights or data that a stage may load.

    Attributes:
        name: the parameter that names it, or the asset itself where the code does.
        reference: see ``dimitra.assets``.
        sha256: of its bytes; None where it is not pinned.
        licence: SPDX identifier or name.
        source: where it comes from first.
    """

    name: str
    reference: str
    sha256: str | None
    licence: str
    source: str


@dataclass(frozen=True)
class LineageRecord:
    """What one stage read, ran and wrote.

    Attributes:
        stage: as in ``dvc.yaml``, ``train@lips``.
        command: that ran it.
        code: version of its code.
        params: every parameter it depends on, ``train.lips.steps`` to its value.
        inputs: what it read, sorted by path.
        outputs: what it wrote, sorted by path.
        shards: those among its outputs, sorted by path.
        clips: ``in``, ``out``, ``quarantined``: counts; ``reasons``: quarantined clips by reason
            code. None for a stage without a balance.
        assets: sorted by name.
        tools: programs and media libraries, name to version.
        packages: ``lock_sha256``, of ``constraints.txt``; distributions that the code imports, name
            to version.
        seeds: parameter to value.
        environment: processor, vector instructions, GPU: what rounding depends on.
        digests: ``split``, of the split table; ``model``, of the trained weights; where they apply.
        sides: of ``split`` alone: for each dataset what train and test hold
            (``dimitra.lineage.sides``).
    """

    stage: str
    command: str
    code: CodeVersion
    params: Mapping[str, Any]
    inputs: tuple[Artefact, ...]
    outputs: tuple[Artefact, ...]
    shards: tuple[ShardFile, ...] = ()
    clips: Mapping[str, Any] | None = None
    assets: tuple[AssetUse, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    sides: Mapping[str, Any] | None = None

    def output(self, path: str) -> Artefact | None:
        """The output with this path; None where the stage writes none such."""
        return next((one for one in self.outputs if one.path == path), None)

    def input(self, path: str) -> Artefact | None:
        """The input with this path; None where the stage reads none such."""
        return next((one for one in self.inputs if one.path == path), None)


def record_path(stage: str) -> Path:
    """``train@lips`` -> ``lineage/train-lips.json``."""
    return FOLDER / f"{stage.replace('@', '-')}.json"


def record_bytes(record: LineageRecord) -> bytes:
    """The file of a record."""
    return json_bytes({"schema": SCHEMA, **asdict(record)})


def write_record(record: LineageRecord, root: Path = Path()) -> None:
    """Write a record to its place below ``root``, atomically."""
    write_atomic(root / record_path(record.stage), record_bytes(record))


def parse_record(data: bytes, name: str) -> LineageRecord:
    """A record from the bytes of its file.

    Args:
        data: the bytes.
        name: of the file, for the message.

    Raises:
        LineageError: it is none, or of another layout.
    """
    try:
        values = json.loads(data)
        schema = values.pop("schema")
        if schema != SCHEMA:
            raise LineageError(
                f"{name} has layout {schema!r}, this program reads {SCHEMA}: run the stage again"
            )
        return LineageRecord(
            **{
                **values,
                "code": CodeVersion(**values["code"]),
                "inputs": tuple(Artefact(**one) for one in values["inputs"]),
                "outputs": tuple(Artefact(**one) for one in values["outputs"]),
                "shards": tuple(ShardFile(**one) for one in values["shards"]),
                "assets": tuple(AssetUse(**one) for one in values["assets"]),
            }
        )
    except LineageError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LineageError(f"{name} is no lineage record: {error!r}; run the stage again") from None


def read_records(root: Path = Path()) -> dict[str, LineageRecord]:
    """Records of a checkout, by stage.

    Raises:
        LineageError: there is none, or one is malformed, or lies under another stage's name.
    """
    paths = sorted((root / FOLDER).glob("*.json"))
    if not paths:
        raise LineageError(
            f"{root / FOLDER} holds no records: run `dvc repro`, or check out a commit with them"
        )
    found = {}
    for path in paths:
        record = parse_record(path.read_bytes(), str(path))
        if record_path(record.stage).name != path.name:
            raise LineageError(f"{path} is the record of {record.stage}; run the stage again")
        found[record.stage] = record
    return found
