"""The files of an index: a manifest, a model and segments.

* ``manifest.json`` names the model and the segments that count; it is replaced at once. Whatever else is in the
  folder is left over.
* a model: what was learned from the collection (words, directions).
* segments: codes of images, by the keys of their features. A key stands for the same features for ever, so a
  segment never becomes wrong; what is gone is masked, what is new gets a segment of its own, small segments are
  merged.

Nothing is trusted: each file has checksums; the manifest names the fingerprint of the features and the version of
the codec; of each segment some keys are kept with the checksum that the store has of their features, so that
files of another collection are detected. What does not fit is ignored and built again. Two processes that index at
once do the work twice; the manifest of the later one counts.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagefinder.ann import arrays
from imagefinder.ann.arrays import Arrays
from imagefinder.ann.codec import Codec
from imagefinder.ann.segment import Segment, disjoint
from imagefinder.core.contracts import Store
from imagefinder.core.features import FeatureSpec
from imagefinder.core.files import write_atomically
from imagefinder.core.records import SHORTLIST

_FORMAT = 1
_MANIFEST = "manifest.json"
_WITNESSES = 16

_UNUSABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a file raises that is damaged, or not ours."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Model:
    """What a codec learned from a collection.

    Attributes:
        arrays: See ``Codec.train``.
        name: Of its file; empty without one.
    """

    arrays: Arrays
    name: str = ""

    @property
    def words(self) -> int:
        """How many words it has."""
        return int(self.arrays["fine"].shape[0] * self.arrays["fine"].shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return sum(array.nbytes for array in self.arrays.values())


class IndexFiles:
    """Reads and writes the files of the index of one method, in a folder of its own.

    Attributes:
        fingerprint: Digest of the fingerprint of the features; files of another one are ignored.
    """

    def __init__(self, store: Store, method: str, spec: FeatureSpec, codec: Codec) -> None:
        """Only stores."""
        self.fingerprint = ""
        self._store = store
        self._method = method
        self._spec = spec
        self._codec = codec

    @property
    def folder(self) -> Path | None:
        """Where they are; ``None`` if the store has no folder for derived data."""
        derived = self._store.derived_folder()
        return derived and derived / f"{SHORTLIST}{self._method}"

    def stamp(self) -> tuple[int, int] | None:
        """Changes with every manifest; ``None`` without one."""
        try:
            status = self._file(_MANIFEST).stat() if self.folder else None
        except OSError:
            return None
        return status and (status.st_ino, status.st_mtime_ns)

    def load(
        self, model: Model | None, segments: Sequence[Segment], problems: list[str]
    ) -> tuple[Model, list[Segment]] | None:
        """The model and segments that the manifest names, as far as they are sound and of this store.

        Args:
            model: What is in memory; not read again if the manifest names it.
            segments: Those in memory; what the manifest names of them is not read again.
            problems: What is wrong with files that are ignored is appended, for people.

        Returns:
            ``None`` if there is no usable model.
        """
        try:
            name, names = self._read_manifest()
            known = {segment.name: segment for segment in segments if segment.name}
            if model is None or model.name != name:
                model, known = self._read_model(name), {}
        except _UNUSABLE as error:
            problems.append(f"the index of {self._method} is not used: {error}")
            _log.info("the index of %s is not used: %s", self._method, error)
            return None
        usable = []
        for segment in names:
            try:
                usable.append(known.get(segment) or self._read_segment(segment, model))
            except _UNUSABLE as error:
                problems.append(f"a part of the index of {self._method} is not used: {error}")
                _log.info("%s is not used: %s", segment, error)
        return model, disjoint(usable)

    def write(self, model: Model, segment: Segment) -> Segment:
        """The same segment mapped from its file, if files can be written; its model gets a file, too."""
        if self.folder is None:
            return segment
        try:
            if not model.name:
                model_name = f"model-{uuid.uuid4().hex[:12]}.bin"
                arrays.write(self._file(model_name), {"made": self._made()}, model.arrays)
                model.name = model_name
            name = f"segment-{uuid.uuid4().hex[:12]}.bin"
            chosen = segment.keys[:: max(1, len(segment.keys) // _WITNESSES)]
            witnesses = sorted(self._store.checksums(self._method, chosen).items())
            arrays.write(self._file(name), {"model": model.name, "witnesses": witnesses}, segment.arrays())
            _, mapped = arrays.read(self._file(name))
        except (OSError, ValueError):  # read-only or full: this process keeps it in memory
            _log.info("could not keep a part of the index of %s", self._method, exc_info=True)
            return segment
        written = Segment(**mapped, name=name)
        written.alive = segment.alive
        return written

    def publish(self, model: Model, segments: Sequence[Segment]) -> tuple[int, int] | None:
        """Make other processes use these segments, and remove all other files.

        Returns:
            The new stamp; ``None`` if something has no file, or files cannot be written.
        """
        folder = self.folder
        if folder is None or not model.name or any(not segment.name for segment in segments):
            return None
        names = [segment.name for segment in segments]
        manifest = {"made": self._made(), "model": model.name, "segments": names}
        stamp = None
        try:
            write_atomically(folder / _MANIFEST, [json.dumps(manifest).encode()])
            stamp = self.stamp()
            for path in folder.iterdir():
                if path.name not in (_MANIFEST, model.name, *names):
                    path.unlink(missing_ok=True)  # those who have it mapped keep it
        except OSError:
            _log.info("could not publish the index of %s", self._method, exc_info=True)
        return stamp

    def _file(self, name: str) -> Path:
        folder = self.folder
        assert folder is not None  # noqa: S101 - the callers looked
        return folder / name

    def _read_manifest(self) -> tuple[str, list[str]]:
        manifest = json.loads(self._file(_MANIFEST).read_bytes())
        if manifest["made"] != self._made():
            raise ValueError("it was made otherwise")
        return str(manifest["model"]), [str(name) for name in manifest["segments"]]

    def _read_model(self, name: str) -> Model:
        meta, learned = arrays.read(self._file(name))
        if meta["made"] != self._made():
            raise ValueError("the model was made otherwise")
        self._codec.check(learned)
        return Model(learned, name)

    def _read_segment(self, name: str, model: Model) -> Segment:
        path = self._file(name)
        meta, mapped = arrays.read(path)
        if meta["model"] != model.name:
            raise ValueError("it belongs to another model")
        segment = Segment(**mapped, name=path.name)
        if not segment.is_sound(model.words):
            raise ValueError("its arrays do not belong together")
        expected = {int(key): int(value) for key, value in meta["witnesses"]}
        keys = np.array(sorted(expected), dtype=np.int64)
        found = self._store.checksums(self._method, keys) if expected else {}
        if any(expected[key] != value for key, value in found.items()):
            raise ValueError("it is of another collection")
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
