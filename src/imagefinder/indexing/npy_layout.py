"""The folder of the original program: one ``.npy`` file per image and method, and a list of the images.

::

    dataset.csv                          columns url, id
    features/sift/NAME.npy               (n, 128): descriptors, whole numbers 0..255, stored as float32
    features/resnet_50/NAME.npy          (2048,)
    features/microsoft_beit/NAME.npy     (197, 768)

``NAME`` is the id, percent-encoded where it is no file name (``a/b`` is ``a%2Fb``).

The layout has no keypoints. Imported descriptors get keypoints that say so: x, y and size 0, angle -1. What needs
places in the picture cannot be done with them. Nor has it pictures: records have no hash, size or thumbnail.

And it does not say how features were made. The original program's are not ours: it took OpenCV's default
parameters for SIFT, and gave pictures with red and blue exchanged to the networks. Imported features are therefore
registered under a fingerprint of their own, and nothing mixes them with ours: a search by the id of an imported
image works, a search by a picture is refused as a ``FingerprintMismatchError``. A caller who
knows better passes the fingerprints to register them under.
"""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Store
from imagefinder.core.errors import SourceError, UnknownImageError
from imagefinder.core.features import Features, FeatureSpec, GlobalFeatures, LocalFeatures
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.paging import iter_images
from imagefinder.core.records import Entry, Failure, ImageRecord
from imagefinder.indexing.npy_file import read_array, write_array
from imagefinder.indexing.progress import AddReport, Progress, Tally
from imagefinder.indexing.source_item import readable

LIST_NAME = "dataset.csv"
FEATURES_NAME = "features"

_BATCH_IMAGES = 16
_BATCH_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class LayoutMethod:
    """One folder of features.

    Attributes:
        folder: Its name in the layout.
        method: Name of the method.
        spec: Form of the features.
        rows: Descriptors per image; ``None`` if that differs.
    """

    folder: str
    method: str
    spec: FeatureSpec
    rows: int | None

    @property
    def fingerprint(self) -> Fingerprint:
        """Of imported features whose making is unknown."""
        return Fingerprint(self.method, version=0, parameters={"origin": "imported .npy"})


