"""From a photo and a recording of speech to a video of a talking head."""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from dimitra.animation.credentials import Credentials, Signer, load_signer
from dimitra.animation.drawing import Renderer, check_size, chosen_renderer, load_renderer
from dimitra.animation.driving import Progress, drive_of
from dimitra.animation.errors import AnimationError
from dimitra.animation.face import FaceFinder, cut
from dimitra.animation.film import whole_file, write_film
from dimitra.animation.likeness import Likeness, read_likeness
from dimitra.animation.lip_contact import closing_shares, lips_of
from dimitra.animation.models import file_digests, load_models, models_folder
from dimitra.animation.motion import sampled_motion, staged
from dimitra.animation.notices import Notify
from dimitra.animation.photo import Photo, photo_name, read_photo
from dimitra.animation.places import video_places
from dimitra.animation.settings import Settings, parameter_file, read_settings
from dimitra.animation.sound import PLAYBACK_RATE_HZ, read_sound
from dimitra.assets import AssetError
from dimitra.faces.insightface import InsightFaceError
from dimitra.media.mark import LIP_CONTACT, metadata
from dimitra.media.source import Source
from dimitra.morphable.bfm import FaceModelFileError
from dimitra.morphable.deng import DengWeightsError
from dimitra.render.pirender_weights import PIRenderError
from dimitra.speech.errors import EncoderError
from dimitra.speech.features import VIDEO_FPS
from dimitra.speech.lexicon import DictionaryError
from dimitra.speech.mfa_program import MfaError, MfaMissingError
from dimitra.speech.transcript import RecogniserError

MAX_SCALE = 3.0

_EXPECTED = (
    AssetError,
    DengWeightsError,
    DictionaryError,
    EncoderError,
    FaceModelFileError,
    InsightFaceError,
    MfaError,
    MfaMissingError,
    PIRenderError,
    RecogniserError,
)
"""Errors of the library whose message says all that a person needs."""


@dataclass(frozen=True, eq=False)
class Animation:
    """What came out.

    Attributes:
        videos: one file a sample.
        motions: [T, 70] of each, as drawn.
        identity: [80], of the face in the photo.
        face_model: whose coefficients these are: ``open_head`` or ``bfm``.
        frames: T, at 25 frames a second.
        text: what was heard, or given.
        lip_contact: whether lips were made to meet at p, b and m.
        notices: sentences that a person should read.
    """

    videos: tuple[Path, ...]
    motions: tuple[NDArray[np.float32], ...]
    identity: NDArray[np.float32]
    face_model: str
    frames: int
    text: str
    lip_contact: bool
    notices: tuple[str, ...]


def animate(
    image: Photo,
    audio: Source,
    out: Path | str,
    *,
    models: Path | str = "models",
    params: Path | str | None = None,
    head_pose: bool = True,
    expression_scale: float = 1.0,
    seed: int | None = None,
    samples: int = 1,
    size: int | None = None,
    transcript: str | None = None,
    renderer: str | None = None,
    lip_contact: bool = True,
    credentials: Credentials | None = None,
    progress: Progress | None = None,
    notify: Notify | None = None,
) -> Animation:
    """Make the person of a photo speak.

    Args:
        image: a photo: a file, its bytes, or pixels [H, W, 3] uint8.
        audio: a recording, or a video whose sound is taken: a file or its bytes.
        out: the video, ``.mp4``; of several samples the others are ``NAME-2.mp4`` and so on. It is
            replaced when the new one is whole.
        models: folder with the trained parts, as ``dvc repro`` leaves them, or a model of MLflow
            that ``dimitra model export`` has made.
        params: parameters under which they were trained; by default ``params.yaml`` in that
            folder, beside it, or here.
        head_pose: False holds the head as in the photo.
        expression_scale: how far brows, lids and cheeks go from the photo's; the mouth is as
            generated.
        seed: of the noise; by default that of the parameters.
        samples: how many videos of the same speech.
        size: side of the video in pixels; by default ``render.size``.
        transcript: what is said; by default it is recognised.
        renderer: ``mesh`` or ``pirender``; by default ``render.renderer``.
        lip_contact: make the lips meet at p, b and m where the models leave them open; the video
            says so in its metadata. False draws the motion as generated.
        credentials: sign each video with these, as C2PA content credentials.
        progress: told of each step.
        notify: told what a person should know, as it comes up; also in the result.

    Raises:
        AnimationError: photo, recording, models or settings will not do; says why, and what helps.
        OSError: the video cannot be written.
    """
    notices: list[str] = []

    def told(notice: str) -> None:
        notices.append(notice)
        if notify is not None:
            notify(notice)

    report = progress or (lambda *_: None)
    videos = video_places(Path(out), samples, (image, audio))
    if not 0.0 <= expression_scale <= MAX_SCALE:
        raise AnimationError(f"an expression scale of {expression_scale}; it goes from 0 to 3")
    try:
        folder = Path(models)
        if not folder.is_dir():
            raise AnimationError(
                f"{folder.resolve()} is no folder; train the models with `make repro` in the "
                "checkout, or name the folder that holds them with --models DIR"
            )
        folder = models_folder(folder)
        signer = None if credentials is None else load_signer(credentials)
        settings = read_settings(parameter_file(folder, None if params is None else Path(params)))
        drawer = chosen_renderer(renderer, settings)
        side = settings.render.size if size is None else size
        check_size(side, drawer)
        with tempfile.TemporaryDirectory(prefix="dimitra-") as scratch:
            return _animate(
                image,
                audio,
                videos,
                folder,
                settings,
                Path(scratch),
                _Wishes(
                    drawer,
                    side,
                    settings.seed if seed is None else seed,
                    head_pose,
                    expression_scale,
                    transcript,
                    lip_contact,
                    signer,
                ),
                report,
                told,
                notices,
            )
    except _EXPECTED as error:
        raise AnimationError(str(error)) from error


