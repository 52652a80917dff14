"""Sections of the renderers and of their training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.params.section import AssetRef, Seconds, Section

TRAINED = "trained"
"""In ``render.weights``: the renderer that ``train_renderer`` has made."""


class RenderParams(Section):
    renderer: Literal["mesh", "pirender"]
    weights: AssetRef | None
    """PIRender's checkpoint, or ``trained``; null for the mesh renderer, which has none."""
    device: Literal["cpu", "cuda"]
    """Where it draws. On a GPU PIRender in 16 bits; the mesh renderer in batches, whose frames are
    the CPU's but for a level here and there."""
    angle_limit_rad: Annotated[float, Field(gt=0.0, le=3.2)] | None = None
    """How far each angle of the head may leave that of frame 0; null, as metrics need it: freely.
    0.2 in Dimitra's demonstrations, because PIRender blurs large turns."""
    size: Annotated[int, Field(ge=64, le=2048, multiple_of=2)]
    crf: Annotated[int, Field(ge=0, le=51)]
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"]
    deadline_s: Seconds


class TrainRendererParams(Section):
    """Training of a neural renderer on the corpus's own crops; off by default."""

    models: tuple[Literal["trained"], ...] = ()
    """``[trained]``: ``dvc repro`` trains one; ``[]``: none."""
    size: Annotated[int, Field(ge=64, le=1024, multiple_of=32)]
    """Pixels of its pictures."""
    descriptor: Annotated[int, Field(ge=8, le=4096)]
    widest: Annotated[int, Field(ge=8, le=4096)]
    """Most channels of any layer of warping and editing."""
    warp_width: Annotated[int, Field(ge=4, le=1024)]
    edit_width: Annotated[int, Field(ge=4, le=1024)]
    pairs: Annotated[int, Field(ge=1, le=1024)]
    """Pairs of frames a step; each is taken both ways."""
    loss: Literal["perceptual", "pixel"]
    """PIRender's, on VGG19's features; or ours, which needs no weights."""
    vgg_weights: AssetRef | None
    """VGG19 in torchvision's layout; null for the pixel loss."""
    normalise: bool
    """Train on shifted and scaled descriptors; what is saved takes raw ones all the same."""
    steps: Annotated[int, Field(ge=1)]
    warp_steps: Annotated[int, Field(ge=0)]
    """The first steps, which train mapping and warping alone."""
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    decay: Annotated[float, Field(gt=0.0, le=1.0)]
    decay_every: Annotated[int, Field(ge=1)]
    ema: Annotated[float, Field(ge=0.0, lt=1.0)]
    warp_weight: Annotated[float, Field(ge=0.0)]
    final_weight: Annotated[float, Field(ge=0.0)]
    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    threads: Annotated[int, Field(ge=1, le=256)]
    """CPU threads; the last bits depend on it."""
    cache_mb: Annotated[int, Field(ge=1)] = 1024
    """Memory for decoded frames; no byte depends on it."""

    @model_validator(mode="after")
    def _what_it_can(self) -> TrainRendererParams:
        if (self.loss == "perceptual") != (self.vgg_weights is not None):
            raise ValueError(
                f"loss is {self.loss!r} and vgg_weights {self.vgg_weights!r}: perceptual needs "
                "VGG19's weights (vgg19), pixel none (null)"
            )
        if self.warp_steps > self.steps:
            raise ValueError(f"warp_steps is {self.warp_steps}, more than steps {self.steps}")
        return self
