"""Digest of everything that an image file shows: all frames, in full depth, with transparency and colour profile.

Two files are called identical only if their bytes or these digests are equal. If the decoder does not deliver
everything in a file, there is no digest, and such a file is identical only to one with the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from imagefinder.core.errors import DamagedImageError, ImageError, ImageTooLargeError
from imagefinder.core.features import FullDepth, RgbImage
from imagefinder.images.decoding.limits import check_encoded_size
from imagefinder.images.decoding.raw import extract_preview

_COMPLETE = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "TGA")
"""Formats that the decoder delivers completely. Others may contain layers, depth maps or more bits."""

_SHALLOW = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX"})
"""Pillow's modes that RGBA with 8 bits per channel represents without loss."""

_STRIP = 1 << 20  # pixels converted at once
_TIFF_BITS, _TIFF_SAMPLES = 258, 277
_VIDEO = re.compile(rb"ftyp(?:mp4|isom|iso\d|avc1|qt  )")  # appended to the JPEG of a motion photo
_SRGB_GAMMA, _GAMMA_TOLERANCE = 0.45455, 0.001

_LOWER_BYTE = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B" if sys.byteorder == "little" else ";16L"}
"""Pillow keeps the upper byte of a 16-bit colour value; read in the other byte order, it keeps the lower one."""


def examine(data: bytes, *, max_bytes: int, max_pixels: int) -> FullDepth:
    """Decode all frames of an encoded image in full depth; in memory are two frames at a time.

    Args:
        data: The encoded image.
        max_bytes: Largest ``data`` accepted.
        max_pixels: Largest width x height of a frame accepted; checked before its pixels are decoded.

    Returns:
        The digest and what it covers; without a digest for formats that are not decoded completely.

    Raises:
        EmptyImageError: no bytes.
        DamagedImageError: a frame is truncated or corrupt.
        ImageTooLargeError: over a limit.
    """
    check_encoded_size(data, max_bytes)
    preview = extract_preview(data)
    if preview is not None:
        return FullDepth(format=preview.format, bits=16)
    try:
        return _examined(data, max_pixels)
    except UnidentifiedImageError:
        return FullDepth()
    except MemoryError as error:
        message = "the image does not fit into memory in full depth"
        raise ImageTooLargeError(message, limit=max_pixels, unit="pixels") from error
    except ImageError:
        raise
    except Exception as error:  # Pillow and its plug-ins raise many kinds on damaged data
        raise DamagedImageError(f"the image is truncated or corrupt: {error}") from error


def _examined(data: bytes, max_pixels: int) -> FullDepth:
    with _opened(data, max_pixels) as image:
        kind, frames = image.format or "", int(getattr(image, "n_frames", 1))
        state = _State(complete=not (kind in {"JPEG", "MPO"} and _VIDEO.search(data)))
        for number in range(frames):
            _add_frame(state, data, image, number, max_pixels)
            if frames > 1:
                state.add(f"shown for {round(image.info.get('duration') or 0)} ms".encode())
        state.add(f"{frames} frames, loop {image.info.get('loop') if frames > 1 else None}".encode())
    return FullDepth(
        digest=state.digest.hexdigest() if state.complete else "",
        format=kind,
        frames=frames,
        bits=state.bits,
        transparent=state.transparent,
        profile=state.profile or "",
        colours="grey or RGB" if state.colours == {"RGBA"} else "other",
    )


def _opened(data: bytes, max_pixels: int) -> Image.Image:
    """The image before its pixels are decoded; Pillow's own limit is raised to ours."""
    if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels
    # Otherwise Pillow prints a warning to the user's terminal for each file with odd metadata.
    warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
    Image.init()
    return Image.open(io.BytesIO(data), formats=_COMPLETE)


def examine_pixels(pixels: RgbImage) -> FullDepth:
    """The same for an image without a file: ``(H, W, 3)`` uint8 RGB."""
    state = _State(complete=True)
    _add_pixels(state, Image.fromarray(np.ascontiguousarray(pixels)))
    state.add(b"1 frames, loop None")
    return FullDepth(digest=state.digest.hexdigest(), colours="grey or RGB")


class _State:
    """Digest and properties of the frames read so far."""

    def __init__(self, *, complete: bool) -> None:
        self.digest = hashlib.sha256()
        self.complete = complete
        self.bits = 8
        self.transparent = False
        self.profile: str | None = None  # of the first frame
        self.colours: set[str] = set()

    def add(self, part: bytes) -> None:
        """Add a part to the digest, with its length, so that parts cannot run into each other."""
        self.digest.update(len(part).to_bytes(8) + part)


