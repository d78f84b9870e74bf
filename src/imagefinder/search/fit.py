"""Fits the null model of a collection to the collection itself, without labels.

* Global methods: some images (the cohort) are scored against a sample of the collection. Nearly all of these pairs
  are wrong matches.
* Seeds: a few images are searched for in the collection. Those whose geometry rules out chance either show the
  scene of the seed, or have a part in common with it. Similar images with a strong geometry that agrees are
  linked, and so are images that are linked with these; what is left outside of this component is counted.
* Decoys: neighbours of the seeds, registered after mirroring. What agrees then agrees by chance.

Seeds are chosen by content, so neither ids nor the order in which images were added matter. Growth adds seeds; a
seed is searched for again when the collection has twice the size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imagefinder.calibration.common_parts import witness
from imagefinder.core.contracts import AnnIndex, Calibrator, Store, Tail
from imagefinder.core.features import GlobalFeatures
from imagefinder.core.method import Method
from imagefinder.core.records import GalleryBlock
from imagefinder.runtime import Runtime
from imagefinder.search.candidates import Candidates
from imagefinder.search.encoding import EncodedQuery, QueryImage
from imagefinder.search.geometry import Finding
from imagefinder.search.null_model import MethodNullModel, NullModel, Seed, logit
from imagefinder.search.retrieval import Gallery, Wanted, candidates, retrieve
from imagefinder.search.thumbnail_source import ThumbnailSource
from imagefinder.search.verification import THUMBNAILS, PairVerifier, stored_features

COHORT, SAMPLE = 128, 500
"""Number of images whose global features are scored against the sample, and size of the sample, including them."""

SAMPLE_LOCAL = 64
"""Number of images whose local features are scored against those of each seed."""

FEWEST_SEEDS, MOST_SEEDS, IMAGES_PER_SEED = 6, 16, 16
"""A collection of N images has 6 + N / 16 seeds, but at most 16."""

DEPTH = 40
"""Number of candidates of a seed that are verified."""

STRONG = -2.0
"""Log10 of the largest expected number of images with such a geometry by chance, if it rules out chance."""

LINKED = 2.5
"""Smallest sum of the witness of a geometry and 1.5 x standardised cosine that links two images."""

MOST_SIMILAR = 2.5
"""Larger standardised cosines count as this one: images with a common part are often very similar."""

SIMILAR = 2.0
"""Standardised cosine of two images that were not compared by a network."""

JOINED = 8
"""Number of images, best first, that are compared among themselves to find the component of a seed."""

KEPT = 512
"""Number of records and thumbnails kept in memory."""

DECOYS = 3
"""Number of neighbours of each seed that serve as decoys."""

LARGE = 10_000
"""In larger collections, the ANN indexes propose the candidates of seeds, if they are ready."""

_SCALES = {"score": 0.6, "agreement": 0.3}
"""Typical increase of a value that makes it e times as rare; used for small samples."""

_FEWEST_PAIRS = 30
"""Minimum number of pairs for a score model; with fewer, only geometry and identity count."""

_UNKNOWN = 1e12
"""A spread so large that no score stands out."""


def fit(
    store: Store,
    methods: Sequence[Method],
    runtime: Runtime,
    *,
    previous: NullModel | None = None,
    ann_index: Callable[[Method], AnnIndex] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NullModel:
    """Fit a null model.

    Args:
        store: The collection; it may change meanwhile.
        methods: The methods that it has features of.
        runtime: Provides thumbnail method, photometric check and calibrator.
        previous: An earlier null model of this collection; its seeds are kept as long as they are up to date.
        ann_index: Returns the ANN index of a method, which proposes the candidates in large collections.
        progress: Called with (done, total) steps.
    """
    images = store.info().images
    # What ``auto`` answers must not depend on methods that it does not use.
    combined = [method for method in methods if method.auto] or list(methods)
    lead = [method for method in combined if method.verifier is None] or combined
    chosen = store.sample(lead[0].name, min(MOST_SEEDS, FEWEST_SEEDS + images // IMAGES_PER_SEED)) if lead else []
    seeds = _up_to_date(previous, store, chosen, images)
    done, total = 0, len(methods) + len(chosen) - len(seeds)

    def step() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    prior, fitted = NullModel.prior(store.info()), dict[str, MethodNullModel]()
    for method in methods:
        if method.name in prior.methods and method.extractor.spec.kind == "global":
            digest = prior.methods[method.name].fingerprint
            fitted[method.name] = _of_vectors(store, method, digest, runtime.calibrator)
            step()
    indexes = _indexes(methods, images, ann_index)
    search = _SeedSearch(store, runtime, methods, replace(prior, methods={**prior.methods, **fitted}), indexes)
    for image_id in chosen:
        if image_id not in seeds:
            found = search.look(image_id)
            if found is not None:
                seeds[image_id] = found
            step()
    for method in methods:
        if method.name in prior.methods and method.name not in fitted:
            values = [seed.scores.get(method.name, ()) for seed in seeds.values()]
            digest = prior.methods[method.name].fingerprint
            fitted[method.name] = _of_local_scores(digest, values, runtime.calibrator)
            step()
    decoys = logit(np.array([value for seed in seeds.values() for value in seed.decoys], dtype=np.float64))
    scale = _SCALES["agreement"]
    agreement = runtime.calibrator.fit(decoys, total=len(decoys), floor=0.0, scale=scale)
    # A method that was removed from this machine has features here still, and no score of it says anything.
    absent = {name: replace(one, spread=_UNKNOWN) for name, one in prior.methods.items() if name not in fitted}
    kept = {image_id: seeds[image_id] for image_id in chosen if image_id in seeds}
    return NullModel(images, {**absent, **fitted}, agreement, kept)


def _up_to_date(previous: NullModel | None, store: Store, chosen: Sequence[str], images: int) -> dict[str, Seed]:
    """The earlier seeds that are still chosen, and were searched for in a collection of about this size."""
    if previous is None or not previous.is_usable(store.info()):
        return {}
    return {
        image_id: seed
        for image_id in chosen
        if (seed := previous.seeds.get(image_id)) and seed.images / 2 < images < 2 * seed.images
    }


# -- scores ----------------------------------------------------------------------------------------------------


def _of_vectors(store: Store, method: Method, digest: str, calibrator: Calibrator) -> MethodNullModel:
    """The null model of a global method, from the scores of the cohort with the sample."""
    features = store.select(method.name, store.sample(method.name, SAMPLE)).features
    number = min(COHORT, len(features))
    scores = np.full((number, len(features)), np.nan)
    for row in range(number):
        scores[row] = method.matcher.score(features.image(row), features)
        scores[row, row] = np.nan
    mean, spread = _mean_and_spread([values[~np.isnan(values)] for values in scores])
    centre = None
    if number and isinstance(features, GlobalFeatures):
        vectors = features.vectors[:number].astype(np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        centre = GlobalFeatures(vectors.mean(axis=0, keepdims=True).astype(np.float32))
    model = MethodNullModel(digest, mean, spread, centre, _tail(np.empty(0), calibrator))
    hubs = np.nanmean(scores, axis=0) if number > 1 else np.zeros(len(features))
    values = [model.standardise(line[kept], hubs[kept]) for line in scores if (kept := ~np.isnan(line)).any()]
    pooled = np.concatenate(values) if values else np.empty(0)
    return replace(model, score=_tail(pooled, calibrator))


def _of_local_scores(digest: str, scores: Iterable[Sequence[float]], calibrator: Calibrator) -> MethodNullModel:
    """The null model of a local method, from the scores of each seed with other images."""
    lines = [np.array(line, dtype=np.float64) for line in scores if line]
    mean, spread = _mean_and_spread(lines)
    model = MethodNullModel(digest, mean, spread, None, _tail(np.empty(0), calibrator))
    values = [model.standardise(line, None) for line in lines]
    return replace(model, score=_tail(np.concatenate(values) if values else np.empty(0), calibrator))


def _mean_and_spread(lines: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Mean and standard deviation of the scores of one image, averaged over images."""
    lines = [line for line in lines if len(line)]
    if sum(map(len, lines)) < _FEWEST_PAIRS:
        return 0.0, _UNKNOWN
    spread = float(np.mean([line.std() for line in lines]))
    return float(np.mean([line.mean() for line in lines])), max(spread, 1e-6)


