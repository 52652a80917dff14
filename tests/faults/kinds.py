"""Kinds of broken input: how each is made, and the reason under which it must be refused."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from dimitra.clips import Reason
from tests.faults import films, mp4
from tests.faults.films import film, good, hum, noise, picture_file, portrait, small, talk, wall

Stage = str
LISTING, INGEST, CROP = "listing", "ingest", "crop"

Maker = Callable[[], bytes] | Callable[[Path], None]


@dataclass(frozen=True)
class Kind:
    """One kind of broken clip.

    Attributes:
        name: becomes the clip's identity in the folder.
        make: makes the bytes of ``00001.mp4``; or, where ``special``, whatever lies there.
        stage: where it must be refused; None where it must pass.
        reason: with which code.
        special: ``make`` takes the path of ``00001.mp4`` and writes itself.
    """

    name: str
    make: Callable[..., object]
    stage: Stage | None
    reason: Reason | None
    special: bool = False

    def write(self, dataset: Path) -> None:
        path = dataset / "mp4" / self.name / "v" / "00001.mp4"
        path.parent.mkdir(parents=True)
        if self.special:
            self.make(path)
            return
        content = self.make()
        assert isinstance(content, bytes)
        path.write_bytes(content)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name is at most 107 bytes
    try:
        server = socket.socket(socket.AF_UNIX)
        server.bind(path.name)
        server.close()
    finally:
        os.chdir(here)


def _outside(path: Path) -> None:
    target = path.parents[4] / "private.mp4"
    target.write_bytes(good())
    path.symlink_to(target.resolve())


def _inside(path: Path) -> None:
    path.with_name("original.mp4").write_bytes(good())
    path.symlink_to("original.mp4")


def _latin(path: Path) -> None:
    name = os.fsencode(path.parent) + b"/caf\xe9.mp4"
    with open(name, "wb") as file:  # noqa: PTH123 - a name of bytes
        file.write(good())


def _same_id(path: Path) -> None:
    path.with_name("CLIP.mp4").write_bytes(good())
    path.with_name("clip.mp4").write_bytes(good())


def _sound_apart(path: Path, make: Callable[[Path], object]) -> None:
    path.write_bytes(talk(noise(50)))
    sound = path.parents[3] / "aac" / path.parent.parent.name / "v" / "00001.m4a"
    sound.parent.mkdir(parents=True)
    make(sound)


def _box_outside(path: Path) -> None:
    path.write_bytes(good())
    boxes = path.parents[3] / "txt" / path.parent.parent.name / "v" / "00001.txt"
    boxes.parent.mkdir(parents=True)
    boxes.write_text("Identity : \tid1\n\nFRAME \tX \tY \tW \tH \n000001 \t1.2 \t0.1 \t0.3 \t0.4\n")


def _flipped() -> bytes:
    """Bits of the picture turned in the middle of a file."""
    data = bytearray(film(portrait(40), sound=hum(1.6), options={"x264-params": "threads=1"}))
    begin, end = mp4.find(bytes(data), b"mdat")
    for place in np.random.default_rng(5).integers(begin + 9000, (begin + end) // 2, 40):
        data[place] ^= 1 << (place % 8)
    return bytes(data)


def _zeroed() -> bytes:
    data = bytearray(talk(portrait()))
    begin, end = mp4.find(bytes(data), b"mdat")
    middle = (begin + end) // 2
    data[middle : middle + 8000] = bytes(8000)
    return bytes(data)


def _cover() -> bytes:
    """Sound with a picture for its sleeve."""

    def sleeve(out: av.container.OutputContainer) -> None:
        stream = out.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        stream.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(noise(1, (64, 64))[0], format="rgb24")
        frame.pts = 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))

    return film([], sound=hum(2), extra=sleeve)


def _couple() -> list[films.Picture]:
    return [np.concatenate([one, one[:, ::-1]], 1) for one in portrait()]


def _leaves() -> list[films.Picture]:
    return [*portrait(30)[:18], *wall(12)]


def _half_a_face() -> list[films.Picture]:
    return [np.ascontiguousarray(one[:, 150:]) for one in portrait()]


def _no_mouth() -> list[films.Picture]:
    return [np.ascontiguousarray(one[:134]) for one in portrait()]


def _random(count: int) -> bytes:
    return np.random.default_rng(3).bytes(count)


PAGE = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>sorry</body></html>\n"
TARGET = "http://127.0.0.1:9/film.ts"
PLAYLISTS = {
    "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{TARGET}\n#EXT-X-ENDLIST\n",
    "ffconcat": f"ffconcat version 1.0\nfile '{TARGET}'\n",
    "mpd": f"<MPD><Period><BaseURL>{TARGET}</BaseURL></Period></MPD>\n",
    "xspf": f'<?xml version="1.0"?>\n<playlist><location>{TARGET}</location></playlist>\n',
    "asx": f'<ASX version="3.0"><entry><ref href="{TARGET}"/></entry></ASX>\n',
    "smil": f'<smil><body><video src="{TARGET}"/></body></smil>\n',
    "pls": f"[playlist]\nFile1={TARGET}\nNumberOfEntries=1\nVersion=2\n",
    "ram": f"{TARGET}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
}

LIMITS = {"max_duration_s": 20.0, "max_frames": 5000}
"""Lower than the profile's, so that what breaks them is quickly made."""

