import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dimitra.animation import photo as photos
from dimitra.animation.errors import AnimationError
from dimitra.animation.photo import read_photo
from tests.animation.toy import image_file, photo


def small() -> Image.Image:
    return Image.fromarray(photo()).resize((128, 96))


def silent(_: str) -> None:
    raise AssertionError("nothing was left out")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG", "AVIF"])
def test_formats(tmp_path: Path, kind: str) -> None:
    file = image_file(tmp_path / "a", small(), format=kind)
    pixels = read_photo(file, silent)
    assert pixels.shape == (96, 128, 3)
    assert np.abs(pixels.astype(float) - np.asarray(small())).mean() < 12


def test_bytes_and_pixels_are_photos_too(tmp_path: Path) -> None:
    file = image_file(tmp_path / "a.png", small())
    assert np.array_equal(read_photo(file.read_bytes(), silent), np.asarray(small()))
    assert np.array_equal(read_photo(np.asarray(small()), silent), np.asarray(small()))
    with pytest.raises(AnimationError, match=r"float64 \[4, 4\]; need uint8 \[H, W, 3\]"):
        read_photo(np.zeros((4, 4)), silent)  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(tmp_path: Path, orientation: int) -> None:
    turned = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }[orientation]
    stored = small()
    for step in turned:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = image_file(tmp_path / "a.png", stored, exif=exif)
    assert np.array_equal(read_photo(file, silent), np.asarray(small()))


def test_what_is_transparent_becomes_white(tmp_path: Path) -> None:
    image = small().convert("RGBA")
    image.putalpha(0)
    assert (read_photo(image_file(tmp_path / "a.png", image), silent) == 255).all()
    palette = small().quantize(16)
    palette.info["transparency"] = 0
    file = image_file(tmp_path / "b.png", palette, transparency=0)
    assert read_photo(file, silent).shape == (96, 128, 3)


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "LA", "P"])
def test_greyscale_and_other_modes(tmp_path: Path, mode: str) -> None:
    file = image_file(tmp_path / "a.tif", small().convert(mode))
    assert read_photo(file, silent).shape == (96, 128, 3)


def test_sixteen_bits_keep_their_levels(tmp_path: Path) -> None:
    grey = np.asarray(small().convert("L"))
    file = image_file(tmp_path / "a.png", Image.fromarray(grey.astype(np.uint16) * 257))
    assert np.abs(read_photo(file, silent)[..., 0].astype(int) - grey).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_levels_of_cameras_are_taken_by_their_range(tmp_path: Path, bits: int) -> None:
    grey = np.asarray(small().convert("L")).astype(np.float64)
    grey *= 255.0 / grey.max()
    levels = np.rint(grey * (2**bits - 1) / 255.0).astype(np.uint16)
    tifffile.imwrite(tmp_path / "raw.tif", levels)
    read = read_photo(tmp_path / "raw.tif", silent)[..., 0]
    assert np.abs(read - grey).max() <= 1.0