def _add_frame(state: _State, data: bytes, image: Image.Image, number: int, max_pixels: int) -> None:
    image.seek(number)
    if image.width * image.height > max_pixels:
        message = f"frame {number + 1} has {image.width:,} x {image.height:,} pixels (max_image_pixels)"
        raise ImageTooLargeError(message, limit=max_pixels, unit="pixels")
    depth, rawmode = _depth(image), _rawmode(image)
    state.bits = max(state.bits, depth)
    is_halved = image.mode in _SHALLOW and depth > 8
    has_lower = is_halved and depth == 16 and rawmode[-4:] in _LOWER_BYTE and not rawmode.startswith("LA")
    if (is_halved and not has_lower) or (_tag(image, _TIFF_SAMPLES) or 0) > len(image.getbands()):
        state.complete = False  # lower bits, or further channels, are not decoded
    if has_lower:
        state.add(repr(image.info.get("transparency")).encode())
    _add_pixels(state, _upright(image), converted=not has_lower)
    if has_lower:
        with _opened(data, max_pixels) as other:
            other.seek(number)
            other.tile = [_read_lower(tile) for tile in other.tile]  # type: ignore[attr-defined] # files have it
            _add_pixels(state, _upright(other), converted=False)


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # the pixels may be fine although the EXIF data is corrupt
        return image


def _add_pixels(state: _State, image: Image.Image, *, converted: bool = True) -> None:
    """Add size, colour profile and pixels of an upright frame, in strips."""
    shallow = converted and image.mode in _SHALLOW
    mode = "RGBA" if shallow else image.mode
    state.colours.add(mode if converted else "RGBA")
    state.add(f"{image.width} x {image.height} {mode.split(';')[0]}".encode())
    profile = _profile(image.info)
    state.add(profile)
    if state.profile is None:
        state.profile = hashlib.sha256(profile).hexdigest() if profile else ""
    step = max(1, _STRIP // image.width)
    for top in range(0, image.height, step):
        strip = image.crop((0, top, image.width, min(image.height, top + step)))
        if shallow:
            strip = strip.convert("RGBA")
        if "A" in strip.getbands() and strip.getchannel("A").getextrema()[0] != 255:
            state.transparent = True
        if strip.mode.startswith("I;16"):
            state.digest.update(np.asarray(strip).astype("<u2").tobytes())
        else:
            state.digest.update(strip.tobytes())


def _profile(info: dict[Any, Any]) -> bytes:
    """The colour space that a frame names; equal for files that name none."""
    gamma = info.get("gamma")
    if gamma is not None and abs(gamma - _SRGB_GAMMA) < _GAMMA_TOLERANCE:
        gamma = None
    return bytes(info.get("icc_profile") or b"") + (f" gamma {gamma}".encode() if gamma is not None else b"")


def _depth(image: Image.Image) -> int:
    """Bits per channel in the file."""
    tagged = _tag(image, _TIFF_BITS)
    if tagged:
        return max(8, tagged)
    if image.mode in {"I", "F"}:
        return 32
    if image.mode.startswith("I;16") or ";16" in _rawmode(image):
        return 16
    tile = next(iter(getattr(image, "tile", ())), None)
    if tile is not None and tile[0] in {"ppm", "ppm_plain"} and max(_numbers(tile[3]), default=0) > 255:
        return 16
    return 8


def _tag(image: Image.Image, tag: int) -> int | None:
    """Largest value of a TIFF tag of the current frame; ``None`` if there is none."""
    values = _numbers(getattr(image, "tag_v2", {}).get(tag))
    return max(values, default=None)


def _numbers(values: Any) -> list[int]:
    values = values if isinstance(values, tuple | list) else (values,)
    return [value for value in values if isinstance(value, int)]


def _rawmode(image: Image.Image) -> str:
    """Layout of the pixels in the file, by Pillow's name; empty if unknown."""
    tile = next(iter(getattr(image, "tile", ())), None)
    arguments = tile[3] if tile is not None else ""
    first = arguments[0] if isinstance(arguments, tuple | list) and arguments else arguments
    return first if isinstance(first, str) else ""


def _read_lower(tile: Any) -> Any:
    codec, extents, offset, arguments = tile
    if isinstance(arguments, str):
        return type(tile)(codec, extents, offset, _swapped(arguments))
    return type(tile)(codec, extents, offset, (_swapped(arguments[0]), *arguments[1:]))


def _swapped(rawmode: str) -> str:
    if rawmode[-4:] not in _LOWER_BYTE:
        raise DamagedImageError(f"frames of several layouts: {rawmode}")
    return rawmode[:-4] + _LOWER_BYTE[rawmode[-4:]]
