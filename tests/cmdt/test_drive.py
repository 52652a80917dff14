import numpy as np
import pytest

from dimitra.cmdt.feature_windows import FeatureWindows
from tests.cmdt.corpus import FEATURES, TEXT, toy_clip


def test_window_is_centred_on_its_frames() -> None:
    drive = toy_clip("c", 100, seed=3).drive
    window = drive.window(10, 20, speech_window=1)
    speech = FeatureWindows.of([window.speech]).laid_out()[0]
    assert speech.shape == (20, 3 * FEATURES)
    for frame in (0, 7, 19):
        centre = int((10 + frame) * drive.rate_hz // 25)
        expected = drive.features[centre - 1 : centre + 2].reshape(-1)
        np.testing.assert_array_equal(speech[frame].numpy(), expected.astype(np.float32))
    np.testing.assert_array_equal(window.phonemes.numpy(), drive.phonemes[10:30])


def test_text_is_the_stretch_at_the_window_s_middle() -> None:
    drive = toy_clip("c", 100, seed=3).drive
    early, late = drive.window(0, 60, 1).text, drive.window(21, 60, 1).text
    assert early.shape == (5, TEXT)
    np.testing.assert_array_equal(late.numpy(), drive.text_tokens[1][:2])


@pytest.mark.parametrize(("start", "frames"), [(-1, 5), (0, 0), (96, 5)])
def test_a_window_outside_the_clip_is_refused(start: int, frames: int) -> None:
    with pytest.raises(ValueError, match="leaves a clip of 100 frames"):
        toy_clip("c", 100, seed=3).drive.window(start, frames, 1)
