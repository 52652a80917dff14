import av
import pytest

from dimitra.clips import ClipError, Reason
from dimitra.media.formats import (
    AUDIO_DECODERS,
    DEMUXERS,
    EXTENSIONS,
    VIDEO_DECODERS,
    refuse_text,
    sniff,
)
from tests.faults.films import film, hum, noise, sound_file

BEGINNINGS = {
    "mov": lambda: film(noise(5)),
    "matroska": lambda: film(noise(5), container="matroska"),
    "avi": lambda: film(noise(5), "mpeg4", "avi", options={}),
    "wav": lambda: sound_file("wav", "pcm_s16le", sound_format="s16"),
    "flac": lambda: sound_file("flac", "flac", sound_format="s16"),
    "ogg": lambda: sound_file("ogg", "libopus", sound_rate=48_000),
    "mp3": lambda: sound_file("mp3", "mp3"),
    "aiff": lambda: sound_file("aiff", "pcm_s16be", sound_format="s16"),
    "au": lambda: sound_file("au", "pcm_s16be", sound_format="s16"),
    "caf": lambda: sound_file("caf", "pcm_s16le", sound_format="s16"),
}


@pytest.mark.parametrize("family", BEGINNINGS)
def test_what_muxers_write_is_recognised(family: str) -> None:
    assert sniff(BEGINNINGS[family]()[:64]) == family


def test_other_beginnings_are_not() -> None:
    assert {
        sniff(head)
        for head in (b"", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"FORM\0\0\0\0ILBM", b"\x89PNG")
    } == {None}


def test_the_lists_name_what_there_is() -> None:
    assert set(EXTENSIONS.values()) == set(DEMUXERS)
    unheard = {name for name in VIDEO_DECODERS | AUDIO_DECODERS if name not in av.codecs_available}
    assert not unheard


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"\xef\xbb\xbf\r\n #EXTM3U\n", Reason.REFUSED_MEDIA),
        (b"<ASX version=", Reason.REFUSED_MEDIA),
        (b"<asx version=", Reason.REFUSED_MEDIA),
        (b"\n\n<!doctype HTML>", Reason.NOT_MEDIA),
    ],
)
def test_text_that_leads_elsewhere_is_told_by_its_beginning(head: bytes, reason: Reason) -> None:
    with pytest.raises(ClipError, match="film.mp4") as caught:
        refuse_text(head, "film.mp4")
    assert caught.value.reason is reason


def test_media_is_no_text() -> None:
    for make in BEGINNINGS.values():
        refuse_text(make()[:64], "film")
    refuse_text(film(noise(5), sound=hum(0.2))[:64], "film")
