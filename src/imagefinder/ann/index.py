"""The ANN index of one method: trained once, extended by segments, with removed images masked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

import numpy as np

from imagefinder.ann import arrays, compaction
from imagefinder.ann.codec import Codec
from imagefinder.ann.coverage import Coverage
from imagefinder.ann.files import IndexFiles, IndexModel
from imagefinder.ann.hamming_embedding import HammingEmbedding
from imagefinder.ann.ivf_sq8 import IvfSq8
from imagefinder.ann.proposals import best_proposals, score_segments
from imagefinder.ann.segment import Keys, Postings, Segment, build, merge
from imagefinder.ann.training import BATCH_BYTES, row_bytes, training_sample
from imagefinder.core.contracts import Store
from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.filters import Filter
from imagefinder.core.records import AnnIndexState, Cursor, GalleryBlock, Proposals
from imagefinder.core.scratch import Scratch

_log = logging.getLogger(__name__)

OUTGROWN = 4
"""An index is outgrown if training now would give this many times as many words."""

OVERFETCH = 8
"""Factor by which more candidates are proposed if a filter is set; the index itself does not know metadata."""

_VERIFIED_IMAGES = 64  # of each segment


class InvertedFileIndex:
    """An ANN index with inverted files, for local and global features.

    It is thread-safe, and several processes may use the same files.
    """

    def __init__(self, store: Store, method: str, spec: FeatureSpec, scratch: Scratch | None = None) -> None:
        """Create an index; files are read on first use.

        Args:
            store: The store it is derived from.
            method: Name of the method.
            spec: Kind, dimension and dtype of the features.
            scratch: Where its files are; ``None``: it is only in memory.
        """
        self._store = store
        self._method = method
        self._spec = spec
        self._codec: Codec = HammingEmbedding(spec) if spec.kind == "local" else IvfSq8(spec)
        self._files = IndexFiles(store, method, spec, self._codec, scratch)
        self._lock = threading.RLock()
        self._model: IndexModel | None = None
        self._coverage = Coverage()
        self._loaded: tuple[int, int] | None = None  # stamp of the last manifest read or written
        self._sample: tuple[Cursor | None, int, GalleryBlock] | None = None

    # -- querying ------------------------------------------------------------------------------------------

    def state(self) -> AnnIndexState:
        """Progress of indexing relative to the current state of the store."""
        with self._lock:
            self._follow()
            model, coverage = self._model, self._coverage
            segments, waiting = coverage.segments, len(coverage.waiting)
            indexed = coverage.indexed
            rows = sum(
                len(segment.codes)
                for segment in segments
                # Removed images are included, because each search scores them too.
            )
            rows += int(coverage.waiting_sizes.sum()) // row_bytes(self._spec)
            wanted = self._codec.words(indexed + waiting, rows)
            return AnnIndexState(
                method=self._method,
                images=indexed + waiting,
                indexed=indexed,
                waiting=waiting,
                segments=len(segments),
                kept=self._files.folder is None or all(segment.name for segment in segments),
                bytes=(model.nbytes if model else 0) + sum(segment.nbytes for segment in segments),
                outgrown=model is not None and wanted >= OUTGROWN * model.words,
            )

    def propose(self, queries: Features, n: int, *, where: Filter | None = None) -> list[Proposals]:
        """The best candidates for each query, more if a filter is set, and all images that are not indexed yet."""
        if where is not None:
            n *= OVERFETCH
        with self._lock:
            self._follow()
            model, waiting = self._model, self._coverage.waiting
            segments = [(segment, segment.alive) for segment in self._coverage.segments]
        if model is None:
            return [best_proposals(waiting, [], [], n) for _ in range(len(queries))]
        scores = score_segments(self._codec, model.arrays, queries, [segment for segment, _ in segments])
        return [best_proposals(waiting, segments, of_query, n) for of_query in scores]

    def sample(self, n: int) -> GalleryBlock:
        """A query-independent sample of about ``n`` images, largely stable as the collection changes."""
        with self._lock:
            self._follow()
            coverage = self._coverage
            if self._sample is None or self._sample[:2] != (coverage.cursor, n):
                block = self._store.select(self._method, self._store.sample(self._method, n))
                self._sample = (coverage.cursor, n, block)
            return self._sample[2]

    # -- updating ------------------------------------------------------------------------------------------

    def refresh(self, *, rebuild: bool = False, progress: Callable[[int, int], None] | None = None) -> bool:
        """Index the images that are not indexed yet, or all images; returns whether there was anything to do."""
        with self._lock:
            self._follow()
            waiting = len(self._coverage.waiting)
            if rebuild or (self._model is None and waiting):
                self._model = self._train()
            elif self._model is None or not (waiting or compaction.worn(self._coverage.segments)):
                return False
            self._index_waiting(self._model, progress)
            self._compact(self._model)
            self._loaded = self._files.publish(self._model, self._coverage) or self._loaded
            return True

    def verify(self) -> list[str]:
        """Compare the index with the store; returns one sentence per problem."""
        with self._lock:
            self._loaded = None
            self._forget()
            problems: list[str] = []
            self._follow(problems)
            if self._model is not None:
                for segment in self._coverage.segments:
                    problems += self._differences(self._model, segment)
            return problems

    # -- parts ---------------------------------------------------------------------------------------------

    def _follow(self, problems: list[str] | None = None) -> None:
        """Update to the current store, and to the files if another process has written them."""
        stamp = self._files.stamp()
        # A manifest that is not loaded yet has a cursor, since which little has changed.
        changes = self._coverage.changes(self._store, self._method) if stamp == self._loaded else None
        if changes is not None and not changes.any:
            self._coverage.apply(changes)
            return
        followed = self._coverage
        registered = self._store.info().methods.get(self._method)
        fingerprint = registered.fingerprint.digest if registered else ""
        if fingerprint != self._files.fingerprint:
            self._files.fingerprint = fingerprint
            self._forget()
            self._loaded = None
        if stamp is not None and stamp != self._loaded:
            loaded = self._files.load(self._model, self._coverage.segments, [] if problems is None else problems)
            self._forget()
            if loaded:
                self._model, self._coverage = loaded
            self._loaded = stamp
        if changes is None or self._coverage is not followed:
            changes = self._coverage.changes(self._store, self._method)
        self._coverage.apply(changes)

    def _forget(self) -> None:
        self._model, self._coverage = None, Coverage()

    def _train(self) -> IndexModel:
        """Train a new model, and reset the coverage."""
        coverage = self._coverage = Coverage()
        coverage.apply(coverage.changes(self._store, self._method))
        sample, rows = training_sample(
            self._store, self._method, self._spec, self._codec, keys=coverage.waiting, sizes=coverage.waiting_sizes
        )
        return IndexModel(self._codec.train(sample, len(coverage.waiting), rows))

    def _index_waiting(self, model: IndexModel, progress: Callable[[int, int], None] | None) -> None:
        waiting, sizes = self._coverage.waiting, self._coverage.waiting_sizes
        begin, total = 0, len(waiting)
        segments: list[Segment] = []
        parts: list[Postings] = []
        keys: list[Keys] = []
        while begin < total:
            end = begin + max(1, int(np.searchsorted(np.cumsum(sizes[begin:]), BATCH_BYTES)))
            present, block = self._store.load(self._method, waiting[begin:end])
            if len(present):
                parts.append(self._codec.encode(model.arrays, block.features))
                keys.append(present)
            begin = end
            nbytes = sum(part.codes.nbytes + part.owners.nbytes for part in parts)
            if parts and (nbytes >= compaction.SEGMENT_BYTES or begin >= total):
                segments.append(self._files.write(model, build(np.concatenate(keys), parts)))
                parts, keys = [], []
            if progress:
                progress(min(end, total), total)
        self._coverage.absorb(segments)

    def _compact(self, model: IndexModel) -> None:
        worn = compaction.worn(self._coverage.segments)
        for group in compaction.groups(worn):
            try:
                merged = self._files.write(model, merge(group, partial(arrays.allocate, self._files.folder)))
            except OSError:  # the disk is full: the segments stay as they are
                _log.info("could not merge segments of the index of %s", self._method, exc_info=True)
                continue
            self._coverage.replace(group, [merged] if len(merged.keys) else [])

    def _differences(self, model: IndexModel, segment: Segment) -> list[str]:
        """Encode some images again and compare them with the segment."""
        alive = segment.keys[segment.alive]
        chosen = alive[:: max(1, len(alive) // _VERIFIED_IMAGES)]
        keys, block = self._store.load(self._method, chosen)
        fresh = self._codec.encode(model.arrays, block.features)
        rows = np.searchsorted(segment.keys, keys)
        problems = []
        word_of = np.repeat(segment.words, np.diff(segment.starts))
        for number, row in enumerate(rows.tolist()):
            mine, theirs = fresh.owners == number, segment.owners == row
            words = fresh.words[mine]
            order = np.argsort(words, kind="stable")
            same = np.array_equal(words[order], word_of[theirs]) and np.array_equal(
                fresh.codes[mine][order], segment.codes[theirs]
            )
            if not same:
                problems.append(f"{segment.name}: the codes of {block.ids[number]!r} do not match its features")
        return problems
