"""Sections of transcripts, aligner and speech features."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipelines.params.section import AssetRef, Seconds, Section


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
