"""A clip of the manifest for the tests of the speech stages."""

from dimitra.clips import Clip

CLIP = Clip(
    clip_id="toy-0",
    dataset="toy",
    identity="kal",
    source_video="v0",
    path="v0.mp4",
    audio_path=None,
    sha256="0" * 64,
    start_s=0.0,
    end_s=None,
    duration_s=3.08,
    fps=25.0,
    width=64,
    height=64,
    transcript=None,
    shard=0,
)
