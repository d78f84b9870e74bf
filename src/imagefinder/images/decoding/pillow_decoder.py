"""Decode image bytes to rows of upright 8-bit RGB with Pillow.

Worker processes import this module first, so it imports NumPy and optional decoders only when it needs them.
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
from imagefinder.images.decoding.limits import check_encoded_size
from imagefinder.images.decoding.raw import CameraPreview, extract_preview
from imagefinder.images.decoding.unsupported_formats import identify_unsupported

# Pillow plug-ins that start another program, or that render a page description instead of decoding an image.
_BLOCKED_FORMATS = frozenset({"EPS", "WMF", "FITS", "MPEG", "PDF", "HDF5", "GRIB", "BUFR"})

# Exceptions that Pillow and its plug-ins raise on damaged data.
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


_STRIP = 1 << 20  # pixels converted at once, so that conversion does not need a second copy of a large image


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image with decoded pixels, not yet converted to RGB.

    Attributes:
        width: Pixels, after EXIF orientation.
        height: Pixels, after EXIF orientation.
        format: Encoded format by Pillow's name, for example ``JPEG``.
    """

    width: int
    height: int
    format: str
    _image: Image.Image
    _max_pixels: int

    def rows(self) -> Iterator[bytes]:
        """Yield the RGB bytes from top to bottom, several rows at a time; ``3 * width * height`` bytes in total.

        Raises:
            DamagedImageError: the pixels cannot be converted.
            ImageTooLargeError: out of memory.
        """
        with _translated_errors(f"the {self.format} image is truncated or corrupt", self._max_pixels):
            image = _to_8_bit(self._image)
            step = max(1, _STRIP // self.width)
            if step >= self.height:
                yield _to_rgb(image).tobytes()
                return
            for top in range(0, self.height, step):
                bottom = min(self.height, top + step)
                yield _to_rgb(image.crop((0, top, self.width, bottom))).tobytes()


def load(data: bytes, *, max_bytes: int, max_pixels: int) -> LoadedImage:
    """Decode the first frame of an encoded image; ``images.decoding.decode.decode`` documents the conversions.

    Raises:
        EmptyImageError: no bytes, or no pixels.
        NotAnImageError: unrecognised or unsupported format.
        DamagedImageError: truncated or corrupt.
        ImageTooLargeError: over a limit.
    """
    check_encoded_size(data, max_bytes)
    preview = extract_preview(data)
    if preview is not None:
        return _load_preview(preview, max_bytes, max_pixels)
    if data.startswith(_JPEG_XL):
        _register_jpeg_xl()
    with _translated_errors("the image cannot be read", max_pixels):
        try:
            image: Image.Image = Image.open(io.BytesIO(data), formats=_allowed_formats(max_pixels))
        except UnidentifiedImageError as error:
            if _HEADER_WITHOUT_PIXELS.match(data):
                raise EmptyImageError("the image has no pixels: its width or height is 0") from error
            unsupported = identify_unsupported(data)
            if unsupported is not None:
                raise NotAnImageError(
                    f"unsupported file format: {unsupported.name}", hint=unsupported.hint
                ) from error
            if _has_image_signature(data):
                raise DamagedImageError("the image is truncated or corrupt: its header cannot be read") from error
            raise NotAnImageError(
                "unrecognised image format",
                hint="supported formats: JPEG, PNG, WebP, GIF, TIFF, BMP, HEIC and AVIF",
            ) from error
    width, height = image.size
    if width < 1 or height < 1:
        raise EmptyImageError(f"the image has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise _too_many_pixels(f"the image has {width:,} x {height:,} pixels", max_pixels)
    kind = image.format or "?"
    with _translated_errors(f"the {kind} image is truncated or corrupt", max_pixels):
        image = _upright(image)
    return LoadedImage(*image.size, kind, image, max_pixels)


def _load_preview(preview: CameraPreview, max_bytes: int, max_pixels: int) -> LoadedImage:
    if not preview.jpeg:
        raise NotAnImageError(
            f"the {preview.format} camera file contains no preview, and raw sensor data is not supported",
            hint="export a JPEG with the camera software",
        )
    image = load(preview.jpeg, max_bytes=max_bytes, max_pixels=max_pixels)._image
    # A preview with its own EXIF data is upright already.
    if "exif" not in image.info and preview.orientation in _TRANSPOSE:
        with _translated_errors(f"the {preview.format} image is truncated or corrupt", max_pixels):
            image = image.transpose(_TRANSPOSE[preview.orientation])
    return LoadedImage(*image.size, preview.format, image, max_pixels)


_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transformation for each EXIF orientation except 1, which needs none."""


@contextmanager
def _translated_errors(message: str, max_pixels: int) -> Iterator[None]:
    """Raise Pillow's exceptions as ``ImageError`` with this message."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(str(error), max_pixels) from error
    except MemoryError as error:
        raise _too_many_pixels("the image does not fit into memory", max_pixels) from error
    except _DECODER_ERRORS as error:
        raise DamagedImageError(f"{message}: {_reason(error)}") from error


def _allowed_formats(max_pixels: int) -> list[str]:
    """Register HEIC once, and raise Pillow's decompression-bomb limit to ours if it is lower."""
    with _prepare_lock:
        if not _formats:
            from pillow_heif import register_heif_opener  # noqa: PLC0415 - registers a global plug-in

            register_heif_opener()
            Image.init()
            # Otherwise Pillow prints a warning to the user's terminal for each file with odd metadata.
            warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
            _formats.extend(name for name in Image.ID if name not in _BLOCKED_FORMATS)
        if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
            Image.MAX_IMAGE_PIXELS = max_pixels
        return _formats


_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")


def _register_jpeg_xl() -> None:
    """Enable JPEG XL if the user has installed its plug-in, which is GPL and therefore not a dependency."""
    with _prepare_lock, suppress(ImportError):
        import_module("pillow_jxl")
        if "JXL" in Image.ID and "JXL" not in _formats:
            _formats.append("JXL")


def _has_image_signature(data: bytes) -> bool:
    return (
        data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*"))
        or (data[:4], data[8:12]) == (b"RIFF", b"WEBP")
        or (data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"))
    )


# PNG, GIF, BMP, PPM and JPEG headers with zero width or height: Pillow rejects them without a reason.
_HEADER_WITHOUT_PIXELS = re.compile(
    rb"\x89PNG\r\n.{10}(?:\0{4}.{4}|.{4}\0{4})"
    rb"|GIF8[79]a(?:\0\0..|..\0\0)"
    rb"|BM.{16}(?:\0{4}.{4}|.{4}\0{4})"
    rb"|P[1-6]\s+(?:0\s+\d+|\d+\s+0)\s"
    rb"|\xff\xd8.{0,65536}?\xff[\xc0-\xc2]\0.\x08(?:\0\0..|..\0\0)",
    re.DOTALL,
)


def _too_many_pixels(message: str, max_pixels: int) -> ImageTooLargeError:
    return ImageTooLargeError(
        f"{message}; the limit is {max_pixels:,} pixels (max_image_pixels)", limit=max_pixels, unit="pixels"
    )


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except _DECODER_ERRORS:
        # The pixels may be fine although the EXIF data is corrupt; viewers show such images without rotation.
        return image


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Reduce an image with more than 8 bits per channel to 8; return any other image unchanged."""
    if image.mode.startswith("I;16"):
        import numpy as np  # noqa: PLC0415 - only images with 16 bits need it

        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        return _stretch(image)
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "LAB":
        from PIL import ImageCms  # noqa: PLC0415 - only LAB images need it

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _stretch(image: Image.Image) -> Image.Image:
    import numpy as np  # noqa: PLC0415 - only 32-bit images need it

    values: np.ndarray[Any, Any] = np.asarray(image).astype(np.float64)
    finite = values[np.isfinite(values)]
    if image.mode == "I" and finite.size and 255 < finite.max() <= 65535 and finite.min() >= 0:
        # 16-bit grey PNG, which Pillow decodes to 32 bits: use the same fixed scale as for other 16-bit images.
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scale = 255.0 / (high - low) if high > low else 0.0
    grey = np.rint((np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * scale)
    return Image.fromarray(grey.astype(np.uint8))
