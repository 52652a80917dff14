"""The real workers of ingest and crop, one after the other, without Ray."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dimitra.clips import Clip, Reason
from dimitra.shards import Members
from pipelines import crop
from pipelines import ingest as ingestion
from pipelines.closure import ROOT
from pipelines.params import Params, parse
from pipelines.runtime.quarantine import QuarantineRow
from pipelines.runtime.workers import OneByOne, process
from tests.faults.kinds import CROP, INGEST, LIMITS, LISTING


@dataclass(frozen=True)
class Fate:
    """What became of a clip: the stage that refused it and why, or None."""

    clip_id: str
    stage: str | None = None
    reason: Reason | None = None
    message: str = ""


def params_of(datasets: Path, **changes: Any) -> Params:
    """The sample profile on a folder ``vox``, with the lower limits of the tests."""
    values: dict[str, Any] = yaml.safe_load((ROOT / "conf" / "sample.yaml").read_text())
    values["datasets"] = {
        "root": str(datasets),
        "sets": {"vox": {"layout": "voxceleb2", "path": "vox", "split": "vox/v1"}},
    }
    values["limits"] |= LIMITS
    values["crop"]["mesh"] = "none"
    values |= changes
    return parse(values)


class Line:
    """Lists a folder once and sends clips of it through both workers."""

    def __init__(self, datasets: Path) -> None:
        self.root = datasets
        params = params_of(datasets)
        roots = {"vox": (datasets / "vox").as_posix()}
        shared = {"limits": params.limits.model_dump(), "roots": roots}
        work = ingestion.list_datasets(params.datasets, params.shards.count)
        self.units, self.refused = work.units, work.refused
        self.ingest = OneByOne(ingestion.make_worker(shared))
        self.crop = OneByOne(
            crop.make_worker(shared | {"crop": params.crop.model_dump(exclude={"deadline_s"})})
        )
        self.traces: dict[str, str] = {}

    def clips(self, identity: str) -> list[Clip]:
        """Clips that the listing lets through."""
        return [clip for unit in self.units for clip in unit.clips if clip.identity == identity]

    def probed(self, clip: Clip) -> Clip | Fate:
        """A clip's manifest row."""
        result = self._run(self.ingest, clip, INGEST)
        return result if isinstance(result, Fate) else Clip(**json.loads(result["clip.json"]))

    def cropped(self, clip: Clip) -> Members | Fate:
        """A clip's crop."""
        return self._run(self.crop, clip, CROP)

    def send(self, identity: str) -> list[Fate]:
        """What becomes of every clip of an identity."""
        begin = (f"vox-{identity}-", f"vox-mp4-{identity}-")
        fates = [
            Fate(row.clip_id, LISTING, Reason(row.reason), row.message)
            for row in self.refused
            if row.clip_id.startswith(begin)
        ]
        for clip in self.clips(identity):
            row = self.probed(clip)
            result = self.cropped(row) if isinstance(row, Clip) else row
            fates.append(result if isinstance(result, Fate) else Fate(clip.clip_id))
        return fates

    def _run(self, worker: OneByOne, clip: Clip, stage: str) -> Members | Fate:
        (outcome,) = process(worker, [(clip, {})], stage, self._trace)
        if isinstance(outcome, QuarantineRow):
            return Fate(clip.clip_id, stage, Reason(outcome.reason), outcome.message)
        return outcome

    def _trace(self, clip_id: str, text: str) -> None:
        self.traces[clip_id] = text
