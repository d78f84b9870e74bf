import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imagefinder.core.errors import EmptyImageError, ImageError, ImageTooLargeError
from imagefinder.images.decoding.full_depth import examine, examine_pixels
from imagefinder.images.decoding.pool import DecoderPool

LIMITS = {"max_bytes": 1 << 24, "max_pixels": 1 << 22}


def noise(seed, *shape, top=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, top, shape or (30, 40, 3)).astype(dtype)


def encoded(image, form="PNG", **options):
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png16(values, colour_type):
    """A PNG with 16 bits per channel, of ``(H, W, C)`` uint16; Pillow writes only grey ones."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff16(values, order="<", compression=1):
    """A TIFF with 16 bits per channel, of ``(H, W, C)`` uint16, stored plainly or with deflate."""
    height, width, channels = values.shape
    pixels = values.astype(order + "u2").tobytes()
    if compression != 1:
        pixels = zlib.compress(pixels)
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, 8),
        (259, 3, 1, compression),
        (262, 3, 1, 2),
        (273, 4, 1, 8 + len(bits)),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(pixels)),
    ] + ([(338, 3, 1, 2)] if channels == 4 else [])
    directory = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        short = kind == 3 and count == 1
        field = struct.pack(order + "HH", value, 0) if short else struct.pack(order + "I", value)
        directory += struct.pack(order + "HHI", tag, kind, count) + field
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(bits) + len(pixels))
    return start + bits + pixels + directory + b"\0\0\0\0"


def digest(data):
    return examine(data, **LIMITS).digest


def same(*files):
    digests = {digest(data) for data in files}
    assert "" not in digests
    return len(digests) == 1


def test_the_same_pixels_in_other_formats_and_modes():
    pixels = noise(1)
    grey = np.repeat(noise(2, 30, 40)[:, :, None], 3, axis=2)
    palette = Image.fromarray(pixels).quantize(16)
    assert same(
        encoded(pixels),
        encoded(pixels, compress_level=1),
        encoded(pixels, "BMP"),
        encoded(pixels, "TIFF"),
        encoded(pixels, "TIFF", compression="tiff_lzw"),
        encoded(pixels, "PPM"),
        encoded(pixels, "WEBP", lossless=True),
        encoded(Image.fromarray(pixels).convert("RGBA")),
    )
    assert same(encoded(grey), encoded(grey[:, :, 0]), encoded(Image.fromarray(grey[:, :, 0]).convert("LA")))
    assert same(encoded(palette), encoded(palette.convert("RGB")), encoded(palette, "GIF"))
    assert digest(encoded(pixels)) == examine_pixels(pixels).digest
    assert examine(encoded(pixels), **LIMITS).plain


def test_orientation_is_applied():
    pixels = noise(1)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned left, so that it is shown turned to the right
    assert same(encoded(pixels), encoded(np.ascontiguousarray(np.rot90(pixels)), exif=exif))
    assert not same(encoded(pixels), encoded(pixels, exif=exif))


def test_transparency_counts():
    rgba = np.dstack([noise(1), np.full((30, 40), 255, np.uint8)])
    other = rgba.copy()
    other[3, 4, 3] = 254
    assert not same(encoded(rgba), encoded(other))
    assert not examine(encoded(rgba), **LIMITS).transparent
    assert examine(encoded(other), **LIMITS).transparent
    palette = Image.fromarray(noise(1)).quantize(16)
    assert not same(encoded(palette), encoded(palette, transparency=3))
    assert not examine(encoded(palette, transparency=3), **LIMITS).plain


def test_frames_count():
    first, second, third = (Image.fromarray(noise(seed)) for seed in (1, 2, 3))
    for form in ("GIF", "TIFF", "PNG", "WEBP"):
        options = {"lossless": True} if form == "WEBP" else {}
        if form == "GIF":
            first, second, third = (image.quantize(32) for image in (first, second, third))
        one = encoded(first, form, save_all=True, append_images=[second], **options)
        other = encoded(first, form, save_all=True, append_images=[third], **options)
        longer = encoded(first, form, save_all=True, append_images=[second, third], **options)
        assert not same(one, other, longer)
        assert same(one, encoded(first, form, save_all=True, append_images=[second], **options))
        assert examine(one, **LIMITS).frames == 2
        assert not examine(one, **LIMITS).plain
        first, second, third = (image.convert("RGB") for image in (first, second, third))
    assert not same(
        *(encoded(first, "GIF", save_all=True, append_images=[second], duration=time) for time in (100, 200))
    )


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_lower_bits_count(channels):
    colour_type = {1: 0, 3: 2, 4: 6}[channels]
    values = noise(1, 30, 40, channels, top=1 << 16, dtype=np.uint16)
    files = [png16(values, colour_type)]
    for place in ((0, 0, 0), (29, 39, channels - 1)):
        changed = values.copy()
        changed[place] ^= 1
        files.append(png16(changed, colour_type))
    assert len(set(map(digest, files))) == 3
    assert "" not in map(digest, files)
    assert examine(files[0], **LIMITS).bits == 16
    assert not examine(files[0], **LIMITS).plain


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [1, 8])
def test_the_lower_bits_of_a_tiff_count(channels, order, compression):
    values = noise(1, 30, 40, channels, top=1 << 16, dtype=np.uint16)
    changed = values.copy()
    changed[7, 8, 1] ^= 1
    files = [tiff16(one, order, compression) for one in (values, changed)]
    assert len(set(map(digest, files))) == 2
    assert "" not in map(digest, files)
    assert same(files[0], png16(values, {3: 2, 4: 6}[channels]))


def test_labels_and_measured_values():
    labels = noise(1, 30, 40, top=20, dtype=np.uint16)
    assert not same(encoded(labels), encoded(labels + np.uint16(1)))
    assert same(encoded(labels), encoded(labels, "TIFF"))
    values = noise(1, 30, 40, top=9, dtype=np.float32)
    assert not same(encoded(values, "TIFF"), encoded(values * np.float32(1.000001), "TIFF"))
    wide = noise(1, 30, 40, top=1 << 30, dtype=np.int32)
    assert not same(encoded(wide, "TIFF"), encoded(wide + np.int32(1), "TIFF"))


def test_grey_with_transparency_in_16_bits_has_no_digest():
    examined = examine(png16(noise(1, 30, 40, 2, top=1 << 16, dtype=np.uint16), 4), **LIMITS)
    assert (examined.digest, examined.bits, examined.plain) == ("", 16, False)


def test_the_colour_profile_counts():
    pixels = noise(1)
    assert not same(encoded(pixels), encoded(pixels, icc_profile=b"another colour space"))
    cmyk = Image.fromarray(np.dstack([noise(1), noise(2, 30, 40)]), "CMYK")
    examined = examine(encoded(cmyk, "TIFF"), **LIMITS)
    assert examined.digest
    assert not examined.plain


def test_further_channels_leave_no_digest():
    data = encoded(noise(1), "TIFF")
    place = data.index(struct.pack("<HHI", 277, 3, 1)) + 8
    more = data[:place] + struct.pack("<H", 4) + data[place + 2 :]
    with contextlib.suppress(ImageError):  # Pillow versions that reject such a file
        assert examine(more, **LIMITS).digest == ""


def test_formats_that_hold_more_than_is_decoded():
    from pillow_heif import register_heif_opener

    register_heif_opener()
    assert examine(encoded(noise(1, 64, 64, 3), "HEIF"), **LIMITS).digest == ""
    photo = encoded(noise(1), "JPEG")
    assert digest(photo)
    motion = photo + b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
    assert digest(motion) == ""


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "TIFF", "WEBP"])
def test_damaged_files(form):
    data = encoded(noise(1), form)
    with pytest.raises(ImageError):
        examine(data[: len(data) // 2], **LIMITS)


def test_limits():
    with pytest.raises(EmptyImageError):
        examine(b"", **LIMITS)
    data = encoded(noise(1), "TIFF", save_all=True, append_images=[Image.fromarray(noise(2, 300, 40, 3))])
    with pytest.raises(ImageTooLargeError, match="frame 2"):
        examine(data, max_bytes=1 << 24, max_pixels=2000)
    assert examine(b"no image", **LIMITS).digest == ""


def test_a_worker_returns_the_same():
    pool = DecoderPool(workers=1, seconds=30, memory=1 << 30)
    try:
        for data in (encoded(noise(1)), encoded(noise(1, 30, 40, 4)), encoded(noise(1), "TIFF", save_all=True)):
            assert pool.examine(data, **LIMITS) == examine(data, **LIMITS)
        with pytest.raises(ImageError):
            pool.examine(encoded(noise(1))[:500], **LIMITS)
        assert pool.decode(encoded(noise(1)), **LIMITS).width == 40
    finally:
        pool.close()
