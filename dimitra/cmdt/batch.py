"""The windows of one training step: packed on the host, whole on the device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dimitra.cmdt.conditions import Condition, Conditions, pad_stack
from dimitra.cmdt.drive import DriveWindow
from dimitra.cmdt.feature_windows import FeatureWindows


@dataclass(frozen=True, eq=False)
class PackedConditions:
    """Conditions of a batch of windows in the form in which they are sent to a device.

    Attributes:
        speech: every feature once.
        phonemes: values [B, N] int64.
        text: values [B, L, E], in the type that they are stored in.
        first_pose: values [B, 1, d].
    """

    speech: FeatureWindows
    phonemes: Condition
    text: Condition
    first_pose: Condition

    @classmethod
    def of(cls, drives: Sequence[DriveWindow], first_poses: Tensor) -> PackedConditions:
        """Pack windows, padded to the longest.

        Args:
            drives: B windows.
            first_poses: [B, d].
        """
        real = torch.ones(len(drives), 1, dtype=torch.bool)
        return cls(
            speech=FeatureWindows.of([drive.speech for drive in drives]),
            phonemes=Condition("phonemes", *pad_stack([drive.phonemes for drive in drives])),
            text=Condition("text", *pad_stack([drive.text for drive in drives])),
            first_pose=Condition("first_pose", first_poses[:, None], real),
        )

    def to(self, device: torch.device) -> Conditions:
        """Send them, and lay them out there."""
        phonemes, text = self.phonemes.to(device), self.text.to(device)
        return Conditions(
            speech=Condition("speech", self.speech.to(device).laid_out(), phonemes.mask),
            phonemes=phonemes,
            text=Condition("text", text.values.float(), text.mask),
            first_pose=self.first_pose.to(device),
        )


@dataclass(frozen=True, eq=False)
class Batch:
    """One training step's windows.

    Attributes:
        clip_ids: B clips; one can stand twice.
        clean: [B, N, d] x_0 in the units of the data, zero-padded.
        mask: [B, N] bool, True for the real frames.
        conditions: of each window; ``first_pose`` is the window's own first frame.
        noise: [B, N, d] standard normal.
        steps: [B] int64 diffusion steps.
        keys: [B] int64, each window's dropout noise (``dropout.key``).
    """

    clip_ids: tuple[str, ...]
    clean: Tensor
    mask: Tensor
    conditions: Conditions
    noise: Tensor
    steps: Tensor
    keys: Tensor


@dataclass(frozen=True, eq=False)
class PackedBatch:
    """A batch as it is made on the CPU.

    Attributes:
        clip_ids: as ``Batch``, and so ``clean``, ``mask``, ``noise``, ``steps`` and ``keys``.
        conditions: before they are laid out.
        unheard: [B] bool, True for the windows that see no speech, phonemes and text; None where
            all see them.
    """

    clip_ids: tuple[str, ...]
    clean: Tensor
    mask: Tensor
    conditions: PackedConditions
    noise: Tensor
    steps: Tensor
    keys: Tensor
    unheard: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        conditions = self.conditions.to(device)
        if self.unheard is not None:
            conditions = conditions.unheard(self.unheard.to(device))
        return Batch(
            self.clip_ids,
            self.clean.to(device),
            self.mask.to(device),
            conditions,
            self.noise.to(device),
            self.steps.to(device),
            self.keys.to(device),
        )