@pytest.mark.parametrize(("bits", "said"), [(12, 1), (16, 0)])
def test_colour_that_does_not_fill_its_bits_is_told(tmp_path: Path, bits: int, said: int) -> None:
    levels = np.asarray(small().convert("RGB")).astype(np.uint16) * (2**bits // 256)
    tifffile.imwrite(tmp_path / "raw.tif", levels, photometric="rgb")
    told: list[str] = []
    read_photo(tmp_path / "raw.tif", told.append)
    assert len(told) == said
    assert all("raw.tif has 16 bits for a colour but fills" in one for one in told)


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    first = Image.new("RGB", (80, 80), (200, 0, 0))
    others = [Image.new("RGB", (80, 80), (0, 0, 10 * n)) for n in range(1, 4)]
    file = image_file(tmp_path / "a.gif", first, save_all=True, append_images=others)
    told: list[str] = []
    assert (read_photo(file, told.append)[0, 0] == (200, 0, 0)).all()
    assert told == ["a.gif is animated: its first frame is used, the others (3) are not looked at"]


@pytest.mark.parametrize("kind", ["TIFF", "MPO"])
def test_of_several_photos_in_a_file_the_first_is_taken(tmp_path: Path, kind: str) -> None:
    first, other = (Image.new("RGB", (80, 80), (level, 0, 0)) for level in (200, 20))
    file = image_file(tmp_path / "a", first, format=kind, save_all=True, append_images=[other])
    told: list[str] = []
    assert abs(int(read_photo(file, told.append)[0, 0, 0]) - 200) <= 2
    assert told == ["a holds several pictures; its first one is used, the other 1 are not"]


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_levels_in_floating_point(tmp_path: Path, top: float) -> None:
    grey = np.asarray(small().convert("L")).astype(np.float32) * np.float32(top / 255.0)
    grey[0, 0] = np.nan
    file = image_file(tmp_path / "a.tif", Image.fromarray(grey))
    read = read_photo(file, silent)[..., 0].astype(float)
    assert np.abs(read - np.nan_to_num(grey) * (255.0 / top)).max() <= 1


def test_a_large_photo_is_shrunk(tmp_path: Path) -> None:
    big = Image.fromarray(photo()).resize((12_000, 1_500))
    for name, options in (("a.jpg", {"quality": 30}), ("a.png", {"compress_level": 1})):
        file = image_file(tmp_path / name, big, **options)
        assert read_photo(file, silent).shape == (512, 4096, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: f.write_bytes(b""), "photo.x has no bytes; copy it again"),
        (lambda f: f.write_text("hello"), "photo.x is no photo that can be read; it takes JPEG"),
        (lambda f: f.mkdir(), "photo.x is a folder, not a file"),
        (lambda f: None, "photo.x is not a file, or a link"),
        (
            lambda f: f.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
            "photo.x is an HEIC photo, which is not read here; export or convert it as JPEG",
        ),
        (
            lambda f: small().resize((20, 20)).save(f, "PNG"),
            "photo.x has 20x20 pixels; a face needs at least 64 on the shorter side",
        ),
    ],
)
def test_what_is_no_photo(tmp_path: Path, make: object, message: str) -> None:
    file = tmp_path / "photo.x"
    make(file)  # type: ignore[operator]
    with pytest.raises(AnimationError) as raised:
        read_photo(file, silent)
    assert message in str(raised.value)


@pytest.mark.parametrize("place", [".", "", "/"])
def test_a_folder_without_a_name(place: str) -> None:
    said = (
        rf"^{re.escape(str(Path(place)))} is a folder, not a file; name the file that lies in it$"
    )
    with pytest.raises(AnimationError, match=said):
        read_photo(place, silent)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_truncated_photo(tmp_path: Path, kind: str, share: float) -> None:
    file = image_file(tmp_path / "a.x", small(), format=kind)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(AnimationError, match=r"a\.x is (damaged or cut off|no photo)"):
        read_photo(file, silent)


def test_a_photo_over_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "MAX_PIXELS", 10_000)
    file = image_file(tmp_path / "a.png", small())
    with pytest.raises(
        AnimationError, match=r"a.png has 128x96 = 12288 pixels, the limit is 10000"
    ):
        read_photo(file, silent)
    monkeypatch.setattr(photos, "MAX_BYTES", 10)
    with pytest.raises(AnimationError, match=r"a.png has \d+ bytes, the limit is 10; export"):
        read_photo(file, silent)


def test_a_header_that_claims_a_picture_without_end(tmp_path: Path) -> None:
    file = image_file(tmp_path / "a.png", small())
    data = bytearray(file.read_bytes())
    data[16:24] = (200_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    file.write_bytes(data)
    with pytest.raises(AnimationError, match=r"a.png has .* pixels, the limit is"):
        read_photo(file, silent)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_damaged_bytes_never_end_in_anything_else(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF") else {}
    data = image_file(tmp_path / "a.x", small(), format=kind, **options).read_bytes()
    rng = np.random.default_rng(0)
    read = 0
    for _ in range(150):
        damaged = bytearray(data)
        for place in rng.integers(0, min(len(data), int(rng.choice([60, 400, len(data)]))), 3):
            damaged[place] = rng.integers(0, 256)
        try:
            pixels = read_photo(bytes(damaged), lambda _: None)
        except AnimationError:
            continue
        read += 1
        assert pixels.shape[2] == 3
    assert read < 150
