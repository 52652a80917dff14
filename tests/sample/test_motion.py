import numpy as np
import pytest

from dimitra.sample.motion import Manner, animate, frame_times
from dimitra.sample.phones import Span
from dimitra.sample.prosody import HOP_S, measure
from dimitra.sample.voices import SAMPLE_RATE_HZ

PAIRED = ("eyeBlink", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeLookDown", "mouthSmile",
          "mouthFrown", "browOuterUp", "eyeWide")  # fmt: skip
UNITS = (
    *(f"{name}{side}" for name in PAIRED for side in ("Left", "Right")),
    *("jawOpen", "mouthClose", "browInnerUp", "mouthPucker"),
)
CALM = Manner(jaw=1.0, mood=1.0, nod=1.0, sway=0.0, blink_s=2.0, asymmetry=0.0)
PHONES = (Span("SIL", 0, 0.5), Span("AA", 0.5, 1.0), Span("M", 1.0, 1.2), Span("IY", 1.2, 1.6),
          Span("SIL", 1.6, 4.0))  # fmt: skip


def _tone(hertz: float = 150.0) -> np.ndarray:
    """A buzz that sounds while the phones are not silence."""
    t = np.arange(4 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    buzz = sum(np.sin(2 * np.pi * hertz * k * t) / k for k in range(1, 8))
    return (0.2 * buzz * ((t > 0.5) & (t < 1.6))).astype(np.float32)


def _animate(sense: str, seed: int = 0):
    prosody = measure(_tone(), PHONES)
    senses = [Span(sense, 0.5, 1.6)]
    return animate(4.0, PHONES, prosody, senses, CALM, UNITS, np.random.default_rng(seed))


def test_frames_are_centred_at_25_a_second():
    times = frame_times(4.0)
    assert len(times) == 100
    assert times[0] == pytest.approx(0.02)


def test_same_seed_same_motion_other_seed_other_blinks():
    a, b, c = _animate("happy"), _animate("happy"), _animate("happy", seed=1)
    np.testing.assert_array_equal(a.units, b.units)
    assert not np.array_equal(a.blink, c.blink)


def test_units_are_activations():
    motion = _animate("surprised")
    assert motion.units.shape == (100, len(UNITS))
    assert motion.units.min() >= 0
    assert motion.units.max() <= 1
    assert np.abs(motion.pose[:, :3]).max() < np.radians(15)


@pytest.mark.parametrize(
    ("sense", "unit"),
    [("happy", "mouthSmileLeft"), ("sad", "mouthFrownLeft"), ("surprised", "browOuterUpLeft")],
)
def test_the_face_shows_the_sense(sense, unit):
    column = UNITS.index(unit)
    spoken = slice(25, 40)
    assert _animate(sense).units[spoken, column].mean() > 0.2
    plain = _animate("neutral").units[spoken, column].mean()
    assert plain < 0.5 * _animate(sense).units[spoken, column].mean()


def test_the_mouth_is_open_on_the_vowel_and_shut_in_silence():
    jaw = _animate("neutral").units[:, UNITS.index("jawOpen")]
    assert jaw[13:24].max() > 0.4
    assert jaw[60:].max() < 0.1


def test_pitch_of_a_buzz():
    from dimitra.sample.prosody import _pitch

    hertz = _pitch(_tone(150.0), round(4 / HOP_S))
    sounding = hertz[60:150]
    assert np.median(sounding[sounding > 0]) == pytest.approx(150, rel=0.02)
    assert (hertz[200:] == 0).all()


def test_accents_lie_on_vowels():
    accents = measure(_tone(), PHONES).accents
    centres = {0.75, 1.4}
    assert {round(time, 3) for time, _ in accents} <= centres
