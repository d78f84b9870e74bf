"""Encoded bytes to rows of upright 8-bit RGB: what decoding is, wherever it happens.

A decoding process starts with this module, so it imports neither NumPy nor a decoder before one is needed.
"""

from __future__ import annotations

import io
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError

from imagefinder.core.errors import DamagedImageError, EmptyImageError, ImageTooLargeError, NotAnImageError
from imagefinder.images.decoding.raw import Preview, preview
from imagefinder.images.decoding.unsupported_formats import refusal

# Readers that start another program, or that render a page description rather than decode a picture.
_REFUSED = frozenset({"EPS", "WMF", "FITS", "MPEG", "PDF", "HDF5", "GRIB", "BUFR"})

# What Pillow and its plug-ins raise on bytes that are no sound picture.
_DECODER_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    NotImplementedError,
    AttributeError,
    RuntimeError,
    struct.error,
    zlib.error,
)

_prepare_lock = threading.Lock()
_formats: list[str] = []


_STRIP = 1 << 20  # pixels converted at once: a large picture is held once, not once for each step


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture whose pixels are loaded but not yet converted.

    Attributes:
        width: Pixels, upright.
        height: Pixels, upright.
        format: Encoded format as Pillow names it, for example ``JPEG``.
    """

    width: int
    height: int
    format: str
    _image: Image.Image
    _max_pixels: int

    def rows(self) -> Iterator[bytes]:
        """The pixels from top to bottom, R, G, B, a few rows at a time; all together ``3 * width * height`` bytes.

        Raises:
            DamagedImageError: they cannot be converted.
            ImageTooLargeError: that takes more memory than there is.
        """
        with _named(f"the {self.format} picture is cut short or corrupt", self._max_pixels):
            image = _eight_bits(self._image)
            step = max(1, _STRIP // self.width)
            if step >= self.height:
                yield _rgb(image).tobytes()
                return
            for top in range(0, self.height, step):
                bottom = min(self.height, top + step)
                yield _rgb(image.crop((0, top, self.width, bottom))).tobytes()


def read(data: bytes, *, max_bytes: int, max_pixels: int) -> Picture:
    """Read and load the first frame of an encoded picture; ``images.decoding.decode.decode`` says how.

    Raises:
        EmptyImageError: no bytes, or no pixels.
        NotAnImageError: no known format.
        DamagedImageError: cut short or corrupt.
        ImageTooLargeError: over a limit.
    """
    if not data:
        raise EmptyImageError("the picture is empty (0 bytes)")
    if len(data) > max_bytes:
        raise ImageTooLargeError(
            f"the picture has {len(data):,} bytes; at most {max_bytes:,} are accepted",
            limit=max_bytes,
            unit="bytes",
        )
    camera = preview(data)
    if camera is not None:
        return _of_camera(camera, max_bytes, max_pixels)
    if data.startswith(_JPEG_XL):
        _register_jpeg_xl()
    with _named("the picture cannot be read", max_pixels):
        try:
            image: Image.Image = Image.open(io.BytesIO(data), formats=_readable_formats(max_pixels))
        except UnidentifiedImageError as error:
            if _HEADER_WITHOUT_PIXELS.match(data):
                raise EmptyImageError("the picture has no pixels: its width or height is 0") from error
            known = refusal(data)
            if known is not None:
                raise NotAnImageError(f"this is {known.what}, which is not read", hint=known.hint) from error
            if _begins_like_a_picture(data):
                raise DamagedImageError(
                    "the picture is cut short or corrupt: its header cannot be read"
                ) from error
            raise NotAnImageError(
                "the bytes are no picture of a known format",
                hint="JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC and AVIF are read",
            ) from error
    width, height = image.size
    if width < 1 or height < 1:
        raise EmptyImageError(f"the picture has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise _too_many_pixels(f"the picture has {width:,} x {height:,} pixels", max_pixels)
    kind = image.format or "?"
    with _named(f"the {kind} picture is cut short or corrupt", max_pixels):
        image = _upright(image)
    return Picture(*image.size, kind, image, max_pixels)


def _of_camera(camera: Preview, max_bytes: int, max_pixels: int) -> Picture:
    if not camera.jpeg:
        raise NotAnImageError(
            f"this is a camera file ({camera.format}) without a preview, and sensor data is not developed",
            hint="export a JPEG with the camera's program",
        )
    picture = read(camera.jpeg, max_bytes=max_bytes, max_pixels=max_pixels)
    image = picture._image
    if "exif" not in image.info and camera.orientation in _TURNS:  # a preview with its own EXIF is upright already
        with _named(f"the {camera.format} picture is cut short or corrupt", max_pixels):
            image = image.transpose(_TURNS[camera.orientation])
    return Picture(*image.size, camera.format, image, max_pixels)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What each EXIF orientation but the first asks for."""


