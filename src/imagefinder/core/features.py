"""Features: the arrays that extractors compute, stores keep and matchers compare, for a batch of images.

Letters in shapes: ``B`` images, ``D`` dimensions, ``N`` descriptors of all images of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

RgbImage: TypeAlias = NDArray[np.uint8]
"""A decoded image: ``(height, width, 3)`` uint8, RGB, upright."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A decoded image with its encoded format.

    Attributes:
        rgb: ``(height, width, 3)`` uint8, upright, C-contiguous; may be read-only. Reduced if the image
            has more pixels than requested.
        format: Pillow's name of the encoded format, for example ``JPEG``.
        pages: Number of pages of the file, or of frames of the animation.
        size: Width and height of the image in the file, in pixels; ``None``: those of ``rgb``.
    """

    rgb: RgbImage
    format: str
    pages: int = 1
    size: tuple[int, int] | None = None

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.size[0] if self.size else int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.size[1] if self.size else int(self.rgb.shape[0])


@dataclass(frozen=True, slots=True)
class FullDepth:
    """What an image file shows, in all frames and in full depth.

    Attributes:
        digest: Digest of the pixels of all frames, their colour profiles and times; empty if the file has more
            in it than the decoder delivers.
        format: Pillow's name of the encoded format; empty for an image without a file.
        frames: Number of frames or pages.
        bits: Bits per channel, at least 8.
        transparent: Whether any pixel is transparent.
        profile: Digest of the colour space that its first frame names; empty if it names none.
        colours: ``other``: for example CMYK, a single channel of more than 8 bits, or sensor data.
    """

    digest: str = ""
    format: str = ""
    frames: int = 1
    bits: int = 8
    transparent: bool = False
    profile: str = ""
    colours: Literal["grey or RGB", "other"] = "other"

    @property
    def plain(self) -> bool:
        """Whether its first frame as 8-bit RGB is all that it shows."""
        is_deep = self.frames > 1 or self.bits > 8 or self.transparent
        return bool(self.digest) and self.colours == "grey or RGB" and not is_deep


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """Kind, dimension and dtype of the features of a method.

    Attributes:
        kind: ``global`` (one vector per image) or ``local`` (many descriptors per image).
        dim: Dimension of a vector or descriptor.
        dtype: Element type of a vector or descriptor.
    """

    kind: Literal["global", "local"]
    dim: int
    dtype: Literal["float32", "uint8", "int8"]


@dataclass(frozen=True, slots=True, eq=False)
class GlobalFeatures:
    """One vector per image.

    Attributes:
        vectors: ``(B, D)`` float32, C-contiguous.
    """

    vectors: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.vectors.dtype != np.float32:
            raise ValueError(f"vectors must be (B, D) float32, not {self.vectors.shape} {self.vectors.dtype}")

    def __len__(self) -> int:
        return len(self.vectors)

    def image(self, index: int) -> GlobalFeatures:
        """The features of one image, as a batch of one (a view)."""
        return GlobalFeatures(self.vectors[index : index + 1])

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        return self.vectors.nbytes

    def spec(self) -> FeatureSpec:
        """Kind, dimension and dtype of these features."""
        return FeatureSpec("global", self.vectors.shape[1], "float32")


_NAMES: dict[Any, Literal["float32", "uint8", "int8"]] = {
    np.dtype(np.float32): "float32",
    np.dtype(np.uint8): "uint8",
    np.dtype(np.int8): "int8",
}
"""``dtype.name`` is slow."""


@dataclass(frozen=True, slots=True, eq=False)
class LocalFeatures:
    """Many descriptors per image; an image may have none.

    Attributes:
        descriptors: ``(N, D)`` uint8, int8 or float32, C-contiguous; image ``i`` owns the rows
            ``offsets[i]:offsets[i + 1]``.
        keypoints: ``(N, 4)`` float32: x, y and size in pixels of the upright image, angle in degrees
            (-1 if the method has no angles).
        offsets: ``(B + 1,)`` int64, non-decreasing, from 0 to N.
    """

    descriptors: NDArray[np.uint8] | NDArray[np.int8] | NDArray[np.float32]
    keypoints: NDArray[np.float32]
    offsets: NDArray[np.int64]

    def __post_init__(self) -> None:
        d, k, o = self.descriptors, self.keypoints, self.offsets
        if d.ndim != 2 or d.dtype not in (np.uint8, np.int8, np.float32):
            raise ValueError(f"descriptors must be (N, D) uint8, int8 or float32, not {d.shape} {d.dtype}")
        if k.shape != (len(d), 4) or k.dtype != np.float32:
            raise ValueError(f"keypoints must be ({len(d)}, 4) float32, not {k.shape} {k.dtype}")
        if o.ndim != 1 or o.dtype != np.int64 or len(o) < 1 or o[0] != 0 or o[-1] != len(d):
            raise ValueError(f"offsets must be (B + 1,) int64 from 0 to {len(d)}, not {o.shape} {o.dtype}")
        if len(o) > 2 and (o[1:] < o[:-1]).any():
            raise ValueError("offsets must not decrease")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def image(self, index: int) -> LocalFeatures:
        """The features of one image, as a batch of one (a view)."""
        a, b = int(self.offsets[index]), int(self.offsets[index + 1])
        return LocalFeatures(self.descriptors[a:b], self.keypoints[a:b], np.array([0, b - a], dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        return self.descriptors.nbytes + self.keypoints.nbytes + self.offsets.nbytes

    def spec(self) -> FeatureSpec:
        """Kind, dimension and dtype of these features."""
        return FeatureSpec("local", self.descriptors.shape[1], _NAMES[self.descriptors.dtype])


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMap:
    """The feature map of a network before pooling: a grid of cells whose mean is the pooled vector.

    Attributes:
        cells: ``(rows, columns, D)`` float32.
        seen: The region of the image that the grid covers: x, y, width and height in pixels.
    """

    cells: NDArray[np.float32]
    seen: tuple[float, float, float, float]


Features: TypeAlias = GlobalFeatures | LocalFeatures


def is_patch(keypoints: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which keypoints are patch tokens: they have no angle, and do not represent the whole image.

    Args:
        keypoints: ``(N, 4)`` float32, as in ``LocalFeatures``.
        size: Width and height of the image in pixels.

    Returns:
        ``(N,)`` bool.
    """
    # A class token is as large as the image, a patch of the coarsest grid (2 x 2) half as large.
    patches: NDArray[np.bool_] = (keypoints[:, 2] > 0) & (keypoints[:, 2] < 0.75 * max(size))
    return patches & (keypoints[:, 3] < 0)


