"""The box structure of mp4 and mov, read before a demuxer sees the file (ISO/IEC 14496-12).

A few bytes of such a file can order a demuxer to build an index of billions of entries, to unpack
a compressed index, or to fetch frames from another file. This walk reads box headers and a few
counts, allocates nothing in proportion to what they claim, and refuses such files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from dimitra.clips import ClipError, Reason
from dimitra.media.limits import MediaLimits, check_frames, check_streams

_CONTAINERS = frozenset(
    b"moov trak mdia minf dinf stbl edts mvex moof traf mfra udta tref ilst meta wave".split()
)
"""Boxes that hold boxes; demuxers descend into them wherever they stand."""

_MAX_BOXES = 200_000
_MAX_DEPTH = 12
_MAX_REFERENCES = 256
_NOT_SOUND = frozenset((b"vide", b"subp", b"clcp"))
_FIRST = frozenset(
    b"ftyp styp moov moof mdat wide free skip pnot uuid sidx emsg prft udta junk pict".split()
)
_PCM_BLOCK = 1024
"""Samples of uncompressed sound that a demuxer makes one index entry of."""


@dataclass
class _Track:
    """Counts of one ``trak`` box."""

    handlers: set[bytes] = field(default_factory=set)
    samples: int = 0
    deltas: list[tuple[int, int]] = field(default_factory=list)
    edits: int = 0
    chunks: int = 0
    runs: list[tuple[int, int]] = field(default_factory=list)

    def entries(self) -> int:
        """Index entries that a demuxer builds.

        One a sample for every edit; uncompressed sound, where every sample lasts one tick, has one
        for every block of samples of a chunk.
        """
        pcm = b"soun" in self.handlers and not self.handlers & _NOT_SOUND
        if not pcm or self.deltas != [(1, 1)]:
            return self.samples * max(1, self.edits)
        last = [first for first, _ in self.runs[1:]] + [self.chunks + 1]
        return sum(
            max(0, end - first) * -(-samples // _PCM_BLOCK)
            for (first, samples), end in zip(self.runs, last, strict=False)
        )


@dataclass(frozen=True)
class _Box:
    kind: bytes
    begin: int
    end: int
    depth: int


def sniff_boxes(head: bytes) -> bool:
    """Whether a file's first bytes are those of an mp4 or mov."""
    return head[4:8] in _FIRST


def check_boxes(file: BinaryIO, size: int, limits: MediaLimits, name: str) -> None:
    """Refuse an mp4 or mov that is cut off, or whose index is out of proportion.

    Args:
        file: open at any position.
        size: its bytes.
        limits: ``max_frames`` and ``max_streams`` count.
        name: of the file, for messages.

    Raises:
        ClipError: TRUNCATED, NOT_MEDIA, REFUSED_MEDIA (an external reference, a compressed
            index), TOO_LARGE or TOO_MANY_STREAMS.
    """
    tracks: list[_Track] = []
    fragments = 0
    indexed = False
    for box in _walk(file, size, name):
        indexed = indexed or box.kind == b"moov"
        if box.kind == b"trak":
            tracks.append(_Track())
            check_streams(len(tracks), limits, name)
        elif box.kind == b"cmov":
            raise ClipError(
                Reason.REFUSED_MEDIA, f"{name} has a compressed index (cmov); remux the file"
            )
        elif box.kind == b"dref":
            _check_references(file, box, name)
        elif box.kind == b"trun":
            fragments += _count(file, box, 4)
        elif tracks:
            _read_counts(file, box, tracks[-1], limits, name)
            check_frames(tracks[-1].entries(), limits, name)
    check_frames(fragments, limits, name)
    if not indexed:
        raise ClipError(
            Reason.TRUNCATED,
            f"{name} begins as mov data but its index (moov) is missing; copy it again",
        )


