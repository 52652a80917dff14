from __future__ import annotations

import io
import struct
from fractions import Fraction

import av
import pytest

from dimitra.media.container import DEFAULT_LIMITS, open_media
from dimitra.media.edits import late_s
from tests.media.films import KINDS, constant, events, film, variable

TIMES = {"29.97": constant(Fraction(30_000, 1001), 3.0), "vfr": variable(3.0)}


def _late(data: bytes) -> float:
    with open_media(data) as container:
        return late_s(data, container, DEFAULT_LIMITS)


def _film(container: str, rate: str, video_late_s: float = 0.0) -> bytes:
    times = TIMES[rate]
    at = [one + Fraction(str(video_late_s)) for one in events(times, 3)]
    return film(KINDS[container], times, at, video_late_s=video_late_s)


def _skip(data: bytes, seconds: Fraction) -> bytes:
    """Let the picture of an mp4 begin later, by its edit list."""
    at = data.index(b"elst") + 8
    count, _, media = struct.unpack_from(">IIi", data, at)
    assert count == 1
    edited = bytearray(data)
    struct.pack_into(">i", edited, at + 8, media + round(seconds * 90_000))
    return bytes(edited)


@pytest.mark.parametrize("container", KINDS)
@pytest.mark.parametrize("rate", TIMES)
@pytest.mark.parametrize("video_late_s", [0.0, 0.48])
def test_files_as_encoders_write_them_are_not_late(
    container: str, rate: str, video_late_s: float
) -> None:
    assert _late(_film(container, rate, video_late_s)) < 0.001


@pytest.mark.parametrize("rate", TIMES)
@pytest.mark.parametrize("skipped", ["0.1", "0.487", "0.62", "1.3"])
def test_the_picture_is_late_by_what_lacks_to_its_next_frame(rate: str, skipped: str) -> None:
    begin = Fraction(skipped)
    following = min(time for time in TIMES[rate] if time >= begin)
    late = _late(_skip(_film("mp4", rate), begin))
    assert late == pytest.approx(float(following - begin), abs=2 / 90_000)


def test_fragments_are_read_too() -> None:
    whole, buffer = _film("mp4", "29.97"), io.BytesIO()
    with (
        av.open(io.BytesIO(whole)) as source,
        av.open(
            buffer, "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov"}
        ) as target,
    ):
        streams = {one.index: target.add_stream_from_template(one) for one in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    assert b"moof" in buffer.getvalue()
    assert _late(buffer.getvalue()) < 0.001
