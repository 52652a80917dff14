"""Sections of SyncNet, the evaluation and the report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipelines.params.section import AssetRef, Seconds, Section, Share


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
    pictures_every: Annotated[int, Field(ge=1, le=1000)]
    """PSNR, SSIM and the features of FID look at every so many frames, from the first."""
    face_network: Literal["dlib", "arcface"]
    """What describes faces: dlib's network, or InsightFace's."""
    face_weights: AssetRef
    """``dlib_face_recognition``; ``insightface_buffalo_l``, or another network like its own."""
    faces_every: Annotated[int, Field(ge=1, le=1000)]
    """Faces are described in every so many frames, from the first."""
    frame_weights: AssetRef | None
    """An ONNX network from pictures to the features of FID; null for none."""
    clip_weights: AssetRef | None
    """An ONNX network from 16 frames to the features of FVD; null for none."""
    deadline_s: Seconds


class ReportParams(Section):
    videos_per_dataset: Annotated[int, Field(ge=1, le=100)]
