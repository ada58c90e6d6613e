from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps
import pytest

from metricsmith.evaluation.pixels import checked_size, image_size, load_rgb
from metricsmith.sandbox.errors import DataError

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def pixels() -> Pixels:
    """A smooth 60×40 picture without any symmetry."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (9, 9), 3), np.uint8)


def saved(path: Path, image: PIL.Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_lossless_formats_give_the_very_pixels(suffix: str, pixels: Pixels, tmp_path: Path) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path / f"a.{suffix}", PIL.Image.fromarray(pixels), **options)
    assert np.array_equal(load_rgb(path), pixels)
    assert image_size(path) == checked_size(path) == (60, 40)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "YCbCr"])
def test_every_kind_of_jpeg_is_read_as_pil_reads_it(mode: str, pixels: Pixels, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", PIL.Image.fromarray(pixels).convert(mode))
    with PIL.Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"), int)
    assert np.abs(load_rgb(path) - expected).max() <= 1
    assert checked_size(path) == (60, 40)


def test_plain_cmyk_jpeg_is_not_taken_for_inverted(pixels: Pixels, tmp_path: Path) -> None:
    inverted = saved(tmp_path / "a.jpg", PIL.Image.fromarray(pixels).convert("CMYK")).read_bytes()
    marker = inverted.index(b"\xff\xee")  # Adobe's APP14, which says that the inks are inverted
    length = int.from_bytes(inverted[marker + 2 : marker + 4], "big")
    (tmp_path / "b.jpg").write_bytes(inverted[:marker] + inverted[marker + 2 + length :])
    with PIL.Image.open(tmp_path / "b.jpg") as image:
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(load_rgb(tmp_path / "b.jpg"), expected)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, suffix: str, pixels: Pixels, tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"a.{suffix}", PIL.Image.fromarray(pixels), exif=exif)
    with PIL.Image.open(path) as image:
        expected = np.asarray(PIL.ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(load_rgb(path), expected)
    assert image_size(path) == checked_size(path) == (expected.shape[1], expected.shape[0])
    assert (expected.shape[0] > expected.shape[1]) == (orientation > 4)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # PIL says so, and reads on
@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_broken_exif_is_as_none(exif: bytes, pixels: Pixels, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", PIL.Image.fromarray(pixels), exif=exif)
    assert load_rgb(path).shape == (40, 60, 3)
    assert image_size(path) == (60, 40)


@pytest.mark.parametrize("mode", ["P", "1", "L", "LA", "RGBA"])
def test_palette_alpha_and_gray_pngs(mode: str, pixels: Pixels, tmp_path: Path) -> None:
    image = PIL.Image.fromarray(pixels).convert(mode)
    path = saved(tmp_path / "a.png", image)
    assert np.array_equal(load_rgb(path), np.asarray(image.convert("RGB")))


def test_transparent_palette_is_dropped(pixels: Pixels, tmp_path: Path) -> None:
    image = PIL.Image.fromarray(pixels).convert("P")
    path = saved(tmp_path / "a.png", image, transparency=bytes(range(256)))
    assert np.array_equal(load_rgb(path), np.asarray(image.convert("RGB")))


def test_sixteen_bit_gray_is_scaled_not_clipped(pixels: Pixels, tmp_path: Path) -> None:
    gray = pixels[..., 0]
    path = saved(tmp_path / "a.png", PIL.Image.fromarray(gray.astype(np.uint16) * 257))
    assert np.array_equal(load_rgb(path), np.repeat(gray[..., None], 3, 2))


def test_sixteen_bit_colour_is_scaled(pixels: Pixels, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), pixels[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(load_rgb(tmp_path / "a.png"), pixels)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", PIL.Image.fromarray(np.ones((4, 4), np.float32)))
    with pytest.raises(DataError, match="floating-point pixels"):
        load_rgb(path)


def test_the_array_may_be_written_to(pixels: Pixels, tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        array = load_rgb(saved(tmp_path / name, PIL.Image.fromarray(pixels)))
        array[0, 0] = 7
        assert array.dtype == np.uint8
        assert array.flags.c_contiguous


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "gif", "tif"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_image_is_an_error(share: float, suffix: str, pixels: Pixels, tmp_path: Path) -> None:
    image = PIL.Image.fromarray(np.random.default_rng(0).permutation(np.tile(pixels, (4, 4, 1))))
    path = saved(tmp_path / f"a.{suffix}", image)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    for read in (load_rgb, checked_size):
        with pytest.raises(
            DataError, match=r"a\.\w+: the image('s header)? is (truncated|damaged)|not an image"
        ):
            read(path)


def test_jpeg_short_of_its_last_bytes_is_an_error(pixels: Pixels, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", PIL.Image.fromarray(pixels))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="truncated"):
        load_rgb(path)
    with pytest.raises(DataError, match="truncated"):
        checked_size(path)


def test_bytes_behind_the_end_of_a_jpeg_do_no_harm(pixels: Pixels, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", PIL.Image.fromarray(pixels))
    expected = load_rgb(path)
    path.write_bytes(path.read_bytes() + b"\0\0\0")
    assert np.abs(load_rgb(path).astype(int) - expected).max() <= 1
    assert checked_size(path) == (60, 40)


def _missing(path: Path) -> None:
    pass


def _empty(path: Path) -> None:
    path.touch()


def _text(path: Path) -> None:
    path.write_text("not pixels")


def _folder(path: Path) -> None:
    path.mkdir()


def _too_large(path: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 90000, 90000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + struct.pack(">I", zlib.crc32(header)) + b"\0\0\0\4IDAT"
    )


@pytest.mark.parametrize("read", [load_rgb, image_size, checked_size])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_missing, "the image is missing"),
        (_empty, "the image file is empty"),
        (_text, "this is not an image"),
        (_folder, "cannot be opened: Is a directory"),
        (_too_large, "exceeds limit"),
    ],
)
def test_what_is_no_image_is_named(
    make: Callable[[Path], None], reason: str, read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    make(path)
    with pytest.raises(DataError, match=reason) as error:
        read(path)
    assert error.value.file == path


@pytest.mark.parametrize("name", ["a\0b", "a\ud800", "a" * 5000])
def test_impossible_names_are_named(name: str) -> None:
    with pytest.raises(DataError):
        load_rgb(Path(name))
