"""What wrong pictures look like in this collection: learned from itself, without labels.

Some of its images (the cohort) are compared with others. Nearly all of these pairs are wrong, so what they score
is what chance gives here: in a collection of shoes a cosine of 0.8 is ordinary, among holiday photographs it is
not. From such values tails are fitted; a search reads from them how often a wrong picture does as well.

* ``score`` of a method: standardised scores of all pairs. Pairs that are right in truth make it cautious.
* ``geometry`` of a method: how improbable the geometries are that wrong pairs have. Of each cohort image the best
  by score are looked at, as a search would. Pairs that visibly are the same picture (overlapping photographs,
  copies) are left out: they are right.
* ``closer look``: likewise.
* ``agreement``: how much wrong pairs with a common geometry look alike. Where there are few of them, neighbours
  that are laid on one another mirrored stand in: what looks alike even so (round things on white) says little.

Sources. Scores standardised by those of a cohort: R. Auckenthaler, M. Carey, H. Lloyd-Thomas, "Score normalization
for text-independent speaker verification systems", Digital Signal Processing 10, 2000; for copies of images:
M. Douze et al., "The 2021 image similarity dataset and challenge", arXiv:2106.09672. Decoys: J. Elias, S. Gygi,
"Target-decoy search strategy", Nature Methods 4, 2007.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Calibrator, Store, Tail
from imagefinder.core.errors import MethodNotIndexedError, UnknownImageError
from imagefinder.core.features import Features, GlobalFeatures, concatenate
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Examiner, Method
from imagefinder.core.results import LOOKS_ALIKE, Evidence, Size
from imagefinder.search.evidence import Scrutiny, read_thumbnail
from imagefinder.search.question import Asked, Question

COHORT = 128
"""Images that are asked with."""

SAMPLE = 1000
"""Images, the cohort among them, that are compared with."""

NEIGHBOURS = 15
"""Of each cohort image so many of the best by a method's score are looked at for geometry."""

CLOSER = 6
"""So many of the best by score get a closer look, here and in a search, if nothing speaks for them yet."""

GROWN = 1.5
"""A collection that has grown, or shrunk, by this factor since is learned anew."""

NO_CHANCE = 25.0
"""So improbable (minus log10) is a geometry that no chance explains, even where the theory of chance errs. Pairs
with such a geometry that look alike are taken for right."""

AGREEMENTS = 64
"""Fewer agreements of wrong pairs are made up to this number by decoys."""

NAME = "background.json"

_FORMAT = 2
_SCALES = {"score": 0.6, "geometry": 3.0, "agreement": 0.3}
"""By how much a value grows while it becomes rarer by e, about: seen on several collections, for small ones."""

_FEWEST_PAIRS = 30
"""Of fewer nothing can be learned about scores: then only what else speaks for a hit counts."""

_UNKNOWN = 1e12
"""A spread beside which no score stands out."""

