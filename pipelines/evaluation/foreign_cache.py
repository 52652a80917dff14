"""Rows that were measured before: what an interrupted `dimitra evaluate` goes on from.

A row is a unit of the work cache, as a stage's shard is (``dimitra cache`` lists and removes it):
a tar with one member, ``row.json``. Its key is made of the bytes of both videos and of the sound,
and of everything that their number depends on (``foreign_settings.identity``), not of names. So a
second run finds what the first has measured, wherever the files lie by then, and a further method,
or a video made again, costs no more than itself.

What may lie in the machine and not in the files (``CIRCUMSTANCES``) is not kept. The message of a
video that could not be measured names its file, so it is found again under the same name alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dimitra.evaluation.definitions import GROUND_TRUTH
from dimitra.evaluation.rows import MEASURED, Row
from dimitra.evaluation.tasks import Answer, Settings, Task
from dimitra.metrics.summary import ClipValue
from dimitra.shards import json_bytes, read_shard, sha256_file, write_shard
from pipelines.runtime.quarantine import CIRCUMSTANCES
from pipelines.stores.work_cache import Finished, WorkCache, partial, work_key

STAGE = "evaluate-videos"
"""Name of these units in the cache."""
_CLIP, _PART = "row", "json"


def hears(settings: Settings) -> bool:
    """Whether a number depends on the sound: SyncNet does, and so does cropping."""
    return settings.crop is not None or (settings.network is not None and "sync" in settings.groups)


def _sha256(path: Path) -> str | None:
    """None for what cannot be read, whose row then says why."""
    try:
        return sha256_file(path) if path.is_file() else None
    except OSError:
        return None


def _files(task: Task, method: str, settings: Settings) -> dict[str, Path | None]:
    """The files that a row depends on, by their part in it."""
    return {
        "reference": task.reference,
        "sound": task.sound if hears(settings) else None,
        "generated": None if method == GROUND_TRUTH else task.generated[method],
    }


def _names(task: Task, method: str) -> list[str]:
    made = [] if method == GROUND_TRUTH else [task.generated[method].name]
    return [task.reference.name, *made]


def _methods(task: Task) -> tuple[str, ...]:
    return (*((GROUND_TRUTH,) if task.ground_truth else ()), *task.generated)


@dataclass(frozen=True)
class Known:
    """What the cache knows of a task.

    Attributes:
        rows: found.
        rest: what must be measured, None where nothing must.
        digests: file to sha256, of those that could be read.
    """

    rows: tuple[Row, ...]
    rest: Task | None
    digests: Mapping[str, str]

    @classmethod
    def nothing(cls, task: Task) -> Known:
        """Everything of a task must be measured."""
        return cls((), task, {})


@dataclass(frozen=True)
class KeptRows:
    """The rows of one kind of measurement in a work cache.

    Attributes:
        cache: a local one.
        identity: sha256 of ``foreign_settings.identity``.
        settings: what is measured.
    """

    cache: WorkCache
    identity: str
    settings: Settings
    _digests: dict[Path, str | None] = field(default_factory=dict)

    def look_up(self, task: Task) -> Known:
        """Rows of a task that are there, and what is left to measure."""
        rows: list[Row] = []
        left: list[str] = []
        for method in _methods(task):
            row = self._find(task, method)
            if row is None:
                left.append(method)
            else:
                rows.append(row)
        every = [path for name in _methods(task) for path in self._paths(task, name)]
        digests = {str(path): sha for path in every if (sha := self._digest(path)) is not None}
        rest = replace(
            task,
            generated={name: path for name, path in task.generated.items() if name in left},
            ground_truth=GROUND_TRUTH in left,
        )
        return Known(tuple(rows), rest if left else None, digests)

    def keep(self, task: Task, answer: Answer) -> None:
        """Keep the rows of an answer, each whole or not at all.

        Raises:
            OSError: the disk is full.
        """
        for row in answer.rows:
            key = self._key(task, row.method)
            same = all(
                self._digest(Path(path)) == sha256 for path, sha256 in answer.digests.items()
            )
            if key is None or not same or row.outcome in CIRCUMSTANCES:
                continue  # a file that was changed meanwhile has another key
            self._store(key, {"names": _names(task, row.method), "row": asdict(row)})

    def _paths(self, task: Task, method: str) -> list[Path]:
        files = _files(task, method, self.settings)
        return [path for path in files.values() if path is not None]

    def _digest(self, path: Path) -> str | None:
        if path not in self._digests:
            self._digests[path] = _sha256(path)
        return self._digests[path]

    def _key(self, task: Task, method: str) -> str | None:
        """None where a file cannot be read."""
        parts: dict[str, Any] = {"stage": STAGE, "identity": self.identity}
        for part, path in _files(task, method, self.settings).items():
            parts[part] = None if path is None else self._digest(path)
            if path is not None and parts[part] is None:
                return None
        return work_key(parts)

    def _store(self, key: str, value: Mapping[str, Any]) -> None:
        folder = partial(Path(self.cache.storage.root))
        try:
            shard = folder / f"{key}.tar"
            sidecar = write_shard(shard, {_CLIP: {_PART: json_bytes(value)}})
            self.cache.keep(shard, Finished(sidecar, ()), key, STAGE)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _find(self, task: Task, method: str) -> Row | None:
        key = self._key(task, method)
        finished = None if key is None else self.cache.find(key)
        if finished is None:
            return None
        place = self.cache.storage.path(self.cache.object_name(finished.sidecar.sha256))
        try:
            if sha256_file(place) != finished.sidecar.sha256:
                return None
            value = json.loads(read_shard(place)[_CLIP][_PART])
            row = row_of(value["row"])
        except (OSError, KeyError, TypeError, ValueError):
            return None  # damaged, or of another form: measured again
        if row.outcome != MEASURED and value["names"] != _names(task, method):
            return None
        generated = task.generated.get(method)
        return replace(
            row,
            clip=task.clip,
            method=method,
            identity=task.identity,
            reference=str(task.reference),
            generated="" if generated is None else str(generated),
        )


def row_of(value: Mapping[str, Any]) -> Row:
    """Inverse of ``dataclasses.asdict`` of a row.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    values = {key: ClipValue(**item) for key, item in value["values"].items()}
    return Row(**{**value, "values": values})


def join(
    tasks: Sequence[Task], known: Sequence[Known], answers: Mapping[str, Answer]
) -> list[Answer]:
    """Answers of all tasks, the rows of each in the order in which its methods stand."""
    joined = []
    for task, one in zip(tasks, known, strict=True):
        answer = answers.get(task.clip, Answer((), {}))
        rows = {row.method: row for row in (*one.rows, *answer.rows)}
        ordered = tuple(rows[method] for method in _methods(task))
        joined.append(Answer(ordered, {**one.digests, **answer.digests}))
    return joined
