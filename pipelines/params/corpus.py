"""Sections about the videos: data sets, shards, limits, budgets."""

from __future__ import annotations

import datetime
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.params.section import Seconds, Section, Share

_VERSION = r"^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})$"
TAKEN = frozenset({"ablations", "paired"})
"""Names of files in ``metrics/`` that are not a data set's."""


class DatasetParams(Section):
    """One dataset of the corpus."""

    layout: Literal["voxceleb2", "hdtf", "celebvhq", "folder"]
    path: str
    """Folder, relative to ``datasets.root``."""
    split: str
    """Split folder under ``splits/``, for example ``chorus/v1``."""
    outside_links: bool = False
    """Links in the folder may lead out of it."""
    clips: str | None = None
    """A committed list of the clips that make up the dataset, one path a line, where it is a part
    of what lies in the folder (``splits/voxceleb2/v1/clips.txt``); by default all of them."""

    @field_validator("clips")
    @classmethod
    def _below_splits(cls, clips: str | None) -> str | None:
        path = PurePosixPath(clips or "splits/_")
        if path.parts[0] != "splits" or len(path.parts) < 2 or ".." in path.parts:
            raise ValueError("a list of clips lies below splits/, which the stages depend on")
        return clips


class DatasetsParams(Section):
    root: str = "datasets"
    """Folder of the videos: in the checkout, or anywhere by its absolute path. They are read there
    and never copied."""
    licence: str = "CC0-1.0"
    """Of the videos; goes into the shards' Croissant metadata."""
    creator: Annotated[str, Field(min_length=1)] = "the makers of these shards"
    """Who made the shards."""
    version: Annotated[str, Field(pattern=_VERSION)] = "1.0.0"
    """Semantic version of the shards; `dimitra dataset version` says when it has to grow."""
    published: datetime.date = datetime.date(2026, 11, 22)
    """Date of this version of the data."""
    sets: Annotated[dict[str, DatasetParams], Field(min_length=1)]

    @field_validator("sets")
    @classmethod
    def _names_of_their_own(cls, sets: dict[str, DatasetParams]) -> dict[str, DatasetParams]:
        taken = sorted(sets.keys() & TAKEN)
        if taken:
            raise ValueError(f"a data set cannot be called {taken[0]}: metrics/ has that file")
        return sets


class ShardsParams(Section):
    count: Annotated[int, Field(ge=1, le=100_000)]


class LimitsParams(Section):
    """Bounds on what is decoded at all."""

    min_duration_s: Seconds
    max_duration_s: Seconds
    max_pixels: Annotated[int, Field(ge=64 * 64, le=1 << 28)]
    max_side: Annotated[int, Field(ge=64, le=65535)]
    max_bytes: Annotated[int, Field(ge=1)]
    min_fps: Annotated[float, Field(gt=0.0)]
    max_fps: Annotated[float, Field(gt=0.0, le=1000.0)]
    max_frames: Annotated[int, Field(ge=1, le=10_000_000)]
    """Of one stream: frames of video, packets of sound."""
    max_streams: Annotated[int, Field(ge=1, le=1000)]
    min_sample_rate_hz: Annotated[int, Field(ge=1)]
    max_sample_rate_hz: Annotated[int, Field(ge=1)]
    max_channels: Annotated[int, Field(ge=1, le=64)]

    @model_validator(mode="after")
    def _ranges(self) -> LimitsParams:
        for name in ("duration_s", "fps", "sample_rate_hz"):
            lowest, highest = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if highest < lowest:
                raise ValueError(f"max_{name} {highest} is below min_{name} {lowest}")
        return self


class BudgetsParams(Section):
    """Largest quarantined share of a stage's clips before the run fails."""

    ingest: Share
    crop: Share
    fit: Share
    transcribe: Share
    speech: Share
    shard: Share
    generate: Share
    render: Share
    evaluate: Share
