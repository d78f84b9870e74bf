"""The files of an index: a manifest, a model and segments.

* ``manifest.json`` names the model and the current segments; it is replaced atomically. All other files in the
  folder are leftovers. Its cursor says up to which change of the store the segments contain all images, except
  those listed as gone; a process that opens the index reads the changes since then.
* The model is what the codec trained on the collection (words, directions).
* The segments contain the codes of images by the keys of their features. A key always refers to the same features,
  so segments never become stale: removed images are masked, new images go to new segments, small segments are
  merged.

All files are verified: each has checksums, the manifest contains the fingerprint of the features and the version
of the codec, and each segment contains some keys with the store's checksum of their features, so that files of
another collection are detected. Invalid files are ignored and rebuilt. If two processes index at once, both do the
work and the later manifest counts.
"""

from __future__ import annotations

import json
import logging
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagefinder.ann import arrays
from imagefinder.ann.arrays import Arrays
from imagefinder.ann.codec import Codec
from imagefinder.ann.coverage import Coverage
from imagefinder.ann.segment import Keys, Segment, disjoint
from imagefinder.core.contracts import Store
from imagefinder.core.features import FeatureSpec
from imagefinder.core.files import write_atomically
from imagefinder.core.records import SHORTLIST, Cursor
from imagefinder.core.scratch import Scratch

_FORMAT = 2
_MANIFEST = "manifest.json"
_WITNESSES = 16

_UNUSABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""Errors raised when a file is damaged or of another format."""

_log = logging.getLogger(__name__)


class OutdatedIndexError(Exception):
    """An index was made by another version of imagefinder, or from features with another fingerprint."""


@dataclass(slots=True, eq=False)
class IndexModel:
    """The model that a codec trained on a collection.

    Attributes:
        arrays: The arrays that ``Codec.train`` returned.
        name: Name of its file; empty without a file.
    """

    arrays: Arrays
    name: str = ""

    @property
    def words(self) -> int:
        """Number of words, gaps in their numbers included."""
        return self.arrays["halves"].size

    @property
    def nbytes(self) -> int:
        """Size of its arrays in bytes."""
        return sum(array.nbytes for array in self.arrays.values())


class IndexFiles:
    """Reads and writes the files of the index of one method.

    Attributes:
        fingerprint: Digest of the fingerprint of the features; files with another one are ignored.
    """

    def __init__(
        self, store: Store, method: str, spec: FeatureSpec, codec: Codec, scratch: Scratch | None
    ) -> None:
        """Create an accessor; no file is read yet."""
        self.fingerprint = ""
        self._store = store
        self._method = method
        self._spec = spec
        self._codec = codec
        self._scratch = scratch

    @property
    def folder(self) -> Path | None:
        """The folder of the index; ``None`` without scratch space."""
        return self._scratch.folder(f"{SHORTLIST}{self._method}") if self._scratch else None

    def stamp(self) -> tuple[int, int] | None:
        """Identifies the current manifest; ``None`` if there is none."""
        try:
            status = self._file(_MANIFEST).stat() if self.folder else None
        except OSError:
            return None
        return status and (status.st_ino, status.st_mtime_ns)

    def load(
        self, model: IndexModel | None, segments: Sequence[Segment], problems: list[str]
    ) -> tuple[IndexModel, Coverage] | None:
        """Load the model and the segments of the manifest that are valid for this store.

        Args:
            model: The model in memory; it is not read again if the manifest names it.
            segments: The segments in memory; those that the manifest names are not read again.
            problems: Receives one sentence for each file that is ignored.

        Returns:
            The model and the coverage, which goes on from the cursor of the manifest if all segments are valid.
            ``None`` if there is no usable model.
        """
        try:
            name, names, gone, cursor = self._read_manifest()
            loaded = {segment.name: segment for segment in segments if segment.name}
            if model is None or model.name != name:
                model, loaded = self._read_model(name), {}
        except OutdatedIndexError:  # no damage: the next refresh builds it again
            _log.info("the index of %s was made by another version or with other features", self._method)
            return None
        except _UNUSABLE as error:
            problems.append(f"the index of {self._method} is ignored: {error}")
            _log.info("the index of %s is ignored: %s", self._method, error)
            return None
        usable = []
        for segment in names:
            try:
                usable.append(loaded.get(segment) or self._read_segment(segment, model))
            except _UNUSABLE as error:
                problems.append(f"a segment of the index of {self._method} is ignored: {error}")
                _log.info("%s is ignored: %s", segment, error)
        usable = disjoint(usable)
        if len(usable) < len(names):  # images of the others must be listed again
            return model, Coverage(usable)
        for one in usable:
            one.alive = np.ones(len(one.keys), dtype=np.bool_)
            one.mask(gone)
        return model, Coverage(usable, cursor)

    def write(self, model: IndexModel, segment: Segment) -> Segment:
        """Write a segment, and its model if necessary; returns the segment, memory-mapped if it was written."""
        if self.folder is None:
            return segment
        try:
            if not model.name:
                model_name = f"model-{uuid.uuid4().hex[:12]}.bin"
                arrays.write(self._file(model_name), {"made": self._made()}, model.arrays)
                model.name = model_name
            name = f"segment-{uuid.uuid4().hex[:12]}.bin"
            # The last keys are among them: if an older copy of the database is put back, they are given again.
            chosen = np.union1d(
                segment.keys[:: max(1, len(segment.keys) // _WITNESSES)], segment.keys[-_WITNESSES:]
            )
            witnesses = sorted(self._store.checksums(self._method, chosen).items())
            arrays.write(self._file(name), {"model": model.name, "witnesses": witnesses}, segment.arrays())
            _, mapped = arrays.read(self._file(name), scattered=True)
        except (OSError, ValueError):  # read-only or full: the segment stays in memory
            _log.info("could not write a segment of the index of %s", self._method, exc_info=True)
            return segment
        written = Segment(**mapped, name=name)
        written.alive = segment.alive
        return written

    def publish(self, model: IndexModel, coverage: Coverage) -> tuple[int, int] | None:
        """Write a manifest with these segments, which other processes then use, and remove all other files.

        Args:
            model: The model.
            coverage: The segments, which contain all images; none is waiting.

        Returns:
            The new stamp; ``None`` if the model or a segment has no file, or the manifest cannot be written.
        """
        folder, segments = self.folder, coverage.segments
        if folder is None or not model.name or any(not segment.name for segment in segments):
            return None
        names = [segment.name for segment in segments]
        manifest = {
            "made": self._made(),
            "model": model.name,
            "segments": names,
            "cursor": coverage.cursor,
            "gone": coverage.gone.tolist(),
        }
        stamp = None
        try:
            signed = {"checksum": _checksum(manifest), **manifest}
            write_atomically(folder / _MANIFEST, [json.dumps(signed).encode()])
            stamp = self.stamp()
            for path in folder.iterdir():
                if path.name not in (_MANIFEST, model.name, *names):
                    path.unlink(missing_ok=True)  # processes that have mapped it can still read it
        except OSError:
            _log.info("could not write the manifest of the index of %s", self._method, exc_info=True)
        return stamp

    def _file(self, name: str) -> Path:
        folder = self.folder
        assert folder is not None  # noqa: S101 - a precondition
        return folder / name

    def _read_manifest(self) -> tuple[str, list[str], Keys, Cursor | None]:
        """Names of the model and the segments, keys of removed images, and the cursor."""
        manifest = json.loads(self._file(_MANIFEST).read_bytes())
        if manifest["made"] != self._made():
            raise OutdatedIndexError
        names = [str(name) for name in manifest["segments"]]
        if "checksum" not in manifest:  # of version 0.1: all images are compared with the segments once
            return str(manifest["model"]), names, np.empty(0, dtype=np.int64), None
        if manifest.pop("checksum") != _checksum(manifest):
            raise ValueError("its manifest is damaged")
        gone = np.array([int(key) for key in manifest["gone"]], dtype=np.int64)
        return str(manifest["model"]), names, gone, str(manifest["cursor"])

    def _read_model(self, name: str) -> IndexModel:
        meta, trained = arrays.read(self._file(name))
        if meta["made"] != self._made():
            raise OutdatedIndexError
        self._codec.check(trained)
        return IndexModel(trained, name)

    def _read_segment(self, name: str, model: IndexModel) -> Segment:
        path = self._file(name)
        meta, mapped = arrays.read(path, scattered=True)
        if meta["model"] != model.name:
            raise ValueError("it belongs to another model")
        segment = Segment(**mapped, name=path.name)
        if not segment.is_sound(model.words):
            raise ValueError("its arrays are inconsistent")
        expected = {int(key): int(value) for key, value in meta["witnesses"]}
        keys = np.array(sorted(expected), dtype=np.int64)
        found = self._store.checksums(self._method, keys) if expected else {}
        if any(expected[key] != value for key, value in found.items()):
            raise ValueError("it belongs to another collection")
        return segment

    def _made(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "scheme": self._codec.name,
            "version": self._codec.version,
            "method": self._method,
            "features": self.fingerprint,
            "dim": self._spec.dim,
            "dtype": self._spec.dtype,
        }


def _checksum(manifest: Mapping[str, Any]) -> int:
    """CRC-32 of a manifest: a changed digit of its cursor would hide images."""
    return zlib.crc32(json.dumps(manifest).encode())
