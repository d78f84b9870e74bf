"""Import and export the folder layout of the original program: one ``.npy`` file per image and method, and a list.

::

    dataset.csv                          columns url, id
    features/sift/NAME.npy               (n, 128): descriptors, integers 0..255, stored as float32
    features/resnet_50/NAME.npy          (2048,)
    features/microsoft_beit/NAME.npy     (197, 768)

``NAME`` is the id, percent-encoded if it is not a valid file name (``a/b`` becomes ``a%2Fb``).

The layout contains no keypoints: imported descriptors get placeholders (x, y and size 0, angle -1), so spatial
verification is not possible. It contains no images either: the records have no hash, size or thumbnail.

The layout does not record how the features were made. The original program used OpenCV's default SIFT parameters,
and fed the networks images with red and blue swapped, so its features are not comparable to ours. Imported
features are therefore registered under a separate fingerprint: a search by the id of an imported image works, a
search with an image raises ``FingerprintMismatchError``. A caller that knows the features to be compatible passes
the fingerprints.
"""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Store
from imagefinder.core.errors import MetadataError, SourceError
from imagefinder.core.features import Features, FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.metadata import check_metadata
from imagefinder.core.paging import iter_image_pages
from imagefinder.core.records import Entry, Failure, ImageRecord
from imagefinder.indexing.npy_file import read_array, write_array
from imagefinder.indexing.progress import AddReport, Counters, Progress
from imagefinder.indexing.source_item import name_to_text

LIST_NAME = "dataset.csv"
FEATURES_NAME = "features"

_BATCH_IMAGES = 16
_BATCH_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class LayoutMethod:
    """A method whose features the layout can store.

    Attributes:
        folder: Folder name in the layout.
        name: Name of the method.
        spec: Kind, dimension and type of the features.
        rows: Number of descriptors per image; ``None`` if it varies.
    """

    folder: str
    name: str
    spec: FeatureSpec
    rows: int | None

    @property
    def fingerprint(self) -> Fingerprint:
        """Fingerprint of imported features of unknown origin."""
        return Fingerprint(self.name, version=0, parameters={"origin": "imported .npy"})