@dataclass(frozen=True)
class _Wishes:
    """What a person asked for; see ``animate``."""

    renderer: str
    size: int
    seed: int
    head_pose: bool
    expression_scale: float
    transcript: str | None
    lip_contact: bool
    signer: Signer | None


def _animate(
    image: Photo,
    audio: Source,
    videos: Sequence[Path],
    folder: Path,
    settings: Settings,
    scratch: Path,
    wishes: _Wishes,
    report: Progress,
    told: Notify,
    notices: list[str],
) -> Animation:
    torch.set_num_threads(1)  # as in the stages; a second thread does not help models this small
    parts = load_models(folder, settings)
    name = photo_name(image)
    report("photo", 0, 1)
    pixels = read_photo(image, told)
    face = FaceFinder(settings.crop).find(pixels, wishes.size, name, told)
    likeness = read_likeness(face, pixels, settings, name, told)
    picture = cut(pixels, face.box, wishes.size)
    report("photo", 1, 1)
    draw = load_renderer(wishes.renderer, settings, wishes.size)

    sound = read_sound(audio, scratch, settings.limits, _decoding(report))
    drive, text = drive_of(sound, folder, settings, scratch, wishes.transcript, report, told)
    face_model = settings.fit.face_model
    lips = lips_of(face_model, likeness.identity, told) if wishes.lip_contact else None
    shares = closing_shares(drive.phonemes)
    motions = []
    for number, video in enumerate(videos):
        of = "" if len(videos) == 1 else f" {number + 1} of {len(videos)}"
        generated = sampled_motion(
            parts,
            drive,
            likeness.motion,
            settings.sampling(wishes.seed),
            number,
            functools.partial(report, f"motion{of}"),
        )
        motion = staged(
            generated,
            likeness.motion,
            parts[0].mouth,
            head_pose=wishes.head_pose,
            expression_scale=wishes.expression_scale,
            angle_limit_rad=settings.render.angle_limit_rad,
        )
        if lips is not None:
            motion = lips.closed(motion, shares)
        frames = _frames(draw, picture, settings.crop.size, likeness, motion, name)
        edits = () if lips is None else (LIP_CONTACT,)
        with (
            whole_file(video) as file,
            _signed(file, video.name, edits, wishes, folder, settings) as film,
        ):
            write_film(
                film,
                _counted(frames, len(motion), f"video{of}", report),
                wishes.size,
                VIDEO_FPS,
                sound.playback,
                PLAYBACK_RATE_HZ,
                settings.render.crf,
                settings.render.preset,
                metadata(video.stem, lip_contact=lips is not None),
            )
        motions.append(motion)
    return Animation(
        tuple(videos),
        tuple(motions),
        likeness.identity,
        face_model,
        sound.frames,
        text,
        lips is not None,
        tuple(notices),
    )


@contextmanager
def _signed(
    file: BinaryIO,
    title: str,
    edits: Sequence[str],
    wishes: _Wishes,
    folder: Path,
    settings: Settings,
) -> Iterator[BinaryIO]:
    """What the film is written to: ``file`` itself, or one whose signed copy ``file`` becomes."""
    if wishes.signer is None:
        yield file
        return
    with tempfile.TemporaryFile(prefix="dimitra-") as film:
        yield film
        film.seek(0)
        wishes.signer.sign(film, file, title, file_digests(folder, settings), edits)


def _decoding(report: Progress) -> Callable[[float, float | None], None]:
    def decoded(done_s: float, all_s: float | None) -> None:
        report("sound", math.ceil(done_s), 0 if all_s is None else math.ceil(all_s))

    return decoded


def _frames(
    draw: Renderer,
    picture: NDArray[np.uint8],
    fitted_size: int,
    likeness: Likeness,
    motion: NDArray[np.float32],
    name: str,
) -> Iterator[NDArray[np.uint8]]:
    """Frames of the video; the renderer's own refusals as errors of the photo."""
    try:
        yield from draw(picture, likeness.at(len(picture) / fitted_size), likeness, motion)
    except ValueError as error:
        raise AnimationError(f"the face in {name} cannot be drawn: {error}") from error


def _counted(
    frames: Iterator[NDArray[np.uint8]], count: int, step: str, report: Progress
) -> Iterator[NDArray[np.uint8]]:
    report(step, 0, count)
    for done, frame in enumerate(frames, start=1):
        yield frame
        report(step, done, count)
