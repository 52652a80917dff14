"""The whole of ``params.yaml``, and what its sections must agree on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.params.corpus import BudgetsParams, DatasetsParams, LimitsParams, ShardsParams
from pipelines.params.evaluation import EvaluateParams, ReportParams, SyncParams
from pipelines.params.faces import CropParams, FitParams
from pipelines.params.models import DiffusionParams, GenerateParams, ModelParams, TrainParams
from pipelines.params.rendering import TRAINED, RenderParams, TrainRendererParams
from pipelines.params.running import RayParams, StorageParams
from pipelines.params.section import Section, names_weights
from pipelines.params.speech import AlignTrainParams, SpeechParams, TranscribeParams


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


def weights_keys() -> tuple[str, ...]:
    """Keys whose value is a reference to weights or null: ``crop.detector_weights``."""
    return tuple(
        f"{name}.{key}"
        for name, section in Params.model_fields.items()
        if isinstance(section.annotation, type) and issubclass(section.annotation, Section)
        for key, field in section.annotation.model_fields.items()
        if names_weights(field)
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
