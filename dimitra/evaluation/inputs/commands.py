"""Scripts that run another method on exported clips, to be called in its own checkout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dimitra.clips import check_clip_id
from dimitra.evaluation.inputs.coefficients import Given
from dimitra.evaluation.inputs.formats import Format

SCRIPT = "commands.sh"
_SCRIPT = """\
#!/usr/bin/env bash
# {method} on exported clips. In its checkout and environment:
#   SPLIT=/path/of/this/export OUT=/path/for/videos bash $SPLIT/{method}/{script}
# Paths without spaces: {method} hands some of them to a shell. A video that is there stays.
set -u
: "${{SPLIT:?the folder of the export}}" "${{OUT:?a folder for the videos}}"
mkdir -p "$OUT"
video() {{
  {call}
}}
for clip in \\
  {clips}
do
  [ -e "$OUT/$clip.mp4" ] || video "$clip" || echo "$clip: failed" >&2
done
"""
_STYLETALK = """\
python inference_for_demo.py \\
    --audio_path "$SPLIT/styletalk/phonemes/$1_seq.json" \\
    --style_clip_path "$SPLIT/styletalk/style/$1.mat" --pose_path "$SPLIT/styletalk/pose/$1.mat" \\
    --src_img_path "$SPLIT/first_frame/$1.png" --wav_path "$SPLIT/wav/$1.wav" \\
    --output_path "$OUT/$1.mp4\""""
_SADTALKER = """\
# resize: the picture is a face crop as it is; SadTalker's own crop would not be square
  python inference.py --preprocess resize --size 256{pose} \\
    --source_image "$SPLIT/first_frame/$1.png" --driven_audio "$SPLIT/wav/$1.wav" \\
    --result_dir "$OUT/$1" && mv "$OUT/$1"/*.mp4 "$OUT/$1.mp4\""""
_DREAMTALK = """\
python inference_for_demo_video.py --disable_img_crop --cfg_scale 1.0 \\
    --style_clip_path "$SPLIT/dreamtalk/style/$1.mat" --pose_path "$SPLIT/dreamtalk/pose/$1.mat" \\
    --image_path "$SPLIT/first_frame/$1.png" --wav_path "$SPLIT/wav/$1.wav" \\
    --output_name "$1" && mv "output_video/$1.mp4" "$OUT/$1.mp4\""""
_CALLS: Mapping[Format, str] = {
    "styletalk": _STYLETALK,
    "sadtalker": _SADTALKER,
    "dreamtalk": _DREAMTALK,
}


def script(method: Format, clips: Sequence[str], given: Given) -> str:
    """A Bash script that makes ``$OUT/<clip>.mp4`` of every clip; one that fails ends no other.

    Args:
        method: other than ``plain``.
        clips: ids of the clips whose files are all there.
        given: what the method is told of the true motion; the pose of SadTalker's video.

    Raises:
        ValueError: a clip id is malformed, so that it could be more than a word of the script.
    """
    pose = ' --ref_pose "$SPLIT/crops/$1.mp4"' if given == "clip" else ""
    return _SCRIPT.format(
        method=method,
        script=SCRIPT,
        call=_CALLS[method].replace("{pose}", pose),
        clips=" \\\n  ".join(check_clip_id(clip) for clip in clips),
    )
