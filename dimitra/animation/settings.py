"""What an animation takes over from the parameters under which its models were trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from dimitra.animation.errors import AnimationError
from dimitra.cmdt.parts import Models
from dimitra.cmdt.recursion import MouthRule, SamplingConfig
from dimitra.diffusion.samplers import Sampler
from dimitra.diffusion.spacing import Spacing
from dimitra.media.limits import MediaLimits

PARAMS = "params.yaml"
RENDERERS = {"mesh": "open_head", "pirender": "bfm"}
"""Each renderer, and the face model that it draws."""
SHORTEST_S = 0.2
"""Sound that is shorter holds no syllable."""

_S = TypeVar("_S")


@dataclass(frozen=True)
class CropSettings:
    """Section ``crop``: where the face is sought, and how it is cut out."""

    size: int
    detector: str
    detector_weights: str | None
    landmarks: str
    landmarks_weights: str
    margin: float


@dataclass(frozen=True)
class FitSettings:
    """Section ``fit``: the face model, and the effort of its fit."""

    face_model: str
    face_model_weights: str | None
    method: str
    encoder_weights: str | None
    device: str
    iterations: int
    smoothness: float
    prior: float
    max_residual_px: float


@dataclass(frozen=True)
class TranscribeSettings:
    """Section ``transcribe``."""

    model: str
    language: str
    beam_size: int


@dataclass(frozen=True)
class SpeechSettings:
    """Section ``speech``: encoders and aligner."""

    encoder: str
    encoder_weights: str
    block_s: float
    overlap_s: float
    text_encoder: str
    text_encoder_weights: str
    aligner: str
    dictionary: str | None
    mfa: Mapping[str, str]
    device: str
    text_tokens: int
    text_cell_s: float


@dataclass(frozen=True)
class GenerateSettings:
    """Section ``generate``: how motion is sampled."""

    models: Models
    sampler: Sampler
    steps: int
    spacing: Spacing
    guidance: float
    overlap: int
    mouth: MouthRule


@dataclass(frozen=True)
class RenderSettings:
    """Section ``render``."""

    renderer: str
    weights: str | None
    device: str
    angle_limit_rad: float | None
    size: int
    crf: int
    preset: str


@dataclass(frozen=True)
class Settings:
    """Everything that the steps read.

    Attributes:
        file: the parameter file.
        seed: of the run.
        limits: bounds on what is decoded.
        crop: face and crop.
        fit: face model.
        transcribe: recogniser.
        speech: encoders and aligner.
        generate: sampling.
        render: renderer and encoder.
    """

    file: Path
    seed: int
    limits: MediaLimits
    crop: CropSettings
    fit: FitSettings
    transcribe: TranscribeSettings
    speech: SpeechSettings
    generate: GenerateSettings
    render: RenderSettings

    def sampling(self, seed: int) -> SamplingConfig:
        """The section ``generate`` with a seed, as the motion model takes it."""
        own = self.generate
        return SamplingConfig(
            own.sampler, own.steps, seed, own.spacing, own.guidance, own.overlap, own.mouth
        )


def parameter_file(models: Path, given: Path | None) -> Path:
    """The parameters that belong to trained models: given, in their folder, beside it, or here.

    Raises:
        AnimationError: there are none.
    """
    if given is not None:
        if not given.is_file():
            raise AnimationError(f"{given}: no such parameter file")
        return given
    places = (models / PARAMS, models.parent / PARAMS, Path(PARAMS))
    for place in places:
        if place.is_file():
            return place
    looked = ", ".join(str(place) for place in dict.fromkeys(places))
    raise AnimationError(
        f"the parameters under which the models were trained are not there (looked at {looked}); "
        "put params.yaml into the folder of the models, or name it with --params FILE"
    )


def read_settings(file: Path) -> Settings:
    """Settings of a ``params.yaml``.

    Raises:
        AnimationError: the file cannot be read, or lacks a key.
    """
    import yaml

    try:
        values = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise AnimationError(f"{file} cannot be read: {error}") from None
    if not isinstance(values, Mapping) or not isinstance(values.get("seed"), int):
        raise AnimationError(f"{file} holds no parameters: a whole number `seed` is missing")
    limits = _section(MediaLimits, values, "limits", file)
    settings = Settings(
        file=file,
        seed=values["seed"],
        limits=replace(limits, min_duration_s=0.0),
        crop=_section(CropSettings, values, "crop", file),
        fit=_section(FitSettings, values, "fit", file),
        transcribe=_section(TranscribeSettings, values, "transcribe", file),
        speech=_section(SpeechSettings, values, "speech", file),
        generate=_section(GenerateSettings, values, "generate", file),
        render=_section(RenderSettings, values, "render", file),
    )
    _choices(settings)
    return settings


def _section(kind: type[_S], values: Mapping[str, Any], name: str, file: Path) -> _S:
    """A section as its class; keys that it does not have are those of other uses."""
    section = values.get(name)
    wanted = [field.name for field in fields(cast("Any", kind))]
    missing = [key for key in wanted if not isinstance(section, Mapping) or key not in section]
    if missing or not isinstance(section, Mapping):
        raise AnimationError(f"{file} lacks {', '.join(f'{name}.{key}' for key in missing)}")
    return kind(**{key: section[key] for key in wanted})


def _choices(settings: Settings) -> None:
    """Refuse names that no step knows."""
    generate = settings.generate
    for key, value, allowed in (
        ("generate.models", generate.models, get_args(Models)),
        ("generate.sampler", generate.sampler, get_args(Sampler)),
        ("generate.spacing", generate.spacing, get_args(Spacing)),
        ("generate.mouth", generate.mouth, get_args(MouthRule)),
        ("fit.face_model", settings.fit.face_model, ("open_head", "bfm")),
        ("speech.aligner", settings.speech.aligner, ("gmm", "pocketsphinx", "mfa")),
        ("render.renderer", settings.render.renderer, tuple(RENDERERS)),
    ):
        if value not in allowed:
            raise AnimationError(
                f"{settings.file}: {key} is {value!r}; there are {', '.join(allowed)}"
            )
