"""The life of an index: learned once, grown by segments, masked where images are gone, thrown away when in doubt.

Files of one method, in a folder of its own:

* ``manifest.json`` names the model and the segments that count; it is replaced at once, whatever else is in the
  folder is left over.
* a model: what was learned from the collection (words, directions).
* segments: codes of images, by the keys of their features. A key stands for the same features for ever, so a
  segment never becomes wrong; what is gone is masked, what is new gets a segment of its own, small segments are
  joined.

Nothing is believed unseen: each file has checksums; the manifest names the fingerprint of the features and the
version of the coding; of each segment some keys are remembered with the checksum that the store keeps of their
features, so that files of another collection are found out. What does not fit is ignored and made again. Two
processes that index at once do the work twice; the manifest of the later one counts.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Store
from imagefinder.core.features import Features, FeatureSpec, LocalFeatures, concatenate
from imagefinder.core.records import SHORTLIST, Changes, GalleryBlock, Proposals, ShortlistState
from imagefinder.shortlists import arrays as files
from imagefinder.shortlists.arrays import Arrays
from imagefinder.shortlists.global_ import GlobalScheme
from imagefinder.shortlists.local import LocalScheme
from imagefinder.shortlists.segment import Coded, Found, Keys, Segment, build, merge

SEGMENT_BYTES = 256 << 20
"""Segments are not joined beyond this, nor begun larger, so that indexing needs a bounded memory."""

MOST_SMALL = 8
"""So many segments of less than a quarter of that are left side by side before they are joined."""

GONE = 0.3
"""A segment of which a larger part is gone is written anew."""

OUTGROWN = 4
"""Words are learned anew when so many times as many would be learned now."""

_FORMAT = 1
_MANIFEST = "manifest.json"
_WITNESSES = 16
_BATCH_BYTES = 64 << 20
_VERIFIED = 64
_NOTHING = -1e300
"""Score of what an index says nothing of."""

_UNUSABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a file raises that is damaged, or none of ours."""

_log = logging.getLogger(__name__)


class Scheme(Protocol):
    """How features of one form are coded and compared."""

    name: str
    version: int

    def words(self, images: int, rows: int) -> int:
        """How many words are good for a collection of so many images and rows."""
        ...

    def sample_rows(self, images: int, rows: int) -> int:
        """How many vectors or descriptors to learn from, of a collection of so many images and rows."""
        ...

    def train(self, sample: Features, images: int, rows: int) -> Arrays:
        """What is learned from a sample; ``coarse`` and ``fine`` are its words."""
        ...

    def encode(self, model: Arrays, features: Features) -> Coded:
        """Features as codes."""
        ...

    def score(self, model: Arrays, queries: Features, segments: Sequence[Segment]) -> list[list[Found]]:
        """For each query how promising the images of each segment are; those it says nothing of are not."""
        ...


