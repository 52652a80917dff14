"""Surgery on the boxes of an mp4 (ISO/IEC 14496-12)."""

from __future__ import annotations

import struct

TABLES = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def full_box(kind: bytes, *parts: bytes, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", flags), *parts)


def numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def find(data: bytes, *path: bytes, begin: int = 0, end: int | None = None) -> tuple[int, int]:
    """Where the first box of a path begins and ends."""
    position, stop = begin, len(data) if end is None else end
    while position < stop:
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        if kind == path[0]:
            if len(path) == 1:
                return position, position + length
            return find(data, *path[1:], begin=position + 8, end=position + length)
        position += length
    raise KeyError(path)


def cut(data: bytes, *path: bytes) -> bytes:
    """The box itself."""
    begin, end = find(data, *path)
    return data[begin:end]


def put(data: bytes, path: tuple[bytes, ...], new: bytes) -> bytes:
    """Replace a box, and correct the sizes of those around it."""
    begin, end = find(data, *path)
    changed = bytearray(data[:begin] + new + data[end:])
    for depth in range(1, len(path)):
        at, stop = find(data, *path[:depth])
        changed[at : at + 4] = numbers(stop - at + len(new) - (end - begin))
    return bytes(changed)


def index_of(data: bytes, samples: int) -> bytes:
    """Let the first track claim a number of samples of one byte, all in one chunk."""
    data = put(data, (*TABLES, b"stsz"), full_box(b"stsz", numbers(1, samples)))
    data = put(data, (*TABLES, b"stsc"), full_box(b"stsc", numbers(1, 1, samples, 1)))
    return put(data, (*TABLES, b"stts"), full_box(b"stts", numbers(1, samples, 512)))


def edits_of(data: bytes, count: int) -> bytes:
    """Let the first track show itself many times over."""
    edit = numbers(2000, 0, 1 << 16)
    return put(
        data,
        (b"moov", b"trak", b"edts"),
        box(b"edts", full_box(b"elst", numbers(count), edit * count)),
    )


def fragment_of(data: bytes, samples: int) -> bytes:
    """A fragmented file whose one fragment claims a number of samples without a size."""
    empty = box(
        b"stbl",
        cut(data, *TABLES, b"stsd"),
        *(full_box(kind, numbers(0)) for kind in (b"stts", b"stsc", b"stco")),
        full_box(b"stsz", numbers(0, 0)),
    )
    moov = cut(put(data, TABLES, empty), b"moov")
    mvex = box(b"mvex", full_box(b"trex", numbers(1, 1, 512, 1, 0)))
    run = full_box(b"trun", numbers(samples))
    traf = box(b"traf", full_box(b"tfhd", numbers(1), flags=0x20000), run)
    moof = box(b"moof", full_box(b"mfhd", numbers(1)), traf)
    return cut(data, b"ftyp") + box(b"moov", moov[8:], mvex) + moof + box(b"mdat", bytes(100))


def elsewhere(data: bytes, kind: bytes, location: bytes) -> bytes:
    """Let the first track take its frames from another file or address."""
    reference = box(kind, numbers(0), location)
    dref = full_box(b"dref", numbers(1), reference)
    return put(data, (*TABLES[:4], b"dinf", b"dref"), dref)


def alias(path: str) -> bytes:
    """A QuickTime alias record that names a file by its path."""
    text = path.encode()
    name = text.rpartition(b"/")[2][:63]
    volume = bytes(10) + bytes([0]) + bytes(27) + bytes(12)
    file = bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16)
    levels = struct.pack(">hh", 1, 1) + bytes(16)
    record = struct.pack(">hh", 2, len(text)) + text + (b"\0" if len(text) % 2 else b"")
    return volume + file + levels + record + struct.pack(">hh", -1, 0)


