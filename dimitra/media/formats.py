"""What is accepted: containers, codecs, and how the first bytes of a file tell them apart."""

from __future__ import annotations

from dimitra.clips import ClipError, Reason
from dimitra.media.boxes import sniff_boxes

DEMUXERS = {
    "mov": "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska": "matroska,webm",
    "avi": "avi",
    "wav": "wav",
    "flac": "flac",
    "mp3": "mp3",
    "ogg": "ogg",
    "aac": "aac",
    "aiff": "aiff",
    "au": "au",
    "caf": "caf",
}
"""Container family to the demuxer's own name."""

EXTENSIONS = {
    ".mp4": "mov",
    ".m4v": "mov",
    ".mov": "mov",
    ".m4a": "mov",
    ".3gp": "mov",
    ".mkv": "matroska",
    ".mka": "matroska",
    ".webm": "matroska",
    ".avi": "avi",
    ".wav": "wav",
    ".flac": "flac",
    ".mp3": "mp3",
    ".ogg": "ogg",
    ".oga": "ogg",
    ".opus": "ogg",
    ".aac": "aac",
    ".aif": "aiff",
    ".aifc": "aiff",
    ".aiff": "aiff",
    ".au": "au",
    ".snd": "au",
    ".caf": "caf",
}
SOUND_EXTENSIONS = frozenset(
    [
        *(".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".mka", ".mp3"),
        *(".oga", ".ogg", ".opus", ".snd", ".wav"),
    ]
)
"""Those of ``EXTENSIONS`` that by custom hold sound alone."""
VIDEO_DECODERS = frozenset(
    [
        *("av1", "h263", "h264", "hevc", "libdav1d", "libvpx", "libvpx-vp9"),
        *("mjpeg", "mpeg2video", "mpeg4", "vp8", "vp9"),
    ]
)
AUDIO_DECODERS = frozenset(
    [
        *("aac", "ac3", "alac", "eac3", "flac", "libopus", "mp3", "mp3float", "opus"),
        *("pcm_alaw", "pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le", "pcm_mulaw"),
        *("pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le"),
        *("pcm_s8", "pcm_u8", "vorbis"),
    ]
)
_STARTS = {b"fLaC": "flac", b"OggS": "ogg", b"ID3": "mp3", b".snd": "au", b"caff": "caf"}
_PLAYLIST_STARTS = (
    b"#ext",
    b"ffconcat",
    b"<?xml",
    b"<mpd",
    b"<asx",
    b"<smil",
    b"<playlist",
    b"v=0",
    b"[playlist]",
    b"[reference]",
    b"rtsp",
    b"http://",
    b"https://",
    b"file:",
)
_PAGE_STARTS = (b"<!doctype html", b"<html")


def refuse_text(head: bytes, name: str) -> None:
    """Refuse playlists and web pages by their first bytes.

    Raises:
        ClipError: REFUSED_MEDIA or NOT_MEDIA.
    """
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(_PLAYLIST_STARTS):
        raise ClipError(
            Reason.REFUSED_MEDIA,
            f"{name} is a playlist or stream description ({head[:16]!r}); give the media "
            "file itself",
        )
    if text.startswith(_PAGE_STARTS):
        raise ClipError(
            Reason.NOT_MEDIA, f"{name} is a web page, as a failed download leaves; fetch it again"
        )


def sniff(head: bytes) -> str | None:
    """Container family that a file begins as; None where its first bytes are none of them."""
    if sniff_boxes(head):
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF"):
        return {b"AVI ": "avi", b"WAVE": "wav"}.get(head[8:12])
    if head.startswith(b"FORM"):
        return "aiff" if head[8:12] in (b"AIFF", b"AIFC") else None
    return next((family for start, family in _STARTS.items() if head.startswith(start)), None)