def _tail(values: NDArray[np.float64], calibrator: Calibrator) -> Tail:
    return calibrator.fit(values, total=len(values), floor=0.0, scale=_SCALES["score"])


# -- seeds -----------------------------------------------------------------------------------------------------


class _SeedSearch:
    """Searches a collection for its own images."""

    def __init__(
        self,
        store: Store,
        runtime: Runtime,
        methods: Sequence[Method],
        null_model: NullModel,
        ann_indexes: Mapping[str, AnnIndex] | None,
    ) -> None:
        self._store = store
        self._runtime = runtime
        self._methods = methods
        self._combined = {method.name for method in methods if method.auto} or {one.name for one in methods}
        self._images = null_model.images
        self._gallery = Gallery(store, null_model, ann_indexes=ann_indexes)
        self._fingerprints = {name: method.fingerprint for name, method in store.info().methods.items()}
        self._candidates = Candidates(store, kept=KEPT)
        self._thumbnails = ThumbnailSource(runtime.thumbnail_method, store, runtime.thumbnail_cache)
        self._samples: dict[str, GalleryBlock] = {}

    def look(self, image_id: str) -> Seed | None:
        """Search for a stored image; ``None`` if it was removed."""
        image, every = self._encode(image_id)
        if image is None or not every:
            return None
        encoded = self._of_auto(every)
        # Global methods find candidates cheaply.
        lead = [pair for pair in encoded if pair[0].verifier is None]
        scores = retrieve(self._gallery, lead or encoded, Wanted())
        ids = candidates(scores, image, max(1, DEPTH // len(scores)))
        ids.sort(key=lambda other: (-scores[0].standard_of(other), other))
        cosines = {other: float(np.mean([one.standard_of(other) for one in scores])) for other in ids if lead}
        linked, apart = self._component(self._strong(image, encoded, ids), cosines)
        return Seed(
            images=self._images,
            linked=len(linked),
            apart=len(apart),
            decoys=tuple(self._decoys(image, ids[:DECOYS])),
            scores={
                method.name: tuple(self._local_scores(method, query, {image_id, *linked}))
                for method, query in every
                if method.extractor.spec.kind == "local"
            },
        )

    def _of_auto(self, encoded: Sequence[tuple[Method, EncodedQuery]]) -> list[tuple[Method, EncodedQuery]]:
        """The methods that ``auto`` uses; all of them for an image that has features of others only."""
        return [pair for pair in encoded if pair[0].name in self._combined] or list(encoded)

    def _encode(self, image_id: str) -> tuple[QueryImage | None, list[tuple[Method, EncodedQuery]]]:
        """A stored image as a query, represented by its thumbnail; ``None`` if it was removed."""
        candidate = self._candidates.get(image_id)
        if candidate is None:
            return None, []
        image = QueryImage(candidate.pixels, candidate.size, candidate.size, id=image_id)
        encoded = []
        for method in self._methods:
            features = stored_features(self._store, image_id, method.name)
            if features is not None:
                made = self._fingerprints[method.name]
                encoded.append((method, EncodedQuery(image, features, made, indexed=True)))
        return image, encoded

    def _component(self, strong: Mapping[str, float], cosines: Mapping[str, float]) -> tuple[list[str], list[str]]:
        """The images with a geometry that rules out chance: those in the component of the seed, and the others.

        Args:
            strong: Image id -> witness of its geometry with the seed, best first.
            cosines: Image id -> mean standardised cosine, if the collection has global methods.
        """
        linked, apart = list[str](), list[str]()
        for image_id, value in strong.items():
            (linked if _links(value, cosines.get(image_id, SIMILAR)) else apart).append(image_id)
        for image_id in apart[:JOINED] if linked else ():
            image, encoded = self._encode(image_id)
            if image is not None:
                found = self._strong(image, self._of_auto(encoded), linked[:JOINED])
                linked += [image_id] if any(_links(value, SIMILAR) for value in found.values()) else []
        return linked, [image_id for image_id in apart if image_id not in linked]

    def _strong(
        self, image: QueryImage, encoded: Sequence[tuple[Method, EncodedQuery]], ids: Sequence[str]
    ) -> dict[str, float]:
        """Image id -> witness of its best geometry that rules out chance, best first."""
        verifier = self._verifier(image)
        found = list[tuple[str, Finding | None]]()
        local = [(method, query) for method, query in encoded if method.verifier is not None]
        for method, query in local:
            block = self._store.select(method.name, ids)
            compared = [
                (candidate, block.features.image(row))
                for row, image_id in enumerate(block.ids)
                if (candidate := self._candidates.get(image_id))
            ]
            findings = verifier.keypoints(method, [query], compared)
            found += [(candidate.id, one) for (candidate, _), one in zip(compared, findings, strict=True)]
        if not local:
            near = [candidate for image_id in ids[:THUMBNAILS] if (candidate := self._candidates.get(image_id))]
            found += [(one.id, finding) for one, finding in zip(near, verifier.thumbnails(near), strict=True)]
        best = dict[str, float]()
        for image_id, finding in found:
            evidence = finding.evidence if finding else None
            if evidence and math.log10(max(1, self._images)) + evidence.log10_chance <= STRONG:
                value = witness(evidence.log10_chance, evidence.agreement)
                best[image_id] = max(value, best.get(image_id, value))
        return dict(sorted(best.items(), key=lambda pair: (-pair[1], pair[0])))

    def _decoys(self, image: QueryImage, near: Iterable[str]) -> Iterable[float]:
        """Agreements of the seed with its nearest neighbours, registered as a whole after mirroring."""
        verifier = self._verifier(image)
        for image_id in near:
            candidate = self._candidates.get(image_id)
            if candidate is not None and min(*candidate.size, *image.size) > 0:
                value = verifier.whole_image(candidate, mirrored=True).agreement
                if value is not None:
                    yield value

    def _verifier(self, image: QueryImage) -> PairVerifier:
        threads = self._runtime.settings.threads
        return PairVerifier(
            self._thumbnails, self._runtime.photometric_check, image, mirror=False, threads=threads
        )

    def _local_scores(self, method: Method, query: EncodedQuery, without: set[str]) -> Iterable[float]:
        """Scores of the seed with a sample of the collection, without these images."""
        if method.name not in self._samples:
            ids = self._store.sample(method.name, SAMPLE_LOCAL)
            self._samples[method.name] = self._store.select(method.name, ids)
        sample = self._samples[method.name]
        values = method.matcher.score(query.features, sample.features).tolist()
        return (value for image_id, value in zip(sample.ids, values, strict=True) if image_id not in without)


def _links(value: float, cosine: float) -> bool:
    """Whether a geometry with this witness links images of this standardised cosine."""
    return value + 1.5 * min(max(cosine, 0.0), MOST_SIMILAR) >= LINKED


def _indexes(
    methods: Sequence[Method], images: int, ann_index: Callable[[Method], AnnIndex] | None
) -> dict[str, AnnIndex] | None:
    """The ANN indexes of a large collection, if they are ready."""
    if images <= LARGE or ann_index is None:
        return None
    indexes = {method.name: ann_index(method) for method in methods}
    return indexes if all(index.state().indexed for index in indexes.values()) else None