METHODS = (
    LayoutMethod("sift", "sift", FeatureSpec("local", 128, "uint8"), None),
    LayoutMethod("resnet_50", "resnet50", FeatureSpec("global", 2048, "float32"), 1),
    LayoutMethod("microsoft_beit", "beit", FeatureSpec("local", 768, "float32"), 197),
)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        images: Lines of the list.
        files: Files of features, by method.
        failures: Images that could not be written, and why.
        seconds: Time it took.
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
    """The images of a layout in the order of its list, then those that are not in it.

    A file that cannot be used becomes a ``Failure`` that names it; the image comes with its other features.
    Nothing in a file is executed, and no more memory is taken than the file has bytes.

    Args:
        folder: The one with ``features`` and ``dataset.csv`` in it. Without a list the names of files say the ids.

    Raises:
        SourceError: there are no features, or the list cannot be understood; names file and line.
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
    """Put the images of a layout into a store.

    Images whose ids are there keep all they have and get the features in addition.

    Args:
        store: Where they go.
        folder: See ``read_npy_layout``.
        fingerprints: Method -> the fingerprint to register its features under: the caller's word that they were
            made that way. Others are registered as of unknown make (see the head of this module).
        progress: Called after every batch.
        stop: Set it to end after the batch at hand.

    Returns:
        What was done, with every file that could not be used. What was put is durable.

    Raises:
        SourceError: see ``read_npy_layout``.
        FingerprintMismatchError: the store holds features of the method that were made otherwise.
    """
    tally = Tally(progress)
    layout = _open(folder)
    methods = [made for made in METHODS if layout.files[made.folder]]
    for made in methods:
        store.register((fingerprints or {}).get(made.method, made.fingerprint), made.spec)
    total, interrupted = len(layout.ids), False
    batch: list[Entry] = []
    nbytes = 0
    for item in _entries(layout):
        if stop and stop.is_set():
            interrupted = True
            break
        if isinstance(item, Failure):
            tally.failures.append(item)
            continue
        batch.append(item)
        nbytes += sum(features.nbytes for features in item.features.values())
        if len(batch) >= _BATCH_IMAGES or nbytes >= _BATCH_BYTES:
            _put(store, batch, tally, total)
            batch, nbytes = [], 0
    if batch:
        _put(store, batch, tally, total)
    return tally.report([made.method for made in methods], interrupted=interrupted)


def write_npy_layout(
    store: Store, folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> ExportReport:
    """Write all images of a store, with their features of the three methods, as a layout.

    Descriptors and vectors come back from ``read_npy_layout`` bit for bit; keypoints, thumbnails, metadata and
    other methods have no place in it. The list is written last: a folder without it is not finished.

    Args:
        store: What to write.
        folder: A new or an empty one.
        progress: Called with the number of images written and of all.

    Raises:
        SourceError: the folder is not empty or cannot be written.
    """
    begin = time.monotonic()
    failures: list[Failure] = []
    files = {made.method: 0 for made in METHODS}
    try:
        if folder.exists() and any(folder.iterdir()):
            raise SourceError(f"{folder} is not empty", hint="name a new or an empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        info = store.info()
        present = [made for made in METHODS if made.method in info.methods]
        for made in present:
            if info.methods[made.method].spec != made.spec:
                raise SourceError(
                    f"the layout has no place for {made.method} features of the form "
                    f"{info.methods[made.method].spec}; it holds {made.spec}"
                )
            (folder / FEATURES_NAME / made.folder).mkdir(parents=True)
        rows: list[tuple[str, str]] = []
        for record in iter_images(store.images):
            if progress and len(rows) % _BATCH_IMAGES == 0:
                progress(len(rows), info.images)
            name = f"{quote(record.id, safe='')}.npy"
            if len(name) > 255:
                message = f"the id has {len(record.id)} characters, too many for the name of a file"
                failures.append(Failure(record.id, record.uri, SourceError.code, message))
                continue
            with suppress(UnknownImageError):  # it was removed just now
                there = store.status([record.id]).get(record.id)
                for made in present:
                    if there and made.method in there.methods:
                        array = _array(store.features(record.id, made.method))
                        write_array(folder / FEATURES_NAME / made.folder / name, array)
                        files[made.method] += 1
                rows.append((record.uri, record.id))
        with (folder / LIST_NAME).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("url", "id"))
            writer.writerows(rows)
    except OSError as error:
        raise SourceError(f"{folder} cannot be written: {error.strerror}") from error
    return ExportReport(len(rows), files, tuple(failures), time.monotonic() - begin)


# -- reading -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Row:
    """What the list says of an image."""

    line: int
    url: str
    metadata: dict[str, str]


@dataclass(slots=True)
class _Layout:
    """A layout whose names are known and none of whose features has been read.

    Attributes:
        rows: The list, by id.
        files: Folder -> id -> file.
        unusable: Files whose names say no id.
    """

    rows: dict[str, _Row]
    files: dict[str, dict[str, Path]] = field(default_factory=dict)
    unusable: list[Failure] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """All of them: those of the list, then the others in order."""
        others = {image_id for files in self.files.values() for image_id in files} - self.rows.keys()
        return [*self.rows, *sorted(others)]


def _put(store: Store, batch: list[Entry], tally: Tally, total: int) -> None:
    known = store.status([entry.image.id for entry in batch])
    new = [entry for entry in batch if entry.image.id not in known]
    store.put(new)
    for entry in batch:
        if entry.image.id in known:
            store.put_features(entry.image.id, entry.features)
    tally.added += len(new)
    tally.replaced += len(batch) - len(new)
    tally.current = batch[-1].image.id
    tally.report_progress(total, now=True)


def _open(folder: Path) -> _Layout:
    try:
        if not (folder / FEATURES_NAME).is_dir():
            raise SourceError(
                f"{folder} has no folder {FEATURES_NAME!r}",
                hint="it should hold dataset.csv and features/sift, features/resnet_50 or features/microsoft_beit",
            )
        layout = _Layout(_read_list(folder / LIST_NAME))
        for made in METHODS:
            layout.files[made.folder] = _files_of(folder / FEATURES_NAME / made.folder, layout)
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror}") from error
    if not any(layout.files.values()) and not layout.unusable:
        raise SourceError(f"{folder / FEATURES_NAME} holds no .npy files of sift, resnet_50 or microsoft_beit")
    return layout


def _files_of(folder: Path, layout: _Layout) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        stem = path.name.removesuffix(".npy")
        if stem in ("", path.name):
            continue
        if readable(stem) != stem:
            layout.unusable.append(_failure(readable(stem), "", path, "its name is no UTF-8"))
            continue
        image_id = _id_of(stem, layout.rows)
        if image_id in files:
            reason = f"it is of the same image as {files[image_id].name}"
            layout.unusable.append(_failure(image_id, "", path, reason))
            continue
        files[image_id] = path
    return files


def _id_of(stem: str, rows: Mapping[str, _Row]) -> str:
    try:
        decoded = unquote(stem, errors="strict")
    except UnicodeDecodeError:
        return stem
    # The original program wrote ids as they were: %20 in a name may be meant.
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
                        f"{path} line 1: one column {column!r} is needed, not {columns.count(column)}"
                    )
            reader.fieldnames = columns
            for row in reader:
                line = reader.line_num
                if None in row or None in row.values():
                    raise SourceError(
                        f"{path} line {line}: it has not the {len(columns)} fields of the first line"
                    )
                image_id = row.pop("id")
                if not image_id:
                    raise SourceError(f"{path} line {line}: the id is empty")
                if image_id in rows:
                    raise SourceError(
                        f"{path} line {line}: id {image_id!r} was in line {rows[image_id].line} already"
                    )
                rows[image_id] = _Row(line, row.pop("url"), row)
    except csv.Error as error:
        raise SourceError(f"{path} behind line {line}: not valid CSV: {error}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} behind line {line}: not valid UTF-8: {error}") from error
    return rows


def _entries(layout: _Layout) -> Iterator[Entry | Failure]:
    yield from layout.unusable
    for image_id in layout.ids:
        row = layout.rows.get(image_id)
        url = row.url if row else ""
        features: dict[str, Features] = {}
        found = False
        for made in METHODS:
            path = layout.files[made.folder].get(image_id)
            if path is not None:
                found = True
                try:
                    features[made.method] = _features(made, read_array(path))
                except SourceError as error:
                    yield _failure(image_id, url, path, error.message)
                except OSError as error:
                    yield _failure(image_id, url, path, f"it cannot be read: {error.strerror}")
        if features:
            record = ImageRecord(image_id, url, "", 0, 0, 0, "", metadata=row.metadata if row else {})
            yield Entry(record, features)
        elif row and not found:
            message = f"{LIST_NAME} line {row.line} names it, and there is no file of its features"
            yield Failure(image_id, url, SourceError.code, message)


def _failure(image_id: str, url: str, path: Path, reason: str) -> Failure:
    return Failure(image_id, url, SourceError.code, f"{readable(str(path))}: {reason}")


def _features(made: LayoutMethod, array: NDArray[Any] | None) -> Features:
    """Features of one image from the array of its file; ``None`` is the original program's "no descriptors"."""
    rows, dim = made.rows, made.spec.dim
    if rows is None and (array is None or array.shape in ((0,), (0, dim))):
        array = np.empty((0, dim), dtype=np.float32)
    if array is None:
        raise SourceError("it holds no array of numbers")
    shape = array.shape
    if array.ndim == 3 and shape[0] == 1:
        array = array[0]
    elif array.ndim == 1 and made.spec.kind == "global":
        array = array[None]
    if array.ndim != 2 or array.shape[1] != dim or (rows is not None and len(array) != rows):
        raise SourceError(f"its shape is {shape}, not ({'n' if rows is None else rows}, {dim})")
    numbers = _numbers(array, made.spec.dtype)
    if made.spec.kind == "global":
        return GlobalFeatures(numbers)
    keypoints = np.zeros((len(numbers), 4), dtype=np.float32)
    keypoints[:, 3] = -1
    return LocalFeatures(numbers, keypoints, np.array([0, len(numbers)], dtype=np.int64))


def _array(features: Features) -> NDArray[Any]:
    return features.vectors[0] if isinstance(features, GlobalFeatures) else features.descriptors


def _numbers(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The same numbers in another type; refused where they would not be the same."""
    if not np.isfinite(array).all():
        raise SourceError("it holds numbers that are not finite")
    if dtype == "uint8" and array.size and (array.min() < 0 or array.max() > 255):
        raise SourceError(f"its numbers go from {array.min()} to {array.max()}; descriptors have 0 to 255")
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(array.astype(dtype))
    if not np.array_equal(numbers, array):
        raise SourceError(f"its numbers ({array.dtype}) are no {'whole numbers' if dtype == 'uint8' else dtype}")
    return numbers
