"""Edit lists that begin between two frames of video.

Cutting an mp4 without encoding it leaves whole groups of pictures in the file, and an edit list
that says where inside them the film begins: seldom where a frame does. libavformat drops the
frames before that point and lets the next one appear at once, up to a frame's duration early,
while sound is cut to the sample. ``late_s`` is what has to be given back to the picture.
"""

from __future__ import annotations

from av.container import InputContainer
from av.error import FFmpegError

from dimitra.media.container import MediaLimits, Source, open_media, video_stream
from dimitra.media.limits import check_frames
from dimitra.media.source import source_name

_ROUNDING_S = 0.0006
"""Edit lists count time in the unit of the whole film, often milliseconds."""


def late_s(source: Source, container: InputContainer, limits: MediaLimits) -> float:
    """How much later than its time stamp says each frame of video appears, seconds.

    Only the first edit counts, and an empty one before it.

    Args:
        source: path or bytes.
        container: the same, opened by ``open_media``.
        limits: as it was opened with.

    Raises:
        ClipError: what ``open_media`` raises, and TOO_LARGE.
    """
    stream = video_stream(container)
    if stream is None or not container.format.name.startswith("mov"):
        return 0.0
    begin = float((stream.start_time or 0) * (stream.time_base or 0))
    first = _first_shown(source, begin - _ROUNDING_S, limits)
    return 0.0 if first is None else max(0.0, first - begin)


def _first_shown(source: Source, begin_s: float, limits: MediaLimits) -> float | None:
    """Earliest time stamp from ``begin_s`` on, as the edit list alone has it."""
    first: float | None = None
    with open_media(source, limits, plain_stamps=True) as container:
        stream = video_stream(container)
        if stream is None:
            return None
        try:
            for count, packet in enumerate(container.demux(stream), start=1):
                check_frames(count, limits, source_name(source))
                if packet.pts is None or packet.time_base is None:
                    continue
                shown = float(packet.pts * packet.time_base)
                if shown >= begin_s and (first is None or shown < first):
                    first = shown
                decoded = shown if packet.dts is None else float(packet.dts * packet.time_base)
                if first is not None and decoded >= first:
                    break
        except FFmpegError:
            # What is wrong with the file is told by whoever decodes it.
            return first
    return first
