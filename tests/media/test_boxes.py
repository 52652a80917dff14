from __future__ import annotations

import io
import struct

import pytest

from dimitra.clips import ClipError, Reason
from dimitra.media.boxes import check_boxes, sniff_boxes
from dimitra.media.limits import MediaLimits
from tests.faults import mp4
from tests.faults.films import film, hum, noise, small, sound_file

LIMITS = MediaLimits(max_frames=5000)


def _check(data: bytes, limits: MediaLimits = LIMITS) -> None:
    check_boxes(io.BytesIO(data), len(data), limits, "film.mp4")


def _refusal(data: bytes, limits: MediaLimits = LIMITS) -> Reason:
    with pytest.raises(ClipError, match="film.mp4") as caught:
        _check(data, limits)
    return caught.value.reason


def test_films_as_muxers_write_them_pass() -> None:
    pictures = noise(50, (16, 16))
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    for data in (
        small(),
        film(pictures, container="mov", sound=hum(2)),
        film(pictures, sound=hum(2), muxer=fragments),
        film(pictures, sound=hum(2), muxer={"movflags": "faststart"}),
        small() + bytes(1000),
        small() + b"\x00\x00\x03\xe8\xff\xfe\x01\x02 what a disk had left" * 9,
    ):
        assert sniff_boxes(data[:64])
        _check(data)


@pytest.mark.parametrize(("count", "passes"), [(5000, True), (5001, False), (0xFFFFFFFF, False)])
def test_the_frames_that_an_index_claims_are_counted(count: int, passes: bool) -> None:
    for data in (mp4.index_of(small(), count), mp4.fragment_of(small(), count)):
        if passes:
            _check(data)
        else:
            assert _refusal(data) is Reason.TOO_LARGE


def test_edits_multiply_the_frames() -> None:
    _check(mp4.edits_of(small(), 100))  # 50 frames each
    assert _refusal(mp4.edits_of(small(), 101)) is Reason.TOO_LARGE


def test_uncompressed_sound_is_counted_in_blocks_not_samples() -> None:
    data = sound_file("mov", "pcm_s16le", seconds=2.0, sound_format="s16")
    _check(data, MediaLimits(max_frames=100))  # 32,000 samples
    run = mp4.full_box(b"stsc", mp4.numbers(1, 1, 1024 * 101, 1))
    many = mp4.put(data, (*mp4.TABLES, b"stsc"), run)
    assert _refusal(many, MediaLimits(max_frames=100)) is Reason.TOO_LARGE
    disguised = mp4.put(
        data, (*mp4.TABLES[:3], b"hdlr"), mp4.full_box(b"hdlr", bytes(4), b"vide", bytes(13))
    )
    assert _refusal(disguised, MediaLimits(max_frames=100)) is Reason.TOO_LARGE


def test_tables_count_wherever_they_stand() -> None:
    """Demuxers descend into boxes without asking what they stand in."""
    table = mp4.full_box(b"stsz", mp4.numbers(1, 6000))
    data = mp4.put(
        small(),
        (b"moov", b"trak", b"edts"),
        mp4.box(b"edts", mp4.box(b"udta", mp4.box(b"tref", table))),
    )
    assert _refusal(data) is Reason.TOO_LARGE


def test_sizes_of_64_bits_are_read() -> None:
    begin, end = mp4.find(small(), b"mdat")
    content = small()[begin + 8 : end]
    wide = struct.pack(">I4sQ", 1, b"mdat", 16 + len(content)) + content
    data = mp4.put(small(), (b"mdat",), wide)
    _check(data)
    longer = data.replace(struct.pack(">Q", len(wide)), struct.pack(">Q", len(wide) + 1 << 40))
    assert _refusal(longer) is Reason.TRUNCATED


def test_a_box_that_says_it_goes_to_the_end_does() -> None:
    ftyp, moov, mdat = (mp4.cut(small(), kind) for kind in (b"ftyp", b"moov", b"mdat"))
    _check(ftyp + moov + bytes(4) + mdat[4:])
    assert _refusal(ftyp + bytes(4) + mdat[4:] + moov) is Reason.TRUNCATED


def test_a_reference_to_the_file_itself_passes() -> None:
    reference = mp4.full_box(b"url ", flags=1)
    assert reference in mp4.cut(small(), *mp4.TABLES[:4], b"dinf")
    elsewhere = mp4.elsewhere(small(), b"url ", b"http://localhost/a.mp4\0")
    assert _refusal(elsewhere) is Reason.REFUSED_MEDIA


@pytest.mark.parametrize("cut", [9, 40, 1000, 100_000])
def test_a_film_that_is_cut_or_has_no_index_is_truncated(cut: int) -> None:
    assert _refusal(small()[:cut]) is Reason.TRUNCATED
    without = mp4.put(small(), (b"moov",), b"")
    assert _refusal(without) is Reason.TRUNCATED
    assert _refusal(without + bytes(2000)) is Reason.TRUNCATED


def test_noise_behind_a_good_beginning_is_no_media() -> None:
    ftyp = mp4.cut(small(), b"ftyp")
    assert _refusal(ftyp + b"\x00\x01\x00\x00\xde\xad\xbe\xef" * 500) is Reason.NOT_MEDIA


def test_many_tracks_and_boxes_are_refused() -> None:
    _check(mp4.tracks_of(small(), 15))
    assert _refusal(mp4.tracks_of(small(), 17)) is Reason.TOO_MANY_STREAMS
    assert _refusal(small() + mp4.box(b"free") * 200_001) is Reason.TOO_LARGE
