"""Fits the null model of a collection to the collection itself, without labels.

* ``score`` of a method: standardised scores of the cohort against a sample of the collection.
* ``geometry`` of a method: chance probabilities of the geometries of wrong pairs. The top-ranked neighbours of
each
  cohort image are verified as in a search. Pairs that clearly show the same scene (overlapping photographs,
  copies) are true matches, and are left out.
* ``thumbnails``: the same for the geometry of thumbnails.
* ``agreement``: how much wrong pairs with a common geometry look alike. If there are few of them, mirrored
overlays
  of neighbours serve as decoys: if even these look alike (round objects on white), agreement means little.

Source of the decoys: J. Elias, S. Gygi, "Target-decoy search strategy", Nature Methods 4, 2007.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Calibrator, Store, Tail
from imagefinder.core.features import Features, GlobalFeatures, concatenate
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.paging import iter_images
from imagefinder.core.results import LOOKS_ALIKE, Evidence
from imagefinder.runtime import Runtime
from imagefinder.search.candidates import Candidate, Candidates
from imagefinder.search.encoding import EncodedQuery, QueryImage
from imagefinder.search.null_model import MethodNullModel, NullModel, logit
from imagefinder.search.verification import THUMBNAILS, PairVerifier, stored_features

COHORT = 128
"""Number of images in the cohort, which are compared with the sample."""

SAMPLE = 1000
"""Number of images in the sample, including the cohort."""

NEIGHBOURS = 15
"""Number of top-ranked images verified for each cohort image."""

NO_CHANCE = 25.0
"""-log10 of a chance probability that rules out chance, even if the theoretical probability is inaccurate. Pairs
with such a geometry that look alike are treated as true matches."""

AGREEMENTS = 64
"""If there are fewer agreements of wrong pairs, decoys fill up to this number."""

_SCALES = {"score": 0.6, "geometry": 3.0, "agreement": 0.3}
"""Typical increase of a value that makes it e times as rare, measured on several collections; used for small
samples."""

_FEWEST_PAIRS = 30
"""Minimum number of pairs for a score model; with fewer, only geometry and identity count."""

_UNKNOWN = 1e12
"""A spread so large that no score stands out."""

_LEAST_GEOMETRY = 2.0
"""Smallest -log10 of the chance probability of evidence."""


def fit(
    store: Store,
    methods: Sequence[Method],
    runtime: Runtime,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> NullModel:
    """Fit a null model by comparing some images of a collection with others.

    Args:
        store: The collection; it may change meanwhile.
        methods: The methods that it has features of.
        runtime: Provides thumbnail method, photometric check and calibrator.
        progress: Called with (done, total) steps.
    """
    sample = _sample(store)
    cohort = sample[:COHORT]
    done, total = 0, (len(methods) + 1) * len(cohort)

    def step() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, total)

    fitted: dict[str, MethodNullModel] = {}
    agreements: list[float] = []
    neighbours: dict[str, dict[str, list[str]]] = {}
    stored = store.info().methods
    with ThreadPoolExecutor(runtime.settings.threads) as pool:
        verifiers = _Verifiers(store, runtime, pool)
        for method in methods:
            ids, features = _features(store, method, sample)
            rows = np.array([ids.index(i) for i in cohort if i in ids], dtype=np.int64)
            scores = np.full((len(rows), len(ids)), np.nan)
            for number, row in enumerate(rows.tolist()):
                scores[number] = method.matcher.score(features.image(row), features)
                scores[number, row] = np.nan
                step()
            neighbours[method.name] = _neighbours(ids, rows, scores)
            geometry = None
            if method.verifier:
                made = stored[method.name].fingerprint
                wrong = [
                    one for one in verifiers.keypoints(method, made, neighbours[method.name]) if _is_wrong(one)
                ]
                agreements += [one.agreement for one in wrong if one.agreement is not None]
                geometry = runtime.calibrator.fit(
                    np.array([-one.log10_chance for one in wrong]),
                    total=int(np.count_nonzero(np.isfinite(scores))),
                    floor=_LEAST_GEOMETRY,
                    scale=_SCALES["geometry"],
                )
            digest = stored[method.name].fingerprint.digest
            fitted[method.name] = _of_method(digest, (features, rows, scores), geometry, runtime.calibrator)
        # The first global method gives the best neighbours for comparing thumbnails.
        ordered = sorted(methods, key=lambda method: method.verifier is not None)
        nearest = neighbours[ordered[0].name] if ordered else {}
        thumbnails, agreement = _of_thumbnails(verifiers, nearest, agreements, runtime.calibrator, step)
    return NullModel(
        images=store.info().images,
        cohort=len(cohort),
        methods=fitted,
        thumbnails=thumbnails,
        agreement=agreement,
    )


# -- scores ----------------------------------------------------------------------------------------------------


def _sample(store: Store) -> list[str]:
    """The ids with the smallest hashes, a sample that is largely stable as the collection grows."""
    return heapq.nsmallest(SAMPLE, (image.id for image in iter_images(store.images)), key=_hash)


def _hash(image_id: str) -> bytes:
    return hashlib.blake2b(image_id.encode(), digest_size=8).digest()


def _features(store: Store, method: Method, sample: Sequence[str]) -> tuple[list[str], Features]:
    found = {image_id: stored_features(store, image_id, method.name) for image_id in sample}
    present = {image_id: features for image_id, features in found.items() if features is not None}
    return list(present), concatenate(method.extractor.spec, list(present.values()))


def _neighbours(ids: Sequence[str], rows: NDArray[np.int64], scores: NDArray[np.float64]) -> dict[str, list[str]]:
    near = {}
    for row, values in zip(rows.tolist(), scores, strict=True):
        order = np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="stable")[:NEIGHBOURS]
        near[ids[row]] = [ids[column] for column in order.tolist() if column != row]
    return near


def _of_method(
    digest: str,
    compared: tuple[Features, NDArray[np.int64], NDArray[np.float64]],
    geometry: Tail | None,
    calibrator: Calibrator,
) -> MethodNullModel:
    """The null model of a method, from the features of the sample, the rows of the cohort, and their scores."""
    features, rows, scores = compared
    lines = [values[~np.isnan(values)] for values in scores]
    lines = [values for values in lines if len(values)]
    mean, spread = 0.0, _UNKNOWN
    if sum(map(len, lines)) >= _FEWEST_PAIRS:
        mean = float(np.mean([values.mean() for values in lines]))
        spread = max(float(np.mean([values.std() for values in lines])), 1e-6)
    centre = None
    if isinstance(features, GlobalFeatures):
        vectors = features.vectors[rows].astype(np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        centre = GlobalFeatures(vectors.mean(axis=0, keepdims=True).astype(np.float32)) if len(rows) else None
    model = MethodNullModel(
        digest, mean, spread, centre, calibrator.fit(np.empty(0), total=1, floor=0.0, scale=1.0), geometry
    )
    hubs = np.nanmean(scores, axis=0) if centre is not None and lines else None
    values = [
        model.standardise(line[kept], None if hubs is None else hubs[kept])
        for line in scores
        if (kept := ~np.isnan(line)).any()
    ]
    pooled = np.concatenate(values) if values else np.empty(0)
    score = calibrator.fit(pooled, total=len(pooled), floor=0.0, scale=_SCALES["score"])
    return MethodNullModel(digest, mean, spread, centre, score, geometry)


# -- geometry --------------------------------------------------------------------------------------------------


class _Verifiers:
    """Verifies cohort images against their neighbours, in parallel."""

    def __init__(self, store: Store, runtime: Runtime, pool: ThreadPoolExecutor) -> None:
        self._store = store
        self._runtime = runtime
        self._pool = pool
        self._features: dict[str, Features] = {}

    def keypoints(
        self, method: Method, made: Fingerprint, near: Mapping[str, Sequence[str]]
    ) -> Iterator[Evidence]:
        """The evidence from the keypoints of the method."""

        def compare(image_id: str) -> list[Evidence]:
            candidates = Candidates(self._store)
            image = _as_query(candidates.get(image_id))
            features = stored_features(self._store, image_id, method.name)
            if image is None or features is None:
                return []
            compared = []
            for other in near[image_id]:
                candidate = candidates.get(other)
                theirs = stored_features(self._store, other, method.name)
                if candidate is not None and theirs is not None:
                    compared.append((candidate, theirs))
            query = EncodedQuery(image, features, made, indexed=True)
            findings = self._verifier(image).keypoints(method, [query], compared)
            return [finding.evidence for finding in findings if finding and finding.evidence]

        for found in self._pool.map(compare, near):
            yield from found

    def thumbnails(self, near: Mapping[str, Sequence[str]]) -> Iterator[tuple[int, list[Evidence], list[float]]]:
        """For each image: number of neighbours, evidence from thumbnails, agreements of decoys."""

        def compare(image_id: str) -> tuple[int, list[Evidence], list[float]]:
            candidates = Candidates(self._store)
            image = _as_query(candidates.get(image_id))
            if image is None:
                return 0, [], []
            verifier = self._verifier(image)
            others = list(near[image_id])[:THUMBNAILS]
            present = [candidate for other in others if (candidate := candidates.get(other))]
            findings = [verifier.thumbnails([candidate])[0] for candidate in present]
            decoys = [verifier.whole_image(candidate, mirrored=True).agreement for candidate in present[:2]]
            return (
                len(others),
                [finding.evidence for finding in findings if finding and finding.evidence],
                [value for value in decoys if value is not None],
            )

        return self._pool.map(compare, near)

    def _verifier(self, image: QueryImage) -> PairVerifier:
        runtime = self._runtime
        return PairVerifier(
            runtime.thumbnail_method, runtime.photometric_check, image, mirror=False, features=self._features
        )


def _of_thumbnails(
    verifiers: _Verifiers,
    near: Mapping[str, Sequence[str]],
    agreements: Sequence[float],
    calibrator: Calibrator,
    step: Callable[[], None],
) -> tuple[Tail, Tail]:
    """The tails of thumbnail geometry and of agreement; ``agreements`` are values collected before."""
    compared = 0
    wrong: list[Evidence] = []
    decoys: list[float] = []
    for number, found, alike in verifiers.thumbnails(near):
        compared += number
        wrong += [one for one in found if _is_wrong(one)]
        decoys += alike
        step()
    values = [*agreements, *(one.agreement for one in wrong if one.agreement is not None)]
    missing = max(0, AGREEMENTS - len(values))
    values += decoys[:: max(1, len(decoys) // missing)][:missing] if missing else []
    geometries = np.array([-one.log10_chance for one in wrong])
    return (
        calibrator.fit(geometries, total=compared, floor=_LEAST_GEOMETRY, scale=_SCALES["geometry"]),
        calibrator.fit(logit(np.array(values)), total=len(values), floor=0.0, scale=_SCALES["agreement"]),
    )


def _as_query(candidate: Candidate | None) -> QueryImage | None:
    """A stored image as a query, represented by its thumbnail; ``None`` if it was removed or has no thumbnail."""
    if candidate is None or candidate.pixels.size == 0:
        return None
    return QueryImage(
        candidate.pixels, candidate.size, candidate.size, id=candidate.id, thumbnail=candidate.thumbnail
    )


def _is_wrong(evidence: Evidence) -> bool:
    """Whether a pair with this evidence does not clearly show the same scene."""
    alike = evidence.agreement is not None and evidence.agreement >= LOOKS_ALIKE
    return not (alike and evidence.log10_chance <= -NO_CHANCE)
