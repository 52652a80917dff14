"""Deng's encoder over a clip, with an encoder whose answers are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dimitra.morphable.coefficients import COEFFICIENTS
from dimitra.morphable.deng_clip import encode_clip
from dimitra.morphable.deng_coefficients import from_vector
from dimitra.morphable.encoder import Encoding

_FRAMES = 7
_VALUES = torch.randn(_FRAMES, COEFFICIENTS, generator=torch.Generator().manual_seed(0))


def _encoder(frames: Tensor, landmarks: Tensor) -> Encoding:
    """Answers by the number that stands in a frame's first pixel."""
    numbers = frames[:, 0, 0, 0].long()
    return Encoding(from_vector(_VALUES[numbers]), landmarks[:, 0, :1] * torch.ones(3))


def _clip() -> tuple[Tensor, Tensor, Tensor]:
    frames = torch.zeros(_FRAMES, 8, 6, 3, dtype=torch.uint8)
    frames[:, 0, 0, 0] = torch.arange(_FRAMES)
    landmarks = torch.arange(_FRAMES).float()[:, None, None].expand(_FRAMES, 68, 2)
    detected = torch.tensor([True, True, False, True, True, True, False])
    return frames, landmarks, detected


def test_motion_is_frame_by_frame_and_identity_the_median_of_measured_frames() -> None:
    frames, landmarks, detected = _clip()
    found = encode_clip(_encoder, [frames[:4], frames[4:]], landmarks, detected)
    assert torch.equal(found.expression, _VALUES[:, 80:144])
    assert torch.equal(found.pose, torch.cat((_VALUES[:, 224:227], _VALUES[:, 254:257]), 1))
    assert torch.equal(found.crop, landmarks[:, 0, :1].expand(_FRAMES, 3))
    for name, columns in (
        ("identity", slice(0, 80)),
        ("texture", slice(144, 224)),
        ("illumination", slice(227, 254)),
    ):
        middle = _VALUES[detected][:, columns].sort(dim=0).values[2]
        assert torch.allclose(getattr(found, name), middle)
    assert found.height == 8
    alone = encode_clip(_encoder, [frames], landmarks, detected)
    assert torch.equal(alone.identity, found.identity)
    assert torch.equal(alone.expression, found.expression)


def test_a_clip_in_which_no_frame_was_measured_is_pooled_over_all() -> None:
    frames, landmarks, detected = _clip()
    found = encode_clip(_encoder, [frames], landmarks, torch.zeros_like(detected))
    assert torch.allclose(found.identity, _VALUES[:, :80].sort(dim=0).values[3])


def test_frames_and_landmarks_must_agree() -> None:
    frames, landmarks, detected = _clip()
    for short in (frames[:5], frames[:0]):
        with pytest.raises(ValueError, match="7 frames of landmarks and 7 marks beside"):
            encode_clip(_encoder, [short] if len(short) else [], landmarks, detected)
    with pytest.raises(ValueError, match="6 frames of landmarks"):
        encode_clip(_encoder, [frames], landmarks[:6], detected[:6])