class InvertedShortlist:
    """The index of one method of one store, whatever the form of its features."""

    def __init__(self, store: Store, method: str, spec: FeatureSpec) -> None:
        """Only stores; files are read at the first use.

        Args:
            store: What it is derived from.
            method: Name of the method.
            spec: Form of its features.
        """
        self._store = store
        self._method = method
        self._spec = spec
        self._scheme: Scheme = LocalScheme(spec) if spec.kind == "local" else GlobalScheme(spec)
        self._lock = threading.RLock()
        self._model: Arrays | None = None
        self._model_name = ""
        self._segments: list[Segment] = []
        self._waiting: Keys = np.empty(0, dtype=np.int64)
        self._waiting_sizes: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._revision, self._last, self._count = -1, 0, 0
        self._read: tuple[int, int] | None = None
        self._fingerprint = ""
        self._sample: tuple[int, int, GalleryBlock] | None = None

    # -- asking --------------------------------------------------------------------------------------------

    def state(self) -> ShortlistState:
        """See ``Shortlist``."""
        with self._lock:
            self._follow()
            indexed = sum(int(segment.alive.sum()) for segment in self._segments)
            model = sum(array.nbytes for array in (self._model or {}).values())
            rows = sum(len(segment.codes) for segment in self._segments)  # the gone ones, too: each search asks
            rows += int(self._waiting_sizes.sum()) // self._row_bytes()
            wanted = self._scheme.words(indexed + len(self._waiting), rows)
            return ShortlistState(
                method=self._method,
                images=indexed + len(self._waiting),
                indexed=indexed,
                waiting=len(self._waiting),
                segments=len(self._segments),
                kept=self._folder() is None or all(segment.name for segment in self._segments),
                bytes=model + sum(segment.nbytes for segment in self._segments),
                outgrown=self._model is not None and wanted >= OUTGROWN * _words(self._model),
            )

    def propose(self, queries: Features, n: int) -> list[Proposals]:
        """See ``Shortlist``."""
        with self._lock:
            self._follow()
            model, waiting = self._model, self._waiting
            segments = [(segment, segment.alive) for segment in self._segments]
        if model is None:
            return [_proposals(waiting, [], [], n) for _ in range(len(queries))]
        found = self._scheme.score(model, queries, [segment for segment, _ in segments])
        return [_proposals(waiting, segments, of_query, n) for of_query in found]

    def sample(self, n: int) -> GalleryBlock:
        """See ``Shortlist``."""
        with self._lock:
            self._follow()
            if self._sample is None or self._sample[:2] != (self._revision, n):
                keys = np.concatenate([s.keys[s.alive] for s in self._segments] + [self._waiting])
                # Those of the least hashes: what is added or removed elsewhere leaves the choice as it is.
                hashes = keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
                chosen = np.sort(keys[np.argsort(hashes, kind="stable")[:n]])
                block = self._store.load(self._method, chosen)[1]
                self._sample = (self._revision, n, block)
            return self._sample[2]

    # -- growing -------------------------------------------------------------------------------------------

    def refresh(self, *, rebuild: bool = False, progress: Callable[[int, int], None] | None = None) -> bool:
        """See ``Shortlist``."""
        with self._lock:
            self._follow()
            if rebuild or self._model is None:
                if not rebuild and not len(self._waiting):
                    return False
                self._learn()
            elif not len(self._waiting) and not self._is_worn():
                return False
            self._index_waiting(progress)
            self._tidy()
            self._publish()
            return True

    def verify(self) -> list[str]:
        """See ``Shortlist``."""
        with self._lock:
            self._read = None
            self._forget()
            problems: list[str] = []
            self._follow(problems)
            if self._model is None:
                return problems
            for segment in self._segments:
                problems += self._differing(segment)
            return problems

    # -- parts of asking -----------------------------------------------------------------------------------

    def _follow(self, problems: list[str] | None = None) -> None:
        """Come to the state of the store, and to that of the files if another process has written them."""
        folder = self._folder()
        stamp = _stamp(folder / _MANIFEST) if folder else None
        changes = self._changes()
        if changes is None and stamp == self._read:
            return
        held = self._store.info().methods.get(self._method)
        fingerprint = held.fingerprint.digest if held else ""
        if fingerprint != self._fingerprint:
            self._fingerprint = fingerprint
            self._forget()
            self._read = None
        if folder and stamp is not None and stamp != self._read:
            self._load(folder, [] if problems is None else problems)
            self._read = stamp
        if self._revision == -1:  # asked before anything was forgotten or read
            changes = self._changes()
        if changes is None:
            return
        if self._revision == -1:  # the segments are not known to be of this state
            self._compare(changes.new, changes.sizes)
        else:
            self._waiting = np.concatenate([self._waiting, changes.new])
            self._waiting_sizes = np.concatenate([self._waiting_sizes, changes.sizes])
            if changes.alive is not None:
                self._mask(changes.alive)
        self._revision = changes.revision
        self._last = max(self._last, int(changes.new[-1]) if len(changes.new) else 0)
        self._count = len(self._waiting) + sum(int(segment.alive.sum()) for segment in self._segments)

    def _changes(self) -> Changes | None:
        return self._store.changes(self._method, revision=self._revision, last=self._last, count=self._count)

    def _compare(self, keys: Keys, sizes: NDArray[np.int64]) -> None:
        """All keys of the store against all segments."""
        known = np.concatenate([segment.keys for segment in self._segments] or [keys[:0]])
        fresh = ~_among(np.sort(known), keys)
        self._waiting, self._waiting_sizes = keys[fresh], sizes[fresh]
        self._mask(keys)

    def _mask(self, alive: Keys) -> None:
        kept = _among(alive, self._waiting)
        self._waiting, self._waiting_sizes = self._waiting[kept], self._waiting_sizes[kept]
        for segment in self._segments:
            segment.alive = _among(alive, segment.keys)  # a new array: others may be reading the old one

    def _forget(self) -> None:
        self._model, self._model_name, self._segments = None, "", []
        self._begin_again()

    def _begin_again(self) -> None:
        """The state of the store is asked for from the beginning."""
        self._waiting = np.empty(0, dtype=np.int64)
        self._waiting_sizes = np.empty(0, dtype=np.int64)
        self._revision, self._last, self._count = -1, 0, 0

    def _folder(self) -> Path | None:
        derived = self._store.derived_folder()
        return derived and derived / f"{SHORTLIST}{self._method}"

    def _load(self, folder: Path, problems: list[str]) -> None:
        """The files that the manifest names, as far as they are sound and of this store."""
        kept = {segment.name: segment for segment in self._segments if segment.name}
        try:
            name, names = self._read_manifest(folder)
            model = self._model if name == self._model_name else None
            if model is None:
                model, kept = self._read_model(folder / name), {}
        except _UNUSABLE as error:
            problems.append(f"the index of {self._method} is not used: {error}")
            _log.info("the index of %s is not used: %s", self._method, error)
            self._forget()
            return
        segments = []
        for name_of in names:
            try:
                segments.append(kept.get(name_of) or self._read_segment(folder / name_of, name, model))
            except _UNUSABLE as error:
                problems.append(f"a part of the index of {self._method} is not used: {error}")
                _log.info("%s is not used: %s", name_of, error)
        self._model, self._model_name, self._segments = model, name, _disjoint(segments)
        self._begin_again()

    def _read_manifest(self, folder: Path) -> tuple[str, list[str]]:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        if manifest["made"] != self._made():
            raise ValueError("it was made otherwise")
        return str(manifest["model"]), [str(name) for name in manifest["segments"]]

    def _read_model(self, path: Path) -> Arrays:
        meta, model = files.read(path)
        if meta["made"] != self._made():
            raise ValueError("the model was made otherwise")
        return model

    def _read_segment(self, path: Path, model_name: str, model: Arrays) -> Segment:
        meta, arrays = files.read(path)
        if meta["model"] != model_name:
            raise ValueError("it belongs to another model")
        segment = Segment(**arrays, name=path.name)
        if not segment.is_sound(_words(model)):
            raise ValueError("its arrays do not belong together")
        told = {int(key): int(value) for key, value in meta["witnesses"]}
        there = self._store.checksums(self._method, np.array(sorted(told), dtype=np.int64)) if told else {}
        if any(told[key] != value for key, value in there.items()):
            raise ValueError("it is of another collection")
        return segment

    def _made(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "scheme": self._scheme.name,
            "version": self._scheme.version,
            "method": self._method,
            "features": self._fingerprint,
            "dim": self._spec.dim,
            "dtype": self._spec.dtype,
        }

    # -- parts of growing ----------------------------------------------------------------------------------

    def _learn(self) -> None:
        """A new model, with nothing indexed yet."""
        self._segments = []
        self._begin_again()
        changes = self._store.changes(self._method, revision=-1, last=0, count=0)
        keys = changes.new if changes else np.empty(0, dtype=np.int64)
        sizes = changes.sizes if changes else keys
        self._compare(keys, sizes)
        if changes:
            self._revision, self._last = changes.revision, int(keys[-1]) if len(keys) else 0
        self._count = len(keys)
        sample, rows = self._learning_sample(keys, sizes)
        self._model = self._scheme.train(sample, len(keys), rows)
        self._model_name = ""

    def _learning_sample(self, keys: Keys, sizes: NDArray[np.int64]) -> tuple[Features, int]:
        rng = np.random.default_rng(0)
        rows = int(sizes.sum()) // self._row_bytes()
        wanted = self._scheme.sample_rows(len(keys), rows)
        if self._spec.kind == "local":  # a quarter of each image, so that more images are seen
            many = min(len(keys), max(64, 4 * wanted * len(keys) // max(1, rows)))
        else:
            many = wanted
        chosen = np.sort(rng.choice(keys, min(many, len(keys)), replace=False)) if len(keys) else keys
        share = min(1.0, wanted / max(1, rows) * len(keys) / max(1, len(chosen)))
        parts = []
        mean = max(1, int(sizes.sum()) // max(1, len(keys)))
        step = max(1, _BATCH_BYTES // mean)
        for begin in range(0, len(chosen), step):
            features = self._store.load(self._method, chosen[begin : begin + step])[1].features
            if isinstance(features, LocalFeatures):
                kept = np.sort(
                    rng.choice(len(features.descriptors), round(share * len(features.descriptors)), replace=False)
                )
                one = np.array([0, len(kept)], dtype=np.int64)
                features = LocalFeatures(features.descriptors[kept], features.keypoints[kept], one)
            parts.append(features)
        return concatenate(self._spec, parts), rows

    def _row_bytes(self) -> int:
        """Of a vector, or of a descriptor with its keypoint, as the store counts."""
        keypoint = 16 if self._spec.kind == "local" else 0
        return self._spec.dim * np.dtype(self._spec.dtype).itemsize + keypoint

    def _index_waiting(self, progress: Callable[[int, int], None] | None) -> None:
        model = self._model
        assert model is not None  # noqa: S101 - learned before
        waiting, sizes, total = self._waiting, self._waiting_sizes, len(self._waiting)
        done, begin = 0, 0
        parts: list[Coded] = []
        keys: list[Keys] = []
        while begin < total:
            end = begin + max(1, int(np.searchsorted(np.cumsum(sizes[begin:]), _BATCH_BYTES)))
            there, block = self._store.load(self._method, waiting[begin:end])
            if len(there):
                parts.append(self._scheme.encode(model, block.features))
                keys.append(there)
            begin, done = end, min(end, total)
            held = sum(part.codes.nbytes + part.owners.nbytes for part in parts)
            if parts and (held >= SEGMENT_BYTES or begin >= total):
                self._segments.append(self._kept(build(np.concatenate(keys), parts, _words(model))))
                parts, keys = [], []
            if progress:
                progress(done, total)
        self._waiting, self._waiting_sizes = waiting[:0], sizes[:0]
        self._count = sum(int(segment.alive.sum()) for segment in self._segments)

    def _is_worn(self) -> bool:
        return len(self._worn()) > 0

    def _worn(self) -> list[Segment]:
        """Segments to be written anew, alone or with others."""
        worn = [s for s in self._segments if (~s.alive).sum() > GONE * len(s.keys)]
        small = [s for s in self._segments if s.nbytes < SEGMENT_BYTES // 4 and s not in worn]
        return worn + (small if len(small) > MOST_SMALL else [])

    def _tidy(self) -> None:
        model, worn = self._model, self._worn()
        if model is None or not worn:
            return
        self._segments = [segment for segment in self._segments if segment not in worn]
        worn.sort(key=lambda segment: int(segment.keys[0]) if len(segment.keys) else 0)
        group: list[Segment] = []
        for segment in [*worn, None]:
            size = sum(one.nbytes for one in group)
            if group and (segment is None or size + segment.nbytes > SEGMENT_BYTES):
                merged = merge(group, _words(model))
                if len(merged.keys):
                    self._segments.append(self._kept(merged))
                group = []
            if segment is not None:
                group.append(segment)
        self._segments.sort(key=lambda segment: int(segment.keys[0]))

    def _kept(self, segment: Segment) -> Segment:
        """The same in its file, if files can be kept; its arrays are then mapped."""
        folder = self._folder()
        if folder is None:
            return segment
        try:
            if not self._model_name:
                self._model_name = f"model-{uuid.uuid4().hex[:12]}.bin"
                files.write(folder / self._model_name, {"made": self._made()}, self._model or {})
            name = f"segment-{uuid.uuid4().hex[:12]}.bin"
            chosen = segment.keys[:: max(1, len(segment.keys) // _WITNESSES)]
            told = sorted(self._store.checksums(self._method, chosen).items())
            files.write(folder / name, {"model": self._model_name, "witnesses": told}, segment.arrays())
            _, arrays = files.read(folder / name)
        except (OSError, ValueError):  # read-only or full: this process keeps it in memory
            _log.info("could not keep a part of the index of %s", self._method, exc_info=True)
            return segment
        kept = Segment(**arrays, name=name)
        kept.alive = segment.alive
        return kept

    def _publish(self) -> None:
        folder = self._folder()
        if folder is None or not self._model_name or any(not segment.name for segment in self._segments):
            return
        manifest = {
            "made": self._made(),
            "model": self._model_name,
            "segments": [segment.name for segment in self._segments],
        }
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".new-", delete=False) as file:
                file.write(json.dumps(manifest).encode())
                file.flush()
                os.fsync(file.fileno())
            Path(file.name).replace(folder / _MANIFEST)
            self._read = _stamp(folder / _MANIFEST)
            named = {_MANIFEST, self._model_name, *manifest["segments"]}
            for path in folder.iterdir():
                if path.name not in named:
                    path.unlink(missing_ok=True)  # those who have it mapped keep it
        except OSError:
            _log.info("could not publish the index of %s", self._method, exc_info=True)

    def _differing(self, segment: Segment) -> list[str]:
        """Some images coded again and compared with what the segment has of them."""
        model = self._model
        assert model is not None  # noqa: S101 - the caller looked
        alive = segment.keys[segment.alive]
        chosen = alive[:: max(1, len(alive) // _VERIFIED)]
        keys, block = self._store.load(self._method, chosen)
        coded = self._scheme.encode(model, block.features)
        rows = np.searchsorted(segment.keys, keys)
        problems = []
        word_of = np.repeat(np.arange(_words(model), dtype=np.int32), np.diff(segment.starts))
        for number, row in enumerate(rows.tolist()):
            mine, theirs = coded.owners == number, segment.owners == row
            words = coded.words[mine]
            order = np.argsort(words, kind="stable")
            same = np.array_equal(words[order], word_of[theirs]) and np.array_equal(
                coded.codes[mine][order], segment.codes[theirs]
            )
            if not same:
                problems.append(f"{segment.name}: image {block.ids[number]!r} is not as {self._method} has it")
        return problems


def _words(model: Arrays) -> int:
    return int(model["fine"].shape[0] * model["fine"].shape[1])


def _proposals(
    waiting: Keys, segments: Sequence[tuple[Segment, NDArray[np.bool_]]], found: Sequence[Found], n: int
) -> Proposals:
    """What waits, and the best of all segments, each with the images of it that are there."""
    keys, scores = [waiting[:0]], [np.empty(0)]
    for some, (segment, alive) in zip(found, segments, strict=True):
        rows = _best_rows(some, alive, n)  # before their keys are looked up, far apart in memory
        keys.append(segment.keys[some.rows[rows]])
        scores.append(some.scores[rows])
    best, its_scores = _best(np.concatenate(keys), np.concatenate(scores), n)
    for segment, alive in segments:  # the query has to do with few images: others make up the number
        if len(best) < n:
            rest = segment.keys[alive][:n]
            rest = rest[~_among(np.sort(best), rest)][: n - len(best)]
            best = np.concatenate([best, rest])
    its_scores = np.concatenate([its_scores, np.full(len(best) - len(its_scores), _NOTHING)])
    return Proposals(np.concatenate([waiting, best]), np.concatenate([np.full(len(waiting), np.inf), its_scores]))


def _best(keys: Keys, scores: NDArray[np.float64], n: int) -> tuple[Keys, NDArray[np.float64]]:
    """The ``n`` keys with the highest scores, the highest first, equal ones in order of keys; and their scores."""
    if n < len(scores):
        kept = scores >= np.partition(scores, -n)[-n]
        keys, scores = keys[kept], scores[kept]
    order = np.lexsort((keys, -scores))[:n]
    return keys[order], scores[order]


def _best_rows(found: Found, alive: NDArray[np.bool_], n: int) -> NDArray[np.int64]:
    """Those of the images found that are there and among the ``n`` best, equal ones included."""
    there = alive[found.rows]
    if n < len(there):
        scores = np.where(there, found.scores, -np.inf)
        there &= scores >= np.partition(scores, -n)[-n]
    return np.flatnonzero(there)


def _among(ordered: Keys, keys: Keys) -> NDArray[np.bool_]:
    """Which of ``keys`` are among the ascending ``ordered``."""
    if not len(ordered):
        return np.zeros(len(keys), dtype=np.bool_)
    places = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
    there: NDArray[np.bool_] = ordered[places] == keys
    return there


def _disjoint(segments: Sequence[Segment]) -> list[Segment]:
    """Without segments that repeat keys of those before."""
    kept: list[Segment] = []
    seen: Keys = np.empty(0, dtype=np.int64)
    for segment in segments:
        if not _among(seen, segment.keys).any():
            kept.append(segment)
            seen = np.sort(np.concatenate([seen, segment.keys]))
    return kept


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
