import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dimitra.speech.phonemes import (
    CONSONANTS,
    NOISE_ID,
    PADDING_ID,
    PHONE_IDS,
    PHONES,
    SILENCE_ID,
    VOWELS,
    Interval,
    canonical,
    frame_phonemes,
    ipa_phone,
    reader,
)

# StyleTalk's table, as published with its samples (phindex.json).
STYLETALK = (
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG NSN OW OY P R S SH SIL T TH "
    "UH UW V W Y Z ZH"
)


def test_ids_are_those_of_styletalk() -> None:
    assert list(PHONES) == STYLETALK.split()
    assert (NOISE_ID, SILENCE_ID, PADDING_ID) == (24, 31, 41)
    assert len(VOWELS) == 15
    assert len(CONSONANTS) == 24
    assert len(PHONE_IDS) == 42


@pytest.mark.parametrize(
    ("label", "phone"),
    [("AH0", "AH"), ("iy2", "IY"), ("sp", "SIL"), ("", "SIL"), ("pau", "SIL"), ("spn", "NSN"),
     ("ax", "AH"), ("axr", "ER"), ("ns", "NSN"), ("ZH", "ZH")],
)  # fmt: skip
def test_labels_of_other_sources(label: str, phone: str) -> None:
    assert canonical(label) == phone


@pytest.mark.parametrize("label", ["PAD", "QQ", "e:"])
def test_unknown_labels_are_refused(label: str) -> None:
    with pytest.raises(ValueError, match="neither ARPAbet nor a known phone of the IPA"):
        canonical(label)


# Phones of english_mfa (mfa-models, config/acoustic/phone_groups/english_mfa.yaml).
ENGLISH_MFA = (
    "p pʷ pʰ pʲ kp b bʲ ɡb f fʷ fʲ v vʷ vʲ θ t̪ ð d̪ t tʷ tʰ tʲ ʈ ʈʲ ʈʷ ʔ d dʲ ɖ ɖʲ ɾ ɾʲ tʃ dʒ ʃ ʒ s "
    "z ɹ m m̩ mʲ ɱ n n̩ ɲ ɾ̃ ŋ l ɫ ɫ̩ ʎ ɟ ɟʷ ɡ ɡʷ c cʷ cʰ k kʷ kʰ ç h ɐ ə ɜː ɜ ɝ ɚ ʊ ɪ ɑ ɑː ɒ ɒː ɔ aː "
    "a æ aj aw i iː j ɛː ɛ e eː ej ʉ ʉː uː u w ʋ ɔj ow əw o oː"
)


def test_mfas_ipa_is_mapped_onto_the_whole_inventory() -> None:
    mapped = {ipa_phone(label) for label in ENGLISH_MFA.split()}
    assert mapped == {*VOWELS, *CONSONANTS}


@pytest.mark.parametrize(
    ("label", "phone"),
    [("tʰ", "T"), ("ɫ̩", "L"), ("ɾ̃", "N"), ("t̪", "TH"), ("ˈaɪ", "AY"), ("t͡ʃ", "CH"), ("ɑː", "AA"),
     ("spn", "NSN"), ("sil", "SIL"), ("", "SIL"), ("j", "Y"), ("y", "UW"), ("ç", "HH"),
     ("ɜ˞", "ER")],
)  # fmt: skip
def test_ipa(label: str, phone: str) -> None:
    assert ipa_phone(label) == phone


def test_a_source_is_read_in_one_alphabet() -> None:
    assert reader(["Y", "UW1", "spn"])("Y") == "Y"
    assert reader(["y", "øː", "spn"])("y") == "UW"


@given(
    st.lists(st.tuples(st.integers(1, 400), st.sampled_from(PHONES)), max_size=20),
    st.integers(0, 60),
    st.sampled_from([25, 30]),
)
def test_a_frame_takes_the_phone_at_its_centre(
    pieces: list[tuple[int, str]], frames: int, fps: int
) -> None:
    # Borders lie a third of a millisecond off the grid, so that none falls on a frame's centre.
    borders = np.cumsum([0, *(length for length, _ in pieces)]) / 1000 + 1 / 3000
    intervals = [Interval(borders[k], borders[k + 1], label) for k, (_, label) in enumerate(pieces)]
    ids = frame_phonemes(intervals, frames, fps)
    assert ids.dtype == np.int16
    for frame in range(frames):
        time = (frame + 0.5) / fps
        found = [item.label for item in intervals if item.start_s <= time < item.end_s]
        assert ids[frame] == PHONE_IDS[found[0] if found else "SIL"]


def test_overlapping_phones_are_refused() -> None:
    with pytest.raises(ValueError, match="starts before"):
        frame_phonemes([Interval(0.0, 0.2, "AA"), Interval(0.1, 0.3, "B")], 10)
