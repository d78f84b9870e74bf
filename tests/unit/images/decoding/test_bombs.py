"""Small files that claim, or unpack to, huge images: rejected in little time and memory."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imagefinder.core.errors import DamagedImageError, ImageError, ImageTooLargeError
from imagefinder.images.decoding.pool import DecoderPool
from imagefinder.testing.extractors import textured_image

LIMITS = {"max_bytes": 8_000_000, "max_pixels": 20_000_000}
MEMORY = 256 << 20  # the minimum of the setting; these images need only a fraction of it


@pytest.fixture(scope="module")
def pool():
    pool = DecoderPool(workers=1, seconds=60, memory=MEMORY)
    yield pool
    pool.close()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *, more=b"", data=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + more
        + chunk(b"IDAT", data or zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


def tiff(tags, rest=b""):
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + rest


def encoded(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(textured_image(1, 64, 64)).save(buffer, kind, **options)
    return buffer.getvalue()


def with_ispe(kind, width, height):
    """An AVIF or HEIC image whose item claims another size."""
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    data = encoded(kind)
    assert b"ispe" in data
    return data.replace(b"ispe" + struct.pack(">III", 0, 64, 64), b"ispe" + struct.pack(">III", 0, width, height))


def webp(width, height):
    data = bytearray(encoded("WEBP", lossless=True))
    (bits,) = struct.unpack_from("<I", data, 21)
    struct.pack_into("<I", data, 21, bits & ~0xFFFFFFF | width - 1 | (height - 1) << 14)
    return bytes(data)


def gif(width, height, frame_width, frame_height):
    data = bytearray(encoded("GIF"))
    struct.pack_into("<HH", data, 6, width, height)
    place = data.index(b",", 13 + 3 * 256)
    struct.pack_into("<HH", data, place + 5, frame_width, frame_height)
    return bytes(data)


def ico(inner):
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(inner), 22) + inner


def jpeg(width, height):
    data = bytearray(encoded("JPEG"))
    place = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, place + 5, height, width)
    return bytes(data)


CLAIMS = {
    "PNG": png(60_000, 60_000),
    "PNG of one row": png(2_000_000_000, 1),
    "JPEG": jpeg(65_500, 65_500),
    "GIF screen": gif(65_535, 65_535, 64, 64),
    "GIF frame": gif(64, 64, 65_535, 65_535),
    "WebP": webp(16_383, 16_383),
    "TIFF": tiff({256: 100_000, 257: 100_000, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 100_000, 279: 100}),
    "AVIF": with_ispe("AVIF", 60_000, 60_000),
    "HEIC": with_ispe("HEIF", 60_000, 60_000),
    "ICO": ico(png(60_000, 60_000)),
    "BMP": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 50_000, 50_000, 1, 24, 0, 0, 0, 0, 0, 0),
    "PPM": b"P6 60000 60000 255\n" + bytes(100),
    "PSD": b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 30_000, 30_000, 8, 3) + bytes(14) + bytes(100),
    "QOI": b"qoif" + struct.pack(">IIBB", 60_000, 60_000, 3, 0) + bytes(100),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_header_claims_too_many_pixels(pool, name):
    with pytest.raises(ImageError) as caught:
        pool.decode(CLAIMS[name], **LIMITS)
    assert isinstance(caught.value, ImageTooLargeError | DamagedImageError), caught.value
    assert peak(pool) < 200 << 20


@pytest.mark.parametrize("name", ["PNG", "JPEG", "GIF screen", "WebP", "TIFF", "BMP", "PPM", "PSD", "QOI"])
def test_error_names_the_pixel_limit(pool, name):
    with pytest.raises(ImageTooLargeError, match="20,000,000 pixels") as caught:
        pool.decode(CLAIMS[name], **LIMITS)
    assert caught.value.unit == "pixels"


HUGE_TILES = tiff(
    {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 60_000, 323: 60_000, 324: 8, 325: 100}, bytes(100)
)


def zeros():
    """Compressed data that unpacks to 400 MB: one independent block, repeated."""
    packer = zlib.compressobj()
    block = bytes(10_000_000)
    first, again = (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * 39 + packer.flush()


MB400 = zeros()
TEXT_OF_400_MB = png(64, 64, more=chunk(b"zTXt", b"Comment\0\0" + MB400))
PROFILE_OF_400_MB = png(64, 64, more=chunk(b"iCCP", b"icc\0\0" + MB400))
ROWS_OF_400_MB = png(64, 64, data=MB400)


@pytest.mark.parametrize("data", [HUGE_TILES, TEXT_OF_400_MB, PROFILE_OF_400_MB, ROWS_OF_400_MB])
def test_data_that_unpacks_to_more_than_the_image(pool, data):
    try:
        image = pool.decode(data, **LIMITS)
    except ImageError:
        pass
    else:
        assert image.rgb.shape == (64, 64, 3)
    assert peak(pool) < MEMORY + (100 << 20)


def test_a_progressive_jpeg_of_thousands_of_scans(pool):
    data = encoded("JPEG", progressive=True, quality=50)
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    many = data[:-2] + scan * (2_000_000 // len(scan)) + data[-2:]
    image = pool.decode(many, **LIMITS)
    assert image.rgb.shape == (64, 64, 3)


def test_a_gif_of_thousands_of_frames_is_its_first(pool):
    frames = [Image.fromarray(np.full((64, 64), value % 256, np.uint8)) for value in range(1000)]
    buffer = io.BytesIO()
    frames[7].save(buffer, "GIF", save_all=True, append_images=frames)
    image = pool.decode(buffer.getvalue(), **LIMITS)
    assert (image.rgb == 7).all()


def test_the_worker_survived_all_of_it(pool):
    assert pool.decode(png(64, 64, data=zlib.compress(bytes(65 * 64))), **LIMITS).width == 64
    (worker,) = pool._all
    assert worker.images > 20


def peak(pool):
    """Peak memory of the worker, bytes; 0 if the system does not report it."""
    (worker,) = pool._all
    try:
        with open(f"/proc/{worker._process.pid}/status", encoding="ascii") as file:  # noqa: PTH123
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))
    except OSError:
        return 0