def patch_cell(keypoints: NDArray[np.float32], size: tuple[int, int]) -> tuple[float, float]:
    """Width and height in pixels of the cell behind each patch token; zeros if there are no patch tokens.

    Args:
        keypoints: ``(N, 4)`` float32, all tokens of one image.
        size: Width and height of the image in pixels.
    """
    patches = keypoints[is_patch(keypoints, size)].astype(np.float64)
    if not len(patches):
        return 0.0, 0.0
    steps = [np.diff(np.unique(patches[:, axis])) for axis in (0, 1)]
    # The same position may occur twice with different rounding, which gives tiny steps.
    width, height = (float(step[step > 0.25 * step.max()].min()) if len(step) else 0.0 for step in steps)
    side = float(patches[0, 2])
    return width or side, height or side


def rescale(features: Features, pixels: RgbImage, size: tuple[int, int]) -> Features:
    """Convert the keypoints of a downscaled image to pixels of the original size."""
    x, y = size[0] / pixels.shape[1], size[1] / pixels.shape[0]
    if not isinstance(features, LocalFeatures) or (x, y) == (1.0, 1.0):
        return features
    keypoints = features.keypoints.copy()
    keypoints[:, 0] = (keypoints[:, 0] + 0.5) * x - 0.5
    keypoints[:, 1] = (keypoints[:, 1] + 0.5) * y - 0.5
    keypoints[:, 2] *= (x * y) ** 0.5
    return LocalFeatures(features.descriptors, keypoints, features.offsets)


def empty(spec: FeatureSpec) -> Features:
    """An empty batch of features."""
    if spec.kind == "global":
        return GlobalFeatures(np.empty((0, spec.dim), dtype=np.float32))
    return LocalFeatures(
        np.empty((0, spec.dim), dtype=spec.dtype),
        np.empty((0, 4), dtype=np.float32),
        np.zeros(1, dtype=np.int64),
    )


def take(features: Features, rows: Sequence[int]) -> Features:
    """A batch of some images of a batch, at least one, in the order of ``rows``."""
    if isinstance(features, GlobalFeatures):
        return GlobalFeatures(features.vectors[np.asarray(rows)])
    counts = np.diff(features.offsets)[np.asarray(rows)]
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    # Copying slices is several times faster than indexing their rows.
    parts = [slice(features.offsets[row], features.offsets[row + 1]) for row in rows]
    descriptors: Any = np.concatenate([features.descriptors[part] for part in parts])
    return LocalFeatures(descriptors, np.concatenate([features.keypoints[part] for part in parts]), offsets)


def concatenate(spec: FeatureSpec, parts: Sequence[Features]) -> Features:
    """Concatenate batches in order; no batches give an empty batch.

    Raises:
        ValueError: a batch has another spec.
    """
    for part in parts:
        if part.spec() != spec:
            raise ValueError(f"cannot concatenate {part.spec()} with {spec}")
    if not parts:
        return empty(spec)
    if len(parts) == 1:
        return parts[0]
    if spec.kind == "global":
        return GlobalFeatures(np.concatenate([p.vectors for p in parts if isinstance(p, GlobalFeatures)]))
    local = [p for p in parts if isinstance(p, LocalFeatures)]
    counts = np.concatenate([np.diff(p.offsets) for p in local])
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    descriptors: Any = np.concatenate([p.descriptors for p in local])
    return LocalFeatures(descriptors, np.concatenate([p.keypoints for p in local]), offsets)
