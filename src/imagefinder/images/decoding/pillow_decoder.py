"""Decode image bytes to rows of upright 8-bit RGB with Pillow.

Worker processes import this module first, so it imports NumPy and optional decoders only when it needs them.
"""

from __future__ import annotations

import io
import math
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps, UnidentifiedImageError

from imagefinder.core.colours import Colours
from imagefinder.core.errors import DamagedImageError, EmptyImageError, ImageTooLargeError, NotAnImageError
from imagefinder.core.image_formats import SUPPORTED
from imagefinder.images.decoding.limits import check_encoded_size
from imagefinder.images.decoding.raw import CameraPreview, extract_preview
from imagefinder.images.decoding.unsupported_formats import identify_unsupported

if TYPE_CHECKING:
    from imagefinder.images.decoding.colours import Convert
    from imagefinder.images.decoding.tiff import Samples

# Pillow plug-ins that start another program, or that render a page description instead of decoding an image.
_BLOCKED_FORMATS = frozenset({"EPS", "WMF", "FITS", "MPEG", "PDF", "HDF5", "GRIB", "BUFR"})

# Exceptions that Pillow and its plug-ins raise on damaged data.
DECODER_ERRORS = (
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


_MOST_PIXELS = 700_000_000  # of an image whose metadata are read: the highest default limit of a local file
_STRIP = 1 << 20  # pixels converted at once, so that conversion does not need a second copy of a large image


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image with decoded pixels, not yet converted to RGB.

    Attributes:
        width: Pixels of ``rows``, after EXIF orientation.
        height: Pixels of ``rows``, after EXIF orientation.
        size: Width and height of the image in the file; larger if the pixels were reduced.
        format: Encoded format by Pillow's name, for example ``JPEG``.
        pages: Number of pages of the file (TIFF, HEIF) or frames of the animation.
    """

    width: int
    height: int
    size: tuple[int, int]
    format: str
    pages: int
    _image: Image.Image
    _factor: int
    _setting: PixelLimit
    _colours: Colours = "srgb"

    def rows(self) -> Iterator[bytes]:
        """Yield the RGB bytes from top to bottom, several rows at a time; ``3 * width * height`` bytes in total.

        Raises:
            DamagedImageError: the pixels cannot be converted.
            ImageTooLargeError: out of memory.
        """
        with _translated_errors(f"the {self.format} image is truncated or corrupt", self._setting):
            image, convert = _to_8_bit(self._image), self._converter()
            background = _background(image, convert)
            for strip in _strips(image, self._factor):
                rgb = _to_rgb(convert(strip) if convert else strip, background)
                yield (rgb.reduce(self._factor) if self._factor > 1 else rgb).tobytes()

    def _converter(self) -> Convert | None:
        profile = self._image.info.get("icc_profile")
        if not profile or self._colours == "file":
            return None
        from imagefinder.images.decoding.colours import converter  # noqa: PLC0415 - loads littleCMS

        return converter("L" if self._image.mode.startswith(("I", "F")) else self._image.mode, profile)


@dataclass(frozen=True, slots=True)
class PixelLimit:
    """A limit of decoded pixels.

    Attributes:
        pixels: Largest width x height accepted.
        setting: Name of the setting.
        fit_in: Larger images are reduced by a whole factor to at most this many pixels; 0: never.
        side: Images are also reduced by a whole factor while the longer side stays at least this long, pixels; 0:
            never.
    """

    pixels: int
    setting: str = "max_image_pixels"
    fit_in: int = 0
    side: int = 0


def load(  # wide: independent limits, given by keyword
    data: bytes,
    *,
    max_bytes: int,
    max_pixels: int,
    page: int = 1,
    fit_in: int = 0,
    side: int = 0,
    colours: Colours = "srgb",
) -> LoadedImage:
    """Decode a page of an encoded image; ``images.decoding.decode.decode`` documents arguments and conversions.

    Raises:
        EmptyImageError: no bytes, or no pixels.
        NotAnImageError: unrecognised or unsupported format.
        DamagedImageError: truncated or corrupt.
        ImageTooLargeError: over a limit.
    """
    check_encoded_size(data, max_bytes)
    limit = PixelLimit(max_pixels, "max_local_pixels" if fit_in else "max_image_pixels", fit_in, side)
    preview = extract_preview(data)
    if preview is not None:
        if page > 1:
            raise no_such_page(page, 1)
        loaded = _load_preview(preview, limit)
    elif data.startswith(_TIFF):
        loaded = _load_tiff(data, limit, page)
    else:
        loaded = _load(data, limit, page)
    return replace(loaded, _colours=colours)


def _load(data: bytes, limit: PixelLimit, page: int = 1, pages: int = 0) -> LoadedImage:
    """Decode with Pillow; ``pages`` is their number if it is known."""
    if data.startswith(_JPEG_XL):
        _register_jpeg_xl()
    image = _open(data, limit)
    kind = image.format or "?"
    with _translated_errors(f"the {kind} image is truncated or corrupt", limit):
        pages = pages or _count_pages(image)
        if page > 1 and page > pages:
            raise no_such_page(page, pages)
        if page > 1:
            image.seek(page - 1)
    size = image.size
    if size[0] < 1 or size[1] < 1:
        raise EmptyImageError(f"the image has no pixels ({size[0]} x {size[1]})")
    if size[0] * size[1] > limit.pixels:
        raise _too_many_pixels(f"the image has {size[0]:,} x {size[1]:,} pixels", limit)
    if kind == "JPEG" and (factor := _factor(size, limit)) > 1:
        image.draft(None, (-(-size[0] // factor), -(-size[1] // factor)))
    with _translated_errors(f"the {kind} image is truncated or corrupt", limit):
        drafted = image.size
        if _is_dark_16_bit_png(image, data):
            image = _read_16_bit_png(image, data)
        image = _upright(image)
    if image.size != drafted:
        size = size[::-1]
    return _loaded(image, size, kind, pages, limit)


def _open(data: bytes, limit: PixelLimit) -> Image.Image:
    with _translated_errors("the image cannot be read", limit):
        try:
            return _identified(data, limit.pixels)
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
                hint=f"supported formats: {SUPPORTED}",
            ) from error


def header(data: bytes) -> Image.Image | None:
    """An image with its header read, not its pixels; ``None`` if that is not possible."""
    try:
        return _identified(data, _MOST_PIXELS)
    except (*DECODER_ERRORS, Image.DecompressionBombError):
        return None


def _loaded(image: Image.Image, size: tuple[int, int], kind: str, pages: int, limit: PixelLimit) -> LoadedImage:
    factor = _factor(image.size, limit)
    width, height = (-(-side // factor) for side in image.size)
    return LoadedImage(width, height, size, kind, pages, image, factor, limit)


def _factor(size: tuple[int, int], limit: PixelLimit) -> int:
    """The whole factor by which an image of this size has to be reduced."""
    factor = max(1, max(size) // limit.side) if limit.side else 1
    if limit.fit_in and size[0] * size[1] > limit.fit_in:
        factor = max(factor, math.ceil(math.sqrt(size[0] * size[1] / limit.fit_in)))
    return factor


def no_such_page(page: int, pages: int) -> DamagedImageError:
    """The error for a page that a file does not have."""
    count = "1 page" if pages == 1 else f"{pages} pages"
    return DamagedImageError(
        f"the file has {count}, so there is no page {page}",
        hint="choose another page; if the file has changed since it was added, add it again",
    )


def _is_dark_16_bit_png(image: Image.Image, data: bytes) -> bool:
    """Whether a colour PNG of 16 bits may hold values of fewer bits, of which Pillow keeps the upper eight."""
    if image.format != "PNG" or data[24:25] != b"\x10" or image.mode not in ("RGB", "RGBA", "LA") or image.tell():
        return False
    image.load()
    bands: Any = image.getextrema()
    return all(high < 64 for _, high in bands[: 1 if image.mode == "LA" else 3])


def _read_16_bit_png(image: Image.Image, data: bytes) -> Image.Image:
    import cv2  # noqa: PLC0415 - only these images need it
    import numpy as np  # noqa: PLC0415

    from imagefinder.images.decoding.depth import to_8_bit  # noqa: PLC0415

    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        return image
    deep = Image.fromarray(np.ascontiguousarray(to_8_bit(values[:, :, 2::-1])))
    if values.shape[2] == 4:
        deep.putalpha(Image.fromarray(np.ascontiguousarray(values[:, :, 3] >> 8).astype(np.uint8)))
    deep.info = dict(image.info)
    return deep


_PAGED = frozenset({"GIF", "WEBP", "PNG", "AVIF", "HEIF"})
"""Formats, apart from TIFF, whose further images are pages or frames and not previews, layers or sizes."""


def _count_pages(image: Image.Image) -> int:
    if image.format not in _PAGED:
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except DECODER_ERRORS:  # damage after the first frame
        return 1


def _load_tiff(data: bytes, limit: PixelLimit, page: int) -> LoadedImage:
    """Decode a page of a TIFF: with Pillow, or from its samples where Pillow cannot."""
    from imagefinder.images.decoding import tiff  # noqa: PLC0415 - imports NumPy

    offsets = list(tiff.page_offsets(io.BytesIO(data)))
    if page > max(1, len(offsets)):
        raise no_such_page(page, len(offsets))
    if not offsets:
        return _load(data, limit)
    offset = offsets[page - 1]
    if tiff.Directory(data, offset).is_for_pillow:
        try:
            return _load(tiff.starting_at(data, offset), limit, pages=len(offsets))
        except DamagedImageError as error:
            if not isinstance(error.__cause__, UnidentifiedImageError):
                raise
    with _translated_errors("the TIFF image is truncated or corrupt", limit):
        samples = tiff.read_samples(data, offset, max_pixels=limit.pixels)
        image = _image_of(samples)
        if samples.profile:
            image.info["icc_profile"] = samples.profile
        if samples.orientation in _TRANSPOSE:
            image = image.transpose(_TRANSPOSE[samples.orientation])
    return _loaded(image, image.size, "TIFF", len(offsets), limit)


def _image_of(samples: Samples) -> Image.Image:
    """The image of 8 bits that samples of any depth show."""
    from imagefinder.images.decoding.depth import to_8_bit  # noqa: PLC0415 - imports NumPy

    declared = samples.largest or ((1 << samples.bits) - 1 if samples.bits not in (8, 16, 32, 64) else 0)
    shown = samples.colours
    values = to_8_bit(samples.values[:, :, :shown], declared=declared)
    if samples.inverted:
        values = 255 - values
    modes = {1: "L", 3: "RGB", 4: "CMYK"}
    image = Image.merge(modes[shown], [Image.fromarray(values[:, :, band]) for band in range(shown)])
    if samples.alpha and shown != 4:
        alpha = Image.fromarray(to_8_bit(samples.values[:, :, shown], declared=declared))
        image.putalpha(alpha)
        if samples.alpha == "premultiplied":
            image = image.convert("RGBA")
            image = Image.frombytes("RGBa", image.size, image.tobytes()).convert("RGBA")
    return image


def _load_preview(preview: CameraPreview, limit: PixelLimit) -> LoadedImage:
    if not preview.jpeg:
        raise NotAnImageError(
            f"the {preview.format} camera file contains no preview, and raw sensor data is not supported",
            hint="export a JPEG with the camera software",
        )
    loaded = _load(preview.jpeg, limit)
    image = loaded._image
    size = loaded.size
    # A preview with its own EXIF data is upright already.
    if "exif" not in image.info and preview.orientation in _TRANSPOSE:
        with _translated_errors(f"the {preview.format} image is truncated or corrupt", limit):
            image = image.transpose(_TRANSPOSE[preview.orientation])
        size = size[::-1] if preview.orientation > 4 else size
    return _loaded(image, size, preview.format, 1, limit)


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
def _translated_errors(message: str, limit: PixelLimit) -> Iterator[None]:
    """Raise Pillow's exceptions as ``ImageError`` with this message."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(str(error), limit) from error
    except MemoryError as error:
        raise _too_many_pixels("the image does not fit into memory", limit) from error
    except DECODER_ERRORS as error:
        raise DamagedImageError(f"{message}: {_reason(error)}") from error


_PRELOADED = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"))
"""Signature and name of the formats that Pillow reads without loading its other plug-ins."""


def _identified(data: bytes, max_pixels: int) -> Image.Image:
    """Open an image without decoding its pixels, with all plug-ins only if it is not of the most common formats.

    Raises:
        UnidentifiedImageError: no plug-in recognises it.
        Exception: those of ``DECODER_ERRORS``.
    """
    _silence()
    with _prepare_lock:
        if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
            Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow's decompression-bomb limit is lower than ours
    common = [name for signature, name in _PRELOADED if data.startswith(signature)]
    if common:
        with suppress(UnidentifiedImageError):
            return Image.open(io.BytesIO(data), formats=common)
    return Image.open(io.BytesIO(data), formats=_allowed_formats())


@cache
def _silence() -> None:
    """Otherwise Pillow prints a warning to the user's terminal for each file with odd metadata or many pixels."""
    warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # our own limit is checked


def _allowed_formats() -> list[str]:
    """All formats; imports all plug-ins of Pillow and registers HEIC once, which takes 40 ms."""
    with _prepare_lock:
        if not _formats:
            from pillow_heif import register_heif_opener  # noqa: PLC0415 - registers a global plug-in

            register_heif_opener()
            Image.init()
            _formats.extend(name for name in Image.ID if name not in _BLOCKED_FORMATS)
        return _formats


_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
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


def _too_many_pixels(message: str, limit: PixelLimit) -> ImageTooLargeError:
    return ImageTooLargeError(
        f"{message}; the limit is {limit.pixels:,} pixels ({limit.setting})",
        limit=limit.pixels,
        unit="pixels",
        hint=f"increase {limit.setting} (IMAGEFINDER_{limit.setting.upper()}) if the machine has enough memory",
    )


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except DECODER_ERRORS:
        # The pixels may be fine although the EXIF data is corrupt; viewers show such images without rotation.
        return image


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Reduce an image with more than 8 bits per channel to 8; return any other image unchanged."""
    if not image.mode.startswith(("I", "F")):
        return image
    import numpy as np  # noqa: PLC0415 - only images with more than 8 bits need it

    from imagefinder.images.decoding.depth import to_8_bit  # noqa: PLC0415

    values: np.ndarray[Any, Any] = np.asarray(image)
    if values.dtype == np.int32 and values.min() >= 0 and values.max() <= 65535:
        values = values.astype(np.uint16)  # 16-bit grey PNG, which Pillow may decode to 32 bits
    return Image.fromarray(to_8_bit(values))


def _strips(image: Image.Image, factor: int = 1) -> Iterator[Image.Image]:
    """The image in strips of about ``_STRIP`` pixels, whose heights are multiples of a factor."""
    step = max(1, _STRIP // image.width // factor) * factor
    if step >= image.height:
        yield image
        return
    for top in range(0, image.height, step):
        yield image.crop((0, top, image.width, min(image.height, top + step)))


def _background(image: Image.Image, convert: Convert | None) -> int:
    """The background for a transparent image; any other image needs none."""
    if not image.has_transparency_data:
        return 255
    from imagefinder.images.decoding.transparency import choose_background  # noqa: PLC0415 - imports NumPy

    return choose_background((convert(strip) if convert else strip).convert("RGBA") for strip in _strips(image))


def _to_rgb(image: Image.Image, background: int) -> Image.Image:
    if image.mode == "LAB":
        from PIL import ImageCms  # noqa: PLC0415 - only LAB images need it

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    if image.has_transparency_data:
        below = Image.new("RGBA", image.size, (background, background, background, 255))
        image = Image.alpha_composite(below, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")
