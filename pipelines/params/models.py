"""Sections of the cMDT: widths, diffusion, training, sampling."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipelines.params.section import Seconds, Section


class ModelParams(Section):
    """Widths of the cMDT."""

    frames: Annotated[int, Field(ge=8, le=2000)]
    width: Annotated[int, Field(ge=16, le=4096)]
    speech_hidden: Annotated[int, Field(ge=16, le=16384)]
    """Width between the two layers that embed the speech features of a frame's window."""
    feed_forward: Annotated[int, Field(ge=16, le=16384)]
    """Hidden width of the decoder's feed-forwards."""
    encoder_feed_forward: Annotated[int, Field(ge=16, le=16384)]
    """That of the condition encoders."""
    layers: Annotated[int, Field(ge=1, le=64)]
    heads: Annotated[int, Field(ge=1, le=64)]
    encoder_layers: Annotated[int, Field(ge=1, le=64)]
    encoder_heads: Annotated[int, Field(ge=1, le=64)]
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)]
    window: Annotated[int, Field(ge=0, le=16)]
    """Speech-feature window: frame i sees features within +-window of its centre."""
    attention: Literal["efficient", "softmax"] = "efficient"
    """Of decoder and encoders; softmax is the ablation, quadratic in the frames."""
    conditions: tuple[Literal["speech", "phonemes", "text", "first_pose"], ...] = (
        "speech",
        "phonemes",
        "text",
        "first_pose",
    )
    """What the model takes; what is left out has no weights."""
    positions: Literal["normal", "sinusoid"] = "normal"
    """What the learned embedding of the frames starts as."""

    @field_validator("conditions")
    @classmethod
    def _each_once(cls, conditions: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(conditions)) != len(conditions):
            raise ValueError(f"each at most once, not {', '.join(conditions)}")
        return conditions

    @model_validator(mode="after")
    def _whole_heads(self) -> ModelParams:
        for name in ("heads", "encoder_heads"):
            heads = getattr(self, name)
            if self.width % heads:
                raise ValueError(f"{name} is {heads}, but width {self.width} is no multiple of it")
        return self


class DiffusionParams(Section):
    steps: Annotated[int, Field(ge=21, le=10_000)]
    """At 20 and below the last beta of the linear schedule is not under 1."""
    target: Literal["x0", "epsilon", "v"] = "x0"
    """What the models predict."""
    loss: Literal["x0", "target"] = "x0"
    """Where their errors are counted: in x_0, as the paper has it, or in what they predict."""
    weighting: Literal["uniform", "snr"] = "uniform"
    """Weight of an error by diffusion step: the same, as the paper has it, or clip(SNR, 1, 5)."""
    null_probability: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of the training windows without speech, phonemes and text; guidance needs some."""

    @model_validator(mode="after")
    def _errors_that_stay_finite(self) -> DiffusionParams:
        """An error in eps is an error in x_0 times sqrt(SNR); one in v, times sqrt(SNR + 1)."""
        if self.target == "epsilon" and self.loss == "x0":
            raise ValueError(
                "target is 'epsilon' and loss 'x0': an error in the noise, counted in x_0, weighs "
                "1 / SNR, which is tens of thousands where all is noise, so that training "
                "explodes; set loss to 'target'"
            )
        if self.target != "x0" and self.loss == "target" and self.weighting == "snr":
            weighs = "SNR + 1" if self.target == "v" else "SNR"
            cure = "; or set loss to 'x0'" if self.target == "v" else ""
            raise ValueError(
                f"weighting is 'snr', which is for errors in x_0, but loss is 'target': errors in "
                f"{self.target} weigh those in x_0 by {weighs} already; set weighting to "
                f"'uniform'{cure}"
            )
        return self


class PartParams(Section):
    """Training of one of the three models."""

    steps: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    first_pose_weight: Annotated[float, Field(ge=0.0)] = 0.0
    velocity_weight: Annotated[float, Field(ge=0.0)] = 0.0
    """Of the error of the change from frame to frame (MDM's velocity loss); none in the paper."""


class TrainParams(Section):
    batch: Annotated[int, Field(ge=1)]
    loss_weight: Annotated[float, Field(gt=0.0)]
    grad_clip: Annotated[float, Field(gt=0.0)]
    ema: Annotated[float, Field(ge=0.0, lt=1.0)]
    normalise: bool
    workers: Annotated[int, Field(ge=1, le=1024)]
    """Processes that share every batch; losses agree for any number, up to rounding."""
    device: Literal["cpu", "cuda"]
    """Of every process; ``cuda``: one GPU each."""
    precision: Literal["float32", "bfloat16"]
    compile: bool
    """Run the model through ``torch.compile``."""
    threads: Annotated[int, Field(ge=1, le=256)]
    """CPU threads of a process; the last bits depend on it."""
    parts: tuple[Literal["lips", "expression", "pose", "all"], ...] = (
        "lips",
        "expression",
        "pose",
    )
    """Models that ``dvc repro`` trains: those that ``generate.models`` takes."""
    lips: PartParams
    expression: PartParams
    pose: PartParams
    all: PartParams
    """Of the one model of all 70 values."""

    @model_validator(mode="after")
    def _windows_for_all(self) -> TrainParams:
        if self.workers > self.batch:
            raise ValueError(
                f"workers is {self.workers}, but a batch has {self.batch} windows to share"
            )
        return self


class GenerateParams(Section):
    models: Literal["separate", "joint"] = "separate"
    """The paper's three, or the one of all 70 values in ``models/all``."""
    sampler: Literal["ddim", "ancestral", "dpm_solver"]
    steps: Annotated[int, Field(ge=1)]
    spacing: Literal["leading", "trailing", "log_snr"] = "leading"
    """Which of the diffusion steps the sampler visits."""
    guidance: Annotated[float, Field(ge=0.0, le=20.0)] = 1.0
    """Classifier-free guidance; 1: none."""
    overlap: Annotated[int, Field(ge=0, le=999)] = 0
    """Frames blended where two chunks meet."""
    mouth: Literal["reset", "carry"] = "reset"
    """A chunk's condition has the clip's first mouth, or the last generated one."""
    samples: Annotated[int, Field(ge=1, le=64)] = 1
    """Motions of one clip; the first is rendered, mean and spread of all are measured."""
    deadline_s: Seconds