_LEAST_GEOMETRY = 2.0
"""Evidence is at least so improbable, or there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class MethodBackground:
    """What is known of one method.

    Attributes:
        fingerprint: Digest of what made the features.
        mean: Of the scores of one query, on average over the cohort.
        spread: Standard deviation of the scores of one query, likewise; above 0.
        centre: For global features: mean of the cohort's vectors, each of length 1; else ``None``.
        score: Tail of standardised scores.
        geometry: Tail of the improbability of geometries; ``None`` without a verifier.
    """

    fingerprint: str
    mean: float
    spread: float
    centre: GlobalFeatures | None
    score: Tail
    geometry: Tail | None


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """What is known of a collection.

    Attributes:
        images: How many it had.
        cohort: How many of them were asked with.
        methods: Name -> what is known.
        closer: Tail of the improbability of geometries that a closer look finds.
        agreement: Tail of how much wrong pictures with a common geometry look alike, as ``logit`` gives it.
    """

    images: int
    cohort: int
    methods: Mapping[str, MethodBackground]
    closer: Tail
    agreement: Tail


def fits(background: Background, store: Store) -> bool:
    """Whether it still describes the collection."""
    info = store.info()
    held = {name: method.fingerprint.digest for name, method in info.methods.items() if method.images}
    known = {name: method.fingerprint for name, method in background.methods.items()}
    # Of a few images each one counts; later only a change of the whole.
    bounds = background.images / GROWN, background.images * GROWN
    return held == known and bounds[0] <= info.images <= bounds[1]


def read(store: Store, calibrator: Calibrator) -> Background | None:
    """What was learned before; ``None`` if there is nothing, or nothing that can be read."""
    data = store.derived(NAME)
    return None if data is None else _from_bytes(data, calibrator)


def is_readable(data: bytes, calibrator: Calibrator) -> bool:
    """Whether this is what ``write`` kept."""
    return _from_bytes(data, calibrator) is not None


def write(store: Store, background: Background) -> None:
    """Keep what was learned."""
    learned = _to_dict(background)
    store.put_derived(NAME, json.dumps({"checksum": _checksum(learned), **learned}).encode())


def learn(
    store: Store,
    methods: Sequence[Method],
    examiner: Examiner,
    *,
    threads: int,
    progress: Callable[[int, int], None] | None = None,
) -> Background:
    """Compare some images of a collection with others.

    Args:
        store: The collection; it may change meanwhile.
        methods: Those that it has features of.
        examiner: Looks closely, and fits.
        threads: Images looked at at once.
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

    learned: dict[str, MethodBackground] = {}
    agreements: list[float] = []
    neighbours: dict[str, dict[str, list[str]]] = {}
    held = store.info().methods
    with ThreadPoolExecutor(threads) as pool:
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
                made = held[method.name].fingerprint
                found = _geometries(store, method, made, examiner, neighbours[method.name], pool=pool)
                wrong = [one for one in found if not _is_same(one)]
                agreements += [one.agreement for one in wrong if one.agreement is not None]
                values = np.array([-one.log10_chance for one in wrong])
                pairs = int(np.count_nonzero(np.isfinite(scores)))
                geometry = examiner.calibrator.fit(
                    values, total=pairs, floor=_LEAST_GEOMETRY, scale=_SCALES["geometry"]
                )
            digest = held[method.name].fingerprint.digest
            learned[method.name] = _of_method(
                digest, features, rows, scores, geometry=geometry, calibrator=examiner.calibrator
            )
        # The first method without keypoints proposes best what a closer look is for.
        ordered = sorted(methods, key=lambda method: method.verifier is not None)
        near = neighbours[ordered[0].name] if ordered else {}
        closer, agreement = _looks(store, examiner, near, agreements, pool=pool, step=step)
    return Background(
        images=store.info().images,
        cohort=len(cohort),
        methods=learned,
        closer=closer,
        agreement=agreement,
    )


def standardised(
    scores: NDArray[np.float64],
    hubness: NDArray[np.float64] | None,
    known: MethodBackground,
    *,
    among: NDArray[np.float64] | None = None,
    total: int | None = None,
) -> NDArray[np.float64]:
    """Scores of one query in units of what chance makes of them.

    Args:
        scores: ``(B,)``, of all images, or of some of them.
        hubness: ``(B,)``, the mean score of each image with the cohort, if that is known: an image that is like
            everything is no sign of anything.
        known: Of the method.
        among: Scores of the query with a sample of all images, where ``scores`` are not those of all.
        total: How many images there are; by default as many as scores.
    """
    if len(scores) == 0:
        return scores
    everything = scores if among is None or len(among) == 0 else among
    # With few images the query's own mean and spread are helped by those that are usual.
    images = len(scores) if total is None else total
    weight = images / (images + 10)
    mean = weight * float(everything.mean()) + (1 - weight) * known.mean
    spread = weight * float(everything.std()) + (1 - weight) * known.spread
    own = (scores - mean) / max(spread, 1e-9)
    if hubness is None:
        return own
    standard: NDArray[np.float64] = (own + (scores - hubness) / known.spread) / 2
    return standard


def hubness(method: Method, centre: GlobalFeatures, gallery: Features) -> NDArray[np.float64]:
    """The mean score of each image with the cohort: that with its centre, as cosines are linear."""
    return method.matcher.score(centre, gallery) * float(np.linalg.norm(centre.vectors))