@contextmanager
def _named(what: str, max_pixels: int) -> Iterator[None]:
    """What Pillow raises, as an error of ours."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(str(error), max_pixels) from error
    except MemoryError as error:
        raise _too_many_pixels("the picture does not fit into memory", max_pixels) from error
    except _DECODER_ERRORS as error:
        raise DamagedImageError(f"{what}: {_reason(error)}") from error


def _readable_formats(max_pixels: int) -> list[str]:
    """Register HEIC once; let Pillow's own bomb guard stand no lower than our limit."""
    with _prepare_lock:
        if not _formats:
            from pillow_heif import register_heif_opener  # noqa: PLC0415 - registers a global plug-in, so only on use

            register_heif_opener()
            Image.init()
            # Pillow's remarks on odd metadata would go to the terminal of whoever runs us, file by file.
            warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
            _formats.extend(name for name in Image.ID if name not in _REFUSED)
        if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
            Image.MAX_IMAGE_PIXELS = max_pixels
        return _formats


_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")


def _register_jpeg_xl() -> None:
    """Its plug-in is not among our dependencies (GPL); whoever has installed it has the format."""
    with _prepare_lock, suppress(ImportError):
        import_module("pillow_jxl")
        if "JXL" in Image.ID and "JXL" not in _formats:
            _formats.append("JXL")


def _begins_like_a_picture(data: bytes) -> bool:
    return (
        data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*"))
        or (data[:4], data[8:12]) == (b"RIFF", b"WEBP")
        or (data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"))
    )


# Pillow refuses such headers without saying why: PNG, GIF, BMP, PPM and JPEG of zero width or height.
_HEADER_WITHOUT_PIXELS = re.compile(
    rb"\x89PNG\r\n.{10}(?:\0{4}.{4}|.{4}\0{4})"
    rb"|GIF8[79]a(?:\0\0..|..\0\0)"
    rb"|BM.{16}(?:\0{4}.{4}|.{4}\0{4})"
    rb"|P[1-6]\s+(?:0\s+\d+|\d+\s+0)\s"
    rb"|\xff\xd8.{0,65536}?\xff[\xc0-\xc2]\0.\x08(?:\0\0..|..\0\0)",
    re.DOTALL,
)


def _too_many_pixels(what: str, max_pixels: int) -> ImageTooLargeError:
    return ImageTooLargeError(
        f"{what}; at most {max_pixels:,} pixels are accepted", limit=max_pixels, unit="pixels"
    )


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except _DECODER_ERRORS:
        # Broken EXIF says nothing about the pixels; viewers show such a picture as it lies.
        return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """A picture of more than 8 bits a channel with 8; any other as it is."""
    if image.mode.startswith("I;16"):
        import numpy as np  # noqa: PLC0415 - only such pictures need it

        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        return _stretch(image)
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":
        from PIL import ImageCms  # noqa: PLC0415 - as above

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _stretch(image: Image.Image) -> Image.Image:
    import numpy as np  # noqa: PLC0415 - as above

    values: np.ndarray[Any, Any] = np.asarray(image).astype(np.float64)
    finite = values[np.isfinite(values)]
    if image.mode == "I" and finite.size and 255 < finite.max() <= 65535 and finite.min() >= 0:
        # 16-bit grey (PNG) that Pillow holds as 32-bit: the same fixed scale as other 16-bit pictures.
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scale = 255.0 / (high - low) if high > low else 0.0
    grey = np.rint((np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * scale)
    return Image.fromarray(grey.astype(np.uint8))