def _entry(data: bytes, change: bytes, codec: bytes) -> bytes:
    """Append a box to the sample description of the first track."""
    stsd = cut(data, *TABLES, b"stsd")
    at = stsd.index(codec) - 4
    length = struct.unpack(">I", stsd[at : at + 4])[0]
    entry = numbers(length + len(change)) + stsd[at + 4 : at + length] + change
    return put(data, (*TABLES, b"stsd"), box(b"stsd", stsd[8:at], entry, stsd[at + length :]))


def aspect(data: bytes, horizontal: int, vertical: int) -> bytes:
    """Let the pixels of the first track be as wide as that."""
    return _entry(data, box(b"pasp", numbers(horizontal, vertical)), b"avc1")


def frame_size(data: bytes, width: int, height: int) -> bytes:
    """Let the headers of the first track declare a frame size (of 16 bits)."""
    changed = bytearray(data)
    at = data.index(b"avc1", find(data, *TABLES, b"stsd")[0]) + 4
    changed[at + 24 : at + 28] = struct.pack(">HH", width, height)
    track = find(data, b"moov", b"trak", b"tkhd")[1]
    changed[track - 8 : track] = struct.pack(">II", width << 16, height << 16)
    return bytes(changed)


def _golomb(value: int) -> str:
    """Exponential-Golomb code, ue(v) of H.264 9.1."""
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def parameter_set(width: int, height: int) -> bytes:
    """Sequence parameter set of H.264 (7.3.2.1.1), baseline, for frames of whole macroblocks."""
    fields = (0, 0, 0, 0, 1)  # id, log2_max_frame_num - 4, order type, log2_max_lsb - 4, references
    bits = "".join(_golomb(value) for value in fields) + "0"
    bits += _golomb(width // 16 - 1) + _golomb(height // 16 - 1)
    bits += "1" + "1" + "0" + "0" + "1"  # frames only, direct 8x8, no cropping, no VUI, stop bit
    bits += "0" * (-len(bits) % 8)
    return bytes([0x67, 66, 0, 51]) + int(bits, 2).to_bytes(len(bits) // 8, "big")


def parameter_sets(data: bytes, width: int, height: int) -> bytes:
    """Let the H.264 of the first track have frames of a size."""
    picture_set = bytes([0x68, 0xCE, 0x38, 0x80])
    sequence = parameter_set(width, height)
    config = bytes([1, *sequence[1:4], 0xFF, 0xE1]) + struct.pack(">H", len(sequence)) + sequence
    config += bytes([1]) + struct.pack(">H", len(picture_set)) + picture_set
    stsd = cut(data, *TABLES, b"stsd")
    at = stsd.index(b"avc1") - 4
    fixed = stsd[at + 8 : at + 86]
    entry = box(b"avc1", fixed, box(b"avcC", config))
    return put(data, (*TABLES, b"stsd"), box(b"stsd", stsd[8:16], entry))


def tracks_of(data: bytes, count: int) -> bytes:
    """Repeat the first track."""
    moov = cut(data, b"moov")
    track = cut(data, b"moov", b"trak")
    return put(data, (b"moov",), box(b"moov", moov[8:], track * (count - 1)))


def slower(data: bytes, factor: int) -> bytes:
    """Let every frame of the first track stay longer."""
    stts = cut(data, *TABLES, b"stts")
    samples, delta = struct.unpack(">II", stts[16:24])
    table = full_box(b"stts", numbers(1, samples, delta * factor))
    return without_edits(put(data, (*TABLES, b"stts"), table))


def without_edits(data: bytes) -> bytes:
    """Drop the edit list of the first track."""
    return put(data, (b"moov", b"trak", b"edts"), box(b"free", bytes(28)))


def shorter(data: bytes, factor: int) -> bytes:
    """Let the durations in the headers (not the index) be a part of the true ones."""
    changed = bytearray(data.replace(b"edts", b"free"))
    for kind, offset in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)):
        at = data.find(kind)
        while at >= 0:
            place = at + 4 + offset
            value = struct.unpack(">I", data[place : place + 4])[0]
            changed[place : place + 4] = numbers(value // factor)
            at = data.find(kind, at + 4)
    return bytes(changed)