METHODS = (
    LayoutMethod("sift", "sift", FeatureSpec("local", 128, "uint8"), None),
    LayoutMethod("resnet_50", "resnet50", FeatureSpec("global", 2048, "float32"), 1),
    LayoutMethod("microsoft_beit", "beit", FeatureSpec("local", 768, "float32"), 197),
)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The result of an export.

    Attributes:
        images: Number of images in the list.
        files: Number of feature files by method.
        failures: Images that could not be written, and why.
        seconds: Duration, seconds.
        failed: Number of failures.
    """

    images: int
    files: Mapping[str, int]
    failures: tuple[Failure, ...]
    seconds: float
    failed: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "failed", len(self.failures))


def read_npy_layout(folder: Path) -> Iterator[Entry | Failure]:
    """Yield the images of a layout in the order of its list, then those that are not in the list.

    An invalid file becomes a ``Failure`` that names it, and the image is yielded with its other features. Nothing
    in a file is executed, and reading needs no more memory than the size of the file.

    Args:
        folder: The folder with ``features`` and ``dataset.csv``. Without a list, ids are taken from file names.

    Raises:
        SourceError: there are no features, or the list is invalid; names the file and line.
    """
    return _entries(_open(folder))


def import_npy_layout(
    store: Store,
    folder: Path,
    *,
    fingerprints: Mapping[str, Fingerprint] | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
) -> AddReport:
    """Import the images of a layout into a store.

    An image with an existing id keeps its data and gets the imported features in addition.

    Args:
        store: Destination.
        folder: The folder with ``features`` and ``dataset.csv``.
        fingerprints: Method -> fingerprint to register its features under, by which the caller asserts that they
            are compatible. Other methods are registered as of unknown origin (see the module docstring).
        progress: Called after every batch.
        stop: When set, the import ends after the current batch.

    Returns:
        The result, including every file that could not be used. Imported images are durable.

    Raises:
        SourceError: there are no features, or the list is invalid.
        FingerprintMismatchError: the store contains features of a method that were made differently.
    """
    counters = Counters(progress)
    layout = _open(folder)
    methods = [method for method in METHODS if layout.files[method.folder]]
    for method in methods:
        store.register((fingerprints or {}).get(method.name, method.fingerprint), method.spec)
    total, interrupted = len(layout.ids), False
    batch: list[Entry] = []
    nbytes = 0
    for item in _entries(layout):
        if stop and stop.is_set():
            interrupted = True
            break
        if isinstance(item, Failure):
            counters.failures.append(item)
            continue
        batch.append(item)
        nbytes += sum(features.nbytes for features in item.features.values())
        if len(batch) >= _BATCH_IMAGES or nbytes >= _BATCH_BYTES:
            _put(store, batch, counters, total)
            batch, nbytes = [], 0
    if batch:
        _put(store, batch, counters, total)
    return counters.report([method.name for method in methods], interrupted=interrupted)


def write_npy_layout(
    store: Store, folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> ExportReport:
    """Export all images of a store and their features of the three methods as a layout.

    ``read_npy_layout`` returns the descriptors and vectors bit for bit; keypoints, thumbnails, metadata and other
    methods are not exported. The list is written last: a folder without it is incomplete.

    Args:
        store: The store to export.
        folder: A new or empty folder.
        progress: Called with (written, total) images.

    Raises:
        SourceError: the folder is not empty or cannot be written.
    """
    start = time.monotonic()
    failures: list[Failure] = []
    files = {method.name: 0 for method in METHODS}
    try:
        if folder.exists() and any(folder.iterdir()):
            raise SourceError(f"{folder} is not empty", hint="use a new or empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        info = store.info()
        present = [method for method in METHODS if method.name in info.methods]
        for method in present:
            if info.methods[method.name].spec != method.spec:
                raise SourceError(
                    f"cannot export the {method.name} features, {info.methods[method.name].spec}: "
                    f"the layout requires {method.spec}"
                )
            (folder / FEATURES_NAME / method.folder).mkdir(parents=True)
        rows: list[tuple[str, str]] = []
        for page in iter_image_pages(store.images, page_size=_BATCH_IMAGES):
            if progress:
                progress(len(rows), info.images)
            names = {record.id: f"{quote(record.id, safe='')}.npy" for record in page}
            for record in page:
                if len(names[record.id]) > 255:
                    message = f"the id has {len(record.id)} characters, which is too long for a file name"
                    failures.append(Failure(record.id, record.uri, SourceError.code, message))
                    del names[record.id]
                else:
                    rows.append((record.uri, record.id))
            for method in present:
                block = store.select(method.name, list(names))
                for number, image_id in enumerate(block.ids):
                    path = folder / FEATURES_NAME / method.folder / names[image_id]
                    write_array(path, _array(block.features.image(number)))
                    files[method.name] += 1
        with (folder / LIST_NAME).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("url", "id"))
            writer.writerows(rows)
    except OSError as error:
        raise SourceError(f"{folder} cannot be written: {error.strerror}") from error
    return ExportReport(len(rows), files, tuple(failures), time.monotonic() - start)


# -- reading -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Row:
    """A row of the list."""

    line: int
    url: str
    metadata: dict[str, str]


@dataclass(slots=True)
class _Layout:
    """The list and the file names of a layout; no features have been read.

    Attributes:
        rows: Rows of the list by id.
        files: Folder -> id -> file.
        invalid: Files with invalid or conflicting names.
    """

    rows: dict[str, _Row]
    files: dict[str, dict[str, Path]] = field(default_factory=dict)
    invalid: list[Failure] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """All ids: those of the list, then the others, sorted."""
        others = {image_id for files in self.files.values() for image_id in files} - self.rows.keys()
        return [*self.rows, *sorted(others)]


def _put(store: Store, batch: list[Entry], counters: Counters, total: int) -> None:
    existing = store.status([entry.image.id for entry in batch])
    new = [entry for entry in batch if entry.image.id not in existing]
    store.put(new)
    for entry in batch:
        if entry.image.id in existing:
            store.put_features(entry.image.id, entry.features)
    counters.added += len(new)
    counters.replaced += len(batch) - len(new)
    counters.current = batch[-1].image.id
    counters.report_progress(total, now=True)


def _open(folder: Path) -> _Layout:
    try:
        if not (folder / FEATURES_NAME).is_dir():
            raise SourceError(
                f"{folder} has no folder {FEATURES_NAME!r}",
                hint="required: dataset.csv and features/sift, features/resnet_50 or features/microsoft_beit",
            )
        layout = _Layout(_read_list(folder / LIST_NAME))
        for method in METHODS:
            layout.files[method.folder] = _files_of(folder / FEATURES_NAME / method.folder, layout)
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror}") from error
    if not any(layout.files.values()) and not layout.invalid:
        raise SourceError(f"{folder / FEATURES_NAME} contains no .npy files of sift, resnet_50 or microsoft_beit")
    return layout


def _files_of(folder: Path, layout: _Layout) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        stem = path.name.removesuffix(".npy")
        if stem in ("", path.name):
            continue
        if name_to_text(stem) != stem:
            layout.invalid.append(_failure(name_to_text(stem), "", path, "the file name is not valid UTF-8"))
            continue
        image_id = _id_of(stem, layout.rows)
        if image_id in files:
            reason = f"it belongs to the same image as {files[image_id].name}"
            layout.invalid.append(_failure(image_id, "", path, reason))
            continue
        files[image_id] = path
    return files


def _id_of(stem: str, rows: Mapping[str, _Row]) -> str:
    try:
        decoded = unquote(stem, errors="strict")
    except UnicodeDecodeError:
        return stem
    # The original program did not encode ids: %20 in a name may be literal.
    if decoded not in rows and (stem in rows or quote(decoded, safe="") != stem):
        return stem
    return decoded


def _read_list(path: Path) -> dict[str, _Row]:
    rows: dict[str, _Row] = {}
    if not path.exists():
        return rows
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = [column.strip() for column in reader.fieldnames or ()]
            for column in ("url", "id"):
                if columns.count(column) != 1:
                    raise SourceError(
                        f"{path} line 1: expected one column {column!r}, found {columns.count(column)}"
                    )
            reader.fieldnames = columns
            for row in reader:
                line = reader.line_num
                if None in row or None in row.values():
                    raise SourceError(f"{path} line {line}: expected {len(columns)} fields as in the first line")
                image_id = row.pop("id")
                if not image_id:
                    raise SourceError(f"{path} line {line}: the id is empty")
                if image_id in rows:
                    raise SourceError(
                        f"{path} line {line}: the id {image_id!r} was already used in line {rows[image_id].line}"
                    )
                rows[image_id] = _Row(line, row.pop("url"), row)
    except csv.Error as error:
        raise SourceError(f"{path} after line {line}: not valid CSV: {error}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} after line {line}: not valid UTF-8: {error}") from error
    return rows


def _entries(layout: _Layout) -> Iterator[Entry | Failure]:
    yield from layout.invalid
    for image_id in layout.ids:
        row = layout.rows.get(image_id)
        url = row.url if row else ""
        features: dict[str, Features] = {}
        found = False
        for method in METHODS:
            path = layout.files[method.folder].get(image_id)
            if path is not None:
                found = True
                try:
                    features[method.name] = _features(method, read_array(path))
                except SourceError as error:
                    yield _failure(image_id, url, path, error.message)
                except OSError as error:
                    yield _failure(image_id, url, path, f"cannot be read: {error.strerror}")
        metadata = row.metadata if row else {}
        try:
            check_metadata(metadata)
        except MetadataError as error:
            where = f"{LIST_NAME} line {row.line}" if row else LIST_NAME
            yield Failure(image_id, url, SourceError.code, f"{where}: {error.message}")
            continue
        if features:
            yield Entry(ImageRecord(image_id, url, "", 0, 0, 0, "", metadata=metadata), features)
        elif row and not found:
            message = f"{LIST_NAME} line {row.line}: the image has no feature file"
            yield Failure(image_id, url, SourceError.code, message)


def _failure(image_id: str, url: str, path: Path, reason: str) -> Failure:
    return Failure(image_id, url, SourceError.code, f"{name_to_text(str(path))}: {reason}")


def _features(method: LayoutMethod, array: NDArray[Any] | None) -> Features:
    """Convert the array of a file to features; ``None`` means an image without descriptors."""
    rows, dim = method.rows, method.spec.dim
    if rows is None and (array is None or array.shape in ((0,), (0, dim))):
        array = np.empty((0, dim), dtype=np.float32)
    if array is None:
        raise SourceError("contains no array")
    shape = array.shape
    if array.ndim == 3 and shape[0] == 1:
        array = array[0]
    elif array.ndim == 1 and method.spec.kind == "global":
        array = array[None]
    if array.ndim != 2 or array.shape[1] != dim or (rows is not None and len(array) != rows):
        raise SourceError(f"expected shape ({'n' if rows is None else rows}, {dim}), found {shape}")
    numbers = _numbers(array, method.spec.dtype)
    if method.spec.kind == "global":
        return GlobalFeatures(numbers)
    keypoints = np.zeros((len(numbers), 4), dtype=np.float32)
    keypoints[:, 3] = -1
    return LocalFeatures(numbers, keypoints, np.array([0, len(numbers)], dtype=np.int64))


def _array(features: Features) -> NDArray[Any]:
    return features.vectors[0] if isinstance(features, GlobalFeatures) else features.descriptors


def _numbers(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Convert an array to another type without changing any value."""
    if not np.isfinite(array).all():
        raise SourceError("contains infinite or NaN values")
    if dtype == "uint8" and array.size and (array.min() < 0 or array.max() > 255):
        raise SourceError(f"contains values from {array.min()} to {array.max()}; descriptors must be 0 to 255")
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(array.astype(dtype))
    if not np.array_equal(numbers, array):
        raise SourceError(f"values of type {array.dtype} are not {'integers' if dtype == 'uint8' else dtype}")
    return numbers
