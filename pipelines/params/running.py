"""Sections about how and where to run; no byte of what comes out depends on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.params.section import Section

ShardStage = Literal[
    "ingest", "crop", "fit", "transcribe", "speech", "shard", "generate", "render", "evaluate"
]
"""Stages that are shard jobs."""


class StageResources(Section):
    """What every worker of a stage asks Ray for; what is left out is the stage's own default."""

    cpus: Annotated[float, Field(gt=0.0)] | None = None
    gpus: Annotated[float, Field(ge=0.0)] | None = None
    """Fraction of a GPU, or several."""
    memory_mb: Annotated[int, Field(ge=0)] | None = None
    """Memory set aside for it, not enforced."""
    batch: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Clips handed to the worker at once, where it takes several."""
    workers: Annotated[int, Field(ge=1, le=65536)] | None = None


class RayParams(Section):
    """How to run; never enters a stage's key, because the bytes do not depend on it."""

    address: str | None = None
    workers: Annotated[int, Field(ge=1, le=65536)] = 2
    """Actors a stage; on a cluster its cores, or what a job may take of them."""
    object_store_mb: Annotated[int, Field(ge=80)] = 300
    dashboard: bool = False
    """Start Ray's dashboard with a Ray of its own (a cluster has one anyway)."""
    mlflow: bool = True
    """Record in MLflow what every stage does."""
    stages: dict[ShardStage, StageResources] = Field(default_factory=dict)
    save_every: Annotated[int, Field(ge=1)] = 500
    """Training steps between two saved states, from which a training that was stopped goes on."""


class StorageParams(Section):
    """Where finished shards are kept; never enters a stage's key."""

    root: str | None = None
    """A folder that all nodes see (by default the work cache of the main checkout), or a URI such
    as ``s3://bucket/prefix``: then nodes share no path, and outputs hold only the sidecars."""
    media: str | None = None
    """URI of a copy of the raw videos, with the same relative paths (``datasets/...``); by
    default the driver puts them into ``root`` itself."""

    @field_validator("root")
    @classmethod
    def _folder_or_uri(cls, root: str | None) -> str | None:
        if root is None:
            return None
        scheme, separator, rest = root.partition("://")
        if separator and scheme in ("s3", "gs", "abfs") and rest and "@" not in rest:
            return root
        if not separator and Path(root).is_absolute():
            return root
        raise ValueError(
            "need an absolute folder, or s3://bucket/prefix without credentials (they come from "
            "the environment)"
        )

    @model_validator(mode="after")
    def _media_needs_a_uri(self) -> StorageParams:
        if self.media is not None and (self.root is None or "://" not in self.root):
            raise ValueError(
                f"media is {self.media!r}, but root {self.root!r} is no URI: with shared paths "
                "the workers read datasets.root"
            )
        return self