def logit(agreement: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares on a scale without ends: 0 for a half; rarer values lie farther out on either side."""
    inner = 0.005 + 0.99 * agreement
    scaled: NDArray[np.float64] = np.log(inner / (1 - inner))
    return scaled


# -- parts of learning ---------------------------------------------------------------------------------------


def _sample(store: Store) -> list[str]:
    """Ids that stay the same while the collection grows, as far as that is possible: those of the least hashes."""
    ids: list[str] = []
    after = ""
    while page := store.images(after=after, limit=1000):
        after = page[-1].id
        ids = sorted([*ids, *(image.id for image in page)], key=_hash)[:SAMPLE]
    return ids


def _hash(image_id: str) -> bytes:
    return hashlib.blake2b(image_id.encode(), digest_size=8).digest()


def _features(store: Store, method: Method, sample: Sequence[str]) -> tuple[list[str], Features]:
    ids, parts = [], []
    for image_id in sample:
        try:
            parts.append(store.features(image_id, method.name))
        except (UnknownImageError, MethodNotIndexedError):
            continue
        ids.append(image_id)
    return ids, concatenate(method.extractor.spec, parts)


def _neighbours(ids: Sequence[str], rows: NDArray[np.int64], scores: NDArray[np.float64]) -> dict[str, list[str]]:
    near = {}
    for row, values in zip(rows.tolist(), scores, strict=True):
        order = np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="stable")[:NEIGHBOURS]
        near[ids[row]] = [ids[column] for column in order.tolist() if column != row]
    return near


def _of_method(
    digest: str,
    features: Features,
    rows: NDArray[np.int64],
    scores: NDArray[np.float64],
    *,
    geometry: Tail | None,
    calibrator: Calibrator,
) -> MethodBackground:
    asked = [values[~np.isnan(values)] for values in scores]
    asked = [values for values in asked if len(values)]
    mean, spread = 0.0, _UNKNOWN
    if sum(map(len, asked)) >= _FEWEST_PAIRS:
        mean = float(np.mean([values.mean() for values in asked]))
        spread = max(float(np.mean([values.std() for values in asked])), 1e-6)
    centre = None
    if isinstance(features, GlobalFeatures):
        vectors = features.vectors[rows].astype(np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        centre = GlobalFeatures(vectors.mean(axis=0, keepdims=True).astype(np.float32)) if len(rows) else None
    known = MethodBackground(
        digest, mean, spread, centre, calibrator.fit(np.empty(0), total=1, floor=0.0, scale=1.0), geometry
    )
    hubs = np.nanmean(scores, axis=0) if centre is not None and asked else None
    values = [
        standardised(line[kept], None if hubs is None else hubs[kept], known)
        for line in scores
        if (kept := ~np.isnan(line)).any()
    ]
    pooled = np.concatenate(values) if values else np.empty(0)
    score = calibrator.fit(pooled, total=len(pooled), floor=0.0, scale=_SCALES["score"])
    return MethodBackground(digest, mean, spread, centre, score, geometry)


def _geometries(
    store: Store,
    method: Method,
    made: Fingerprint,
    examiner: Examiner,
    near: Mapping[str, Sequence[str]],
    *,
    pool: ThreadPoolExecutor,
) -> Iterator[Evidence]:
    def look(image_id: str) -> list[Evidence]:
        asked = _as_query(store, image_id)
        if asked is None:
            return []
        try:
            features = store.features(image_id, method.name)
        except (UnknownImageError, MethodNotIndexedError):
            return []
        question = Question(asked, features, made, indexed=True)
        scrutiny = Scrutiny(store, examiner, asked, mirror=False)
        found = (scrutiny.keypoints(method, [question], other) for other in near[image_id])
        return [evidence for evidence in found if evidence]

    for found in pool.map(look, near):
        yield from found


def _looks(
    store: Store,
    examiner: Examiner,
    near: Mapping[str, Sequence[str]],
    agreements: Sequence[float],
    *,
    pool: ThreadPoolExecutor,
    step: Callable[[], None],
) -> tuple[Tail, Tail]:
    """Tails of the closer look and of agreement, of which some are known already."""
    cache: dict[str, Features] = {}

    def look(image_id: str) -> tuple[int, list[Evidence], list[float]]:
        asked = _as_query(store, image_id)
        if asked is None:
            return 0, [], []
        scrutiny = Scrutiny(store, examiner, asked, mirror=False, cache=cache)
        others = list(near[image_id])[:CLOSER]
        found = [evidence for other in others if (evidence := scrutiny.closer_look(other))]
        decoys = [_decoy(store, scrutiny, examiner, asked, other) for other in others[:2]]
        return len(others), found, [value for value in decoys if value is not None]

    looked = 0
    wrong: list[Evidence] = []
    laid: list[float] = []
    for number, found, decoys in pool.map(look, near):
        looked += number
        wrong += [one for one in found if not _is_same(one)]
        laid += decoys
        step()
    alike = [*agreements, *(one.agreement for one in wrong if one.agreement is not None)]
    missing = max(0, AGREEMENTS - len(alike))
    alike += laid[:: max(1, len(laid) // missing)][:missing] if missing else []
    fit = examiner.calibrator.fit
    geometries = np.array([-one.log10_chance for one in wrong])
    return (
        fit(geometries, total=looked, floor=_LEAST_GEOMETRY, scale=_SCALES["geometry"]),
        fit(logit(np.array(alike)), total=len(alike), floor=0.0, scale=_SCALES["agreement"]),
    )


def _decoy(store: Store, scrutiny: Scrutiny, examiner: Examiner, asked: Asked, other: str) -> float | None:
    """How much a picture looks like the mirror image of another (or of itself), frame on frame."""
    thumbnail, size = scrutiny.thumbnail(other), _size(store, other)
    if thumbnail is None or size is None:
        return None
    x, y = size[0] / asked.size[0], size[1] / asked.size[1]
    corners = ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0))
    laid = Evidence(
        inliers=0,
        matches=0,
        model="affine",
        transform=((-x, 0.0, size[0] - 0.5 - x / 2), (0.0, y, (y - 1) / 2), (0.0, 0.0, 1.0)),
        mirrored=True,
        query_outline=corners,
        candidate_outline=corners,
        query_overlap=1.0,
        candidate_overlap=1.0,
    )
    return examiner.photometer.agreement(asked.pixels, asked.size, thumbnail, size, laid)


def _as_query(store: Store, image_id: str) -> Asked | None:
    thumbnail, size = read_thumbnail(store, image_id), _size(store, image_id)
    return None if thumbnail is None or size is None else Asked(thumbnail, size, size, id=image_id)


def _size(store: Store, image_id: str) -> Size | None:
    """Of an image; ``None`` if it is gone meanwhile."""
    try:
        record = store.get(image_id)
    except UnknownImageError:
        return None
    return record.width, record.height


def _is_same(evidence: Evidence) -> bool:
    alike = evidence.agreement is not None and evidence.agreement >= LOOKS_ALIKE
    return alike and evidence.log10_chance <= -NO_CHANCE


# -- as JSON -------------------------------------------------------------------------------------------------


def _to_dict(background: Background) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "images": background.images,
        "cohort": background.cohort,
        "closer": background.closer.to_dict(),
        "agreement": background.agreement.to_dict(),
        "methods": {
            name: {
                "fingerprint": known.fingerprint,
                "mean": known.mean,
                "spread": known.spread,
                "centre": None if known.centre is None else known.centre.vectors[0].tolist(),
                "score": known.score.to_dict(),
                "geometry": known.geometry.to_dict() if known.geometry else None,
            }
            for name, known in background.methods.items()
        },
    }


def _from_bytes(data: bytes, calibrator: Calibrator) -> Background | None:
    try:
        learned = json.loads(data)
        # A digit that changed would change E-values, and nothing else would show it.
        if learned.pop("checksum") != _checksum(learned):
            return None
        return _from_dict(learned, calibrator)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None  # derived: learned again


def _checksum(learned: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(learned).encode())


def _from_dict(data: Any, calibrator: Calibrator) -> Background | None:
    if data["format"] != _FORMAT:
        return None
    methods = {
        str(name): MethodBackground(
            fingerprint=str(known["fingerprint"]),
            mean=_finite(known["mean"]),
            spread=_finite(known["spread"], above=0.0),
            centre=None if known["centre"] is None else _vector(known["centre"]),
            score=calibrator.read(known["score"]),
            geometry=calibrator.read(known["geometry"]) if known["geometry"] else None,
        )
        for name, known in data["methods"].items()
    }
    return Background(
        images=int(data["images"]),
        cohort=int(data["cohort"]),
        methods=methods,
        closer=calibrator.read(data["closer"]),
        agreement=calibrator.read(data["agreement"]),
    )


def _finite(value: Any, *, above: float = -math.inf) -> float:
    number = float(value)
    if not math.isfinite(number) or number <= above:
        raise ValueError(f"{number} is not possible")
    return number


def _vector(values: Any) -> GlobalFeatures:
    vector = np.array(values, dtype=np.float32).reshape(1, -1)
    if not np.isfinite(vector).all():
        raise ValueError("a vector holds values that are no finite numbers")
    return GlobalFeatures(vector)
