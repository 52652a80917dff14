"""Reading a photo that comes from anywhere: bounded, upright, without transparency, 8-bit RGB."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from dimitra.animation.errors import AnimationError
from dimitra.animation.input_names import input_name
from dimitra.animation.notices import Notify
from dimitra.clips import ClipError
from dimitra.media.source import open_source

Photo: TypeAlias = Path | str | bytes | NDArray[np.uint8]
"""A file, a file's content in memory, or pixels [H, W, 3] uint8."""

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF", "TIFF")
"""What is decoded at all; Pillow knows many more, which no camera writes."""
MAX_BYTES = 200_000_000
MAX_PIXELS = 200_000_000
"""14,000 x 14,000 pixels; 600 MB while it is decoded."""
WORKING_SIDE_PX = 4096
"""A larger photo is shrunk to this longer side before the face is sought."""
MIN_SIDE_PX = 64
BACKGROUND = (255, 255, 255)
"""Colour behind what is transparent."""

_HEIF_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif")
)
_INTEGER_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_WHITES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
_BITS = 258
"""TIFF's tag of the bits in a sample."""
_DARK = 64
"""Colour in 16 bits comes with its upper 8 alone; below this it had 14 bits or fewer."""
_NARROW = (
    "{name} has 16 bits for a colour but fills {share:.0%} of them, so it comes out dark and in "
    "few steps; export it with 8 bits"
)
_ALBUMS = frozenset(("MPO", "TIFF"))
"""Formats that hold several photos, not a film."""
_SEVERAL = "{name} holds several pictures; its first one is used, the other {others} are not"
_ANIMATED = "{name} is animated: its first frame is used, the others ({others}) are not looked at"


def photo_name(photo: Photo) -> str:
    """How messages call a photo.

    Raises:
        AnimationError: a path that only a folder can have.
    """
    return "the photo" if isinstance(photo, np.ndarray) else input_name(photo)


def read_photo(photo: Photo, notify: Notify) -> NDArray[np.uint8]:
    """Pixels of a photo, upright.

    Args:
        photo: what to read.
        notify: is told what was left out.

    Returns:
        [H, W, 3] RGB, its longer side at most ``WORKING_SIDE_PX``.

    Raises:
        AnimationError: not a photo, too large, too small, or damaged.
    """
    name = photo_name(photo)
    if isinstance(photo, np.ndarray):
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
            raise AnimationError(
                f"the photo is {photo.dtype} {list(photo.shape)}; need uint8 [H, W, 3], RGB"
            )
        _check_size(photo.shape[1], photo.shape[0], name)
        return _pixels(Image.fromarray(photo))
    try:
        with open_source(photo, name) as file:
            head = file.read(16)
            size = file.seek(0, 2)
            file.seek(0)
            _check_head(head, size, name)
            with warnings.catch_warnings():
                # Of damaged files, and of its own limit: ours is checked before any decoding.
                warnings.simplefilter("ignore")
                with Image.open(file, formats=FORMATS) as image:
                    return _decoded(image, name, notify)
    except ClipError as error:
        raise AnimationError(error.message) from None
    except Image.DecompressionBombError:
        raise AnimationError(_too_large(name, "more than twice as many")) from None
    except UnidentifiedImageError:
        raise AnimationError(
            f"{name} is no photo that can be read; it takes {', '.join(FORMATS)}"
        ) from None
    except (AnimationError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them meet
        raise AnimationError(
            f"{name} is damaged or cut off ({error}); copy or export it again"
        ) from error


def _check_head(head: bytes, size: int, name: str) -> None:
    if size == 0:
        raise AnimationError(f"{name} has no bytes; copy it again")
    if size > MAX_BYTES:
        raise AnimationError(
            f"{name} has {size} bytes, the limit is {MAX_BYTES}; export the photo as JPEG"
        )
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        raise AnimationError(
            f"{name} is an HEIC photo, which is not read here; export or convert it as JPEG or PNG "
            "(on an iPhone: Settings, Camera, Formats, Most Compatible)"
        )


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise AnimationError(_too_large(name, f"{width}x{height} = {width * height}"))
    if min(width, height) < MIN_SIDE_PX:
        raise AnimationError(
            f"{name} has {width}x{height} pixels; a face needs at least {MIN_SIDE_PX} on the "
            "shorter side, and looks good from 256 on"
        )


def _too_large(name: str, pixels: str) -> str:
    return f"{name} has {pixels} pixels, the limit is {MAX_PIXELS}; make it smaller"


def _decoded(image: Image.Image, name: str, notify: Notify) -> NDArray[np.uint8]:
    _check_size(*image.size, name)
    frames = int(getattr(image, "n_frames", 1))
    if frames > 1 and getattr(image, "is_animated", True):
        several = image.format in _ALBUMS
        notify((_SEVERAL if several else _ANIMATED).format(name=name, others=frames - 1))
    image.draft("RGB", (WORKING_SIDE_PX, WORKING_SIDE_PX))  # JPEG: decodes at a fraction of it
    image.load()
    bits = getattr(image, "tag_v2", {}).get(_BITS, (8,))
    if image.mode == "RGB" and max(bits) > 8:
        brightest = int(np.asarray(image).max())
        if brightest < _DARK:
            notify(_NARROW.format(name=name, share=(brightest + 1) / 256))
    return _pixels(ImageOps.exif_transpose(image))


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """8-bit RGB of the working size."""
    if max(image.size) > WORKING_SIDE_PX:
        image = image.copy()
        image.thumbnail((WORKING_SIDE_PX, WORKING_SIDE_PX), reducing_gap=2.0)
    if image.mode in _INTEGER_MODES or image.mode == "F":
        levels = np.nan_to_num(np.asarray(image).astype(np.float64))
        most = levels.max(initial=0.0)
        top = 1.0 if image.mode == "F" and most <= 1.0 else _range(most)
        image = Image.fromarray(np.clip(levels * (255.0 / top), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, (*BACKGROUND, 255)), layer)
    return np.array(image.convert("RGB"), np.uint8)


def _range(most: float) -> float:
    """White of a picture whose brightest level is ``most``: cameras write 8 to 16 bits."""
    return next((top for top in _WHITES if most <= top), _WHITES[-1])