KINDS = (
    # What is no file, or not this one.
    Kind("folder", lambda path: path.mkdir(), LISTING, Reason.NOT_A_FILE, True),
    Kind("pipe", os.mkfifo, LISTING, Reason.NOT_A_FILE, True),
    Kind("socket", _socket, LISTING, Reason.NOT_A_FILE, True),
    Kind("link_gone", lambda path: path.symlink_to("no.mp4"), LISTING, Reason.MISSING_FILE, True),
    Kind(
        "link_circle",
        lambda path: path.symlink_to(path.name),
        LISTING,
        Reason.MISSING_FILE,
        True,
    ),
    Kind("link_outside", _outside, LISTING, Reason.OUTSIDE_LINK, True),
    Kind("link_inside", _inside, None, None, True),
    Kind("name_in_latin_1", _latin, LISTING, Reason.BAD_NAME, True),
    Kind("same_id", _same_id, LISTING, Reason.DUPLICATE_ID, True),
    Kind(
        "other_extension",
        lambda path: path.with_suffix(".m3u8").write_text(PLAYLISTS["m3u8"]),
        LISTING,
        Reason.WRONG_EXTENSION,
        True,
    ),
    Kind("box_outside", _box_outside, LISTING, Reason.BAD_ANNOTATION, True),
    Kind("sound_pipe", lambda p: _sound_apart(p, os.mkfifo), LISTING, Reason.NOT_A_FILE, True),
    Kind(
        "sound_text",
        lambda path: _sound_apart(path, lambda sound: sound.write_text("no sound " * 99)),
        INGEST,
        Reason.NOT_MEDIA,
        True,
    ),
    # What is no media.
    Kind("empty", lambda: b"", INGEST, Reason.EMPTY_FILE),
    Kind("text", lambda: b"Dear reader, this is no video.\n" * 40, INGEST, Reason.NOT_MEDIA),
    Kind("web_page", lambda: b"\n\n" + PAGE, INGEST, Reason.NOT_MEDIA),
    Kind("zeros", lambda: bytes(50_000), INGEST, Reason.NOT_MEDIA),
    Kind("random", lambda: _random(50_000), INGEST, Reason.NOT_MEDIA),
    Kind("encrypted", lambda: good()[:32] + _random(50_000), INGEST, Reason.NOT_MEDIA),
    *(
        Kind(f"playlist_{name}", text.encode, INGEST, Reason.REFUSED_MEDIA)
        for name, text in PLAYLISTS.items()
    ),
    # What is cut off.
    Kind("cut_10", lambda: small()[: len(small()) // 10], INGEST, Reason.TRUNCATED),
    Kind("cut_50", lambda: small()[: len(small()) // 2], INGEST, Reason.TRUNCATED),
    Kind("cut_95", lambda: small()[: len(small()) * 95 // 100], INGEST, Reason.TRUNCATED),
    Kind("cut_in_index", lambda: small()[:-200], INGEST, Reason.TRUNCATED),
    Kind(
        "cut_after_index",
        lambda: film(noise(50), sound=hum(2), muxer={"movflags": "faststart"})[:-9000],
        INGEST,
        Reason.TRUNCATED,
    ),
    Kind("no_index", lambda: mp4.put(small(), (b"moov",), b""), INGEST, Reason.TRUNCATED),
    Kind(
        "reserved",
        lambda: small()[: len(small()) // 2] + bytes(len(small()) - len(small()) // 2),
        INGEST,
        Reason.TRUNCATED,
    ),
    # What is something else.
    Kind(
        "wav",
        lambda: films.sound_file("wav", "pcm_s16le", sound_format="s16"),
        INGEST,
        Reason.WRONG_EXTENSION,
    ),
    Kind("mp3", lambda: films.sound_file("mp3", "mp3"), INGEST, Reason.WRONG_EXTENSION),
    Kind(
        "matroska",
        lambda: film(noise(50), container="matroska", sound=hum(2)),
        INGEST,
        Reason.WRONG_EXTENSION,
    ),
    Kind(
        "webm",
        lambda: film(noise(30), "libvpx", "webm", options={}),
        INGEST,
        Reason.WRONG_EXTENSION,
    ),
    Kind(
        "avi", lambda: film(noise(30), "mpeg4", "avi", options={}), INGEST, Reason.WRONG_EXTENSION
    ),
    Kind("gif", lambda: picture_file("gif", "gif", 30, "rgb8"), INGEST, Reason.WRONG_EXTENSION),
    Kind("png", lambda: picture_file("apng", "apng", 1, "rgb24"), INGEST, Reason.WRONG_EXTENSION),
    Kind("apng", lambda: picture_file("apng", "apng", 9, "rgb24"), INGEST, Reason.WRONG_EXTENSION),
    Kind(
        "jpegs",
        lambda: picture_file("mjpeg", "mjpeg", 9, "yuvj420p"),
        INGEST,
        Reason.WRONG_EXTENSION,
    ),
    # Streams.
    Kind("no_video", lambda: films.sound_file("mp4", "aac"), INGEST, Reason.NO_VIDEO),
    Kind("cover", _cover, INGEST, Reason.NO_VIDEO),
    Kind("no_audio", lambda: film(noise(50)), INGEST, Reason.NO_AUDIO),
    Kind("sound_without_samples", lambda: film(noise(50), sound=hum(0)), INGEST, Reason.NO_AUDIO),
    Kind("streams_300", lambda: mp4.tracks_of(small(), 300), INGEST, Reason.TOO_MANY_STREAMS),
    Kind(
        "channels_64",
        lambda: film(
            noise(50),
            container="mov",
            sound=hum(2),
            sound_codec="pcm_s16le",
            layout="64 channels",
            sound_format="s16",
        ),
        INGEST,
        Reason.BAD_SOUND,
    ),
    Kind(
        "sample_rate_100",
        lambda: film(
            noise(50),
            container="mov",
            sound=hum(2),
            sound_codec="pcm_s16le",
            sound_rate=100,
            sound_format="s16",
        ),
        INGEST,
        Reason.BAD_SOUND,
    ),
    Kind(
        "codec_not_listed",
        lambda: film(noise(50), "png", pixels="rgb24", options={}, sound=hum(2)),
        INGEST,
        Reason.REFUSED_MEDIA,
    ),
    Kind("codec_unknown", lambda: small().replace(b"avc1", b"zzzz"), INGEST, Reason.REFUSED_MEDIA),
    Kind(
        "file_reference",
        lambda: mp4.elsewhere(small(), b"url ", b"file:///etc/hostname\0"),
        INGEST,
        Reason.REFUSED_MEDIA,
    ),
    Kind(
        "alias_reference",
        lambda: mp4.elsewhere(small(), b"alis", mp4.alias("/etc/hostname")),
        INGEST,
        Reason.REFUSED_MEDIA,
    ),
    Kind(
        "packed_index",
        lambda: mp4.put(small(), (b"moov",), mp4.box(b"moov", mp4.box(b"cmov"))),
        INGEST,
        Reason.REFUSED_MEDIA,
    ),
    Kind(
        "metadata_in_latin_1",
        lambda: talk(portrait()).replace(b"SoundHandler", b"Caf\xe9Handler\0"),
        None,
        None,
    ),
    # Durations and rates.
    Kind("too_short", lambda: talk(noise(10)), INGEST, Reason.TOO_SHORT),
    Kind(
        "too_long",
        lambda: film(noise(300, (16, 16)), fps=12, sound=hum(25)),
        INGEST,
        Reason.TOO_LONG,
    ),
    Kind(
        "too_long_in_truth",
        lambda: mp4.shorter(film(noise(550, (16, 16)), sound=hum(22)), 11),
        INGEST,
        Reason.TOO_LONG,
    ),
    Kind("fps_1", lambda: film(noise(5), fps=1, sound=hum(5)), INGEST, Reason.BAD_FRAME_RATE),
    Kind(
        "fps_1000",
        lambda: film(noise(1500, (16, 16)), fps=1000, sound=hum(1.5)),
        INGEST,
        Reason.BAD_FRAME_RATE,
    ),
    Kind("slow_motion", lambda: mp4.slower(small(), 5), INGEST, Reason.BAD_FRAME_RATE),
    Kind(
        "variable_rate",
        lambda: film(
            portrait(36), times=[40 * i + 9 * (i % 3) for i in range(36)], sound=hum(1.45)
        ),
        None,
        None,
    ),
    # Out of proportion.
    Kind("wide_100000", lambda: mp4.parameter_sets(small(), 100_000, 64), INGEST, Reason.TOO_LARGE),
    Kind(
        "wide_in_disguise",
        lambda: mp4.frame_size(mp4.parameter_sets(small(), 8192, 8192), 64, 64),
        INGEST,
        Reason.TOO_LARGE,
    ),
    Kind("wide_pixels", lambda: mp4.aspect(small(), 32_000, 1), INGEST, Reason.TOO_LARGE),
    Kind(
        "many_frames",
        lambda: film(noise(5200, (16, 16)), fps=240, sound=hum(2)),
        INGEST,
        Reason.TOO_LARGE,
    ),
    Kind("index_bomb", lambda: mp4.index_of(small(), 100_000_000), INGEST, Reason.TOO_LARGE),
    Kind("fragment_bomb", lambda: mp4.fragment_of(small(), 100_000_000), INGEST, Reason.TOO_LARGE),
    Kind("edit_bomb", lambda: mp4.edits_of(small(), 5000), INGEST, Reason.TOO_LARGE),
    # What only decoding shows.
    Kind("silent", lambda: talk(noise(50), hum(2, 0.0)), CROP, Reason.SILENT_AUDIO),
    Kind("sound_too_short", lambda: talk(portrait(), hum(0.4)), CROP, Reason.TOO_SHORT),
    Kind("picture_too_short", lambda: talk(portrait(12), hum(2)), CROP, Reason.TOO_SHORT),
    Kind(
        "size_changes",
        lambda: films.joined(portrait(), [p[:200, :200] for p in portrait()]),
        CROP,
        Reason.DECODE_ERROR,
    ),
    Kind("flipped_bits", _flipped, CROP, Reason.DECODE_ERROR),
    Kind("zeroed_middle", _zeroed, CROP, Reason.DECODE_ERROR),
    Kind("black", lambda: talk(wall(grey=0)), CROP, Reason.NO_FACE),
    Kind("no_face", lambda: talk([p[220:, 200:] for p in portrait()]), CROP, Reason.NO_FACE),
    Kind("half_a_face", lambda: talk(_half_a_face()), CROP, Reason.FACE_CUT),
    Kind("no_mouth", lambda: talk(_no_mouth()), CROP, Reason.FACE_CUT),
    Kind("face_leaves", lambda: talk(_leaves()), CROP, Reason.FACE_LOST),
    Kind("two_faces", lambda: talk(_couple()), CROP, Reason.SEVERAL_FACES),
    Kind("good", good, None, None),
)