def _walk(file: BinaryIO, size: int, name: str) -> Iterator[_Box]:
    """Every box, parents first.

    Raises:
        ClipError: TRUNCATED, NOT_MEDIA or TOO_LARGE.
    """
    seen = 0
    indexed = False
    pending = [(0, size, 0)]
    while pending:
        position, end, depth = pending.pop()
        while position + 8 <= end:
            seen += 1
            if seen > _MAX_BOXES:
                raise ClipError(Reason.TOO_LARGE, f"{name} has more than {_MAX_BOXES} boxes")
            box, header = _box_at(file, position, end, depth)
            if box is None:
                if depth == 0 and not indexed and not _blank(file, position):
                    raise ClipError(
                        Reason.NOT_MEDIA,
                        f"{name} begins as mov data but holds no box at byte {position}: damaged "
                        "or encrypted; copy it again",
                    )
                break
            if depth == 0 and box.end > size:
                raise ClipError(
                    Reason.TRUNCATED,
                    f"{name} declares {box.end} bytes but has {size}; copy it again",
                )
            indexed = indexed or box.kind == b"moov"
            yield box
            position = box.end
            if box.kind in _CONTAINERS and depth < _MAX_DEPTH:
                pending.append((position, end, depth))
                inside = header + (4 if box.kind == b"meta" else 0)
                pending.append((inside, min(box.end, end), depth + 1))
                break


def _box_at(file: BinaryIO, position: int, end: int, depth: int) -> tuple[_Box | None, int]:
    """The box at a position and where its content begins; None where there is no box."""
    file.seek(position)
    header = file.read(16)
    length, kind = struct.unpack(">I4s", header[:8])
    begin = position + 8
    if length == 1 and len(header) == 16:
        length = struct.unpack(">Q", header[8:16])[0]
        begin = position + 16
    elif length == 0:
        length = end - position
    if length < begin - position or not all(0x20 <= byte < 0x7F or byte == 0xA9 for byte in kind):
        return None, begin
    return _Box(kind, begin, position + length, depth), begin


def _blank(file: BinaryIO, position: int) -> bool:
    """Whether zeros stand there, as where a download reserved room that it did not fill."""
    file.seek(position)
    return not any(file.read(16))


def _payload(file: BinaryIO, box: _Box, offset: int, length: int) -> bytes:
    file.seek(box.begin + offset)
    return file.read(max(0, min(length, box.end - box.begin - offset)))


def _count(file: BinaryIO, box: _Box, offset: int) -> int:
    data = _payload(file, box, offset, 4)
    return int.from_bytes(data, "big") if len(data) == 4 else 0


def _read_counts(file: BinaryIO, box: _Box, track: _Track, limits: MediaLimits, name: str) -> None:
    if box.kind == b"hdlr":
        track.handlers.add(_payload(file, box, 8, 4))
    elif box.kind in (b"stsz", b"stz2"):
        track.samples += _count(file, box, 8)
    elif box.kind == b"stts":
        track.deltas.append((_count(file, box, 4), _count(file, box, 12)))
    elif box.kind == b"elst":
        track.edits += _count(file, box, 4)
    elif box.kind in (b"stco", b"co64"):
        track.chunks += _count(file, box, 4)
    elif box.kind == b"stsc":
        count = _count(file, box, 4)
        check_frames(count, limits, name)
        table = _payload(file, box, 8, 12 * count)
        whole = len(table) // 12 * 12
        track.runs += [run[:2] for run in struct.iter_unpack(">III", table[:whole])]


def _check_references(file: BinaryIO, box: _Box, name: str) -> None:
    """Refuse a data reference that is not to the file itself (flag 1)."""
    position = 8
    count = _count(file, box, 4)
    if count > _MAX_REFERENCES:
        raise ClipError(Reason.TOO_LARGE, f"{name} has {count} data references in one track")
    for _ in range(count):
        entry = _payload(file, box, position, 12)
        if len(entry) < 12:
            return
        length, kind, flags = struct.unpack(">I4sI", entry)
        if not flags & 1 and length > 12:
            raise ClipError(
                Reason.REFUSED_MEDIA,
                f"{name} takes its frames from another file or address "
                f"({kind.decode('ascii', 'replace')!r} reference); give a file that holds them",
            )
        if length < 12:
            return
        position += length
