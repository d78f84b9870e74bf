"""The null model of a collection: the distribution of scores and geometry among wrong pairs, behind all E-values.

Some images of a collection (the cohort) are compared with others, without labels. Nearly all of these pairs are
wrong, so their scores show what chance produces in this collection: among shoes a cosine of 0.8 is common, among
holiday photographs it is not. The module ``fit`` fits the null model; its tails say how often a wrong image does
as well as a hit.

Source. Cohort normalisation of scores: R. Auckenthaler, M. Carey, H. Lloyd-Thomas, "Score normalization
for text-independent speaker verification systems", Digital Signal Processing 10, 2000; for copies of images:
M. Douze et al., "The 2021 image similarity dataset and challenge", arXiv:2106.09672.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.core.contracts import Calibrator, Store, Tail
from imagefinder.core.features import Features, GlobalFeatures
from imagefinder.core.method import Method
from imagefinder.core.records import DerivedData

GROWTH = 1.5
"""A collection that has grown or shrunk by this factor is calibrated again."""

NAME = "background.json"
"""Name of the null model among the derived data of a store."""

_FORMAT = 2


@dataclass(frozen=True, slots=True, eq=False)
class MethodNullModel:
    """The null model of one method.

    Attributes:
        fingerprint: Digest of the fingerprint of the features.
        mean: Mean of the scores of one query, averaged over the cohort.
        spread: Standard deviation of the scores of one query, averaged over the cohort; positive.
        centre: For global features: mean of the cohort's vectors, each normalised to length 1; otherwise ``None``.
        score: Tail of standardised scores. True matches among the pairs make it conservative.
        geometry: Tail of ``-log10_chance`` of geometries; ``None`` without a verifier.
    """

    fingerprint: str
    mean: float
    spread: float
    centre: GlobalFeatures | None
    score: Tail
    geometry: Tail | None

    def hubness(self, method: Method, gallery: Features) -> NDArray[np.float64] | None:
        """Mean score of each gallery image with the cohort, ``(B,)`` float64; ``None`` without a centre.

        Because cosines are linear, it is computed from the score with the centre.
        """
        if self.centre is None:
            return None
        return method.matcher.score(self.centre, gallery) * float(np.linalg.norm(self.centre.vectors))

    def standardise(
        self,
        scores: NDArray[np.float64],
        hubness: NDArray[np.float64] | None,
        *,
        among: NDArray[np.float64] | None = None,
        total: int | None = None,
    ) -> NDArray[np.float64]:
        """Standardise the scores of one query by mean and spread of the scores of wrong images.

        Args:
            scores: ``(B,)`` float64, of all images or of some of them.
            hubness: ``(B,)`` float64, as ``hubness`` returns it; it discounts images similar to everything.
            among: Scores of the query with a sample of all images, if ``scores`` are not those of all images.
            total: Number of images; default: the number of scores.
        """
        if len(scores) == 0:
            return scores
        everything = scores if among is None or len(among) == 0 else among
        # With few images, the query's own mean and spread are shrunk towards those of the cohort.
        images = len(scores) if total is None else total
        weight = images / (images + 10)
        mean = weight * float(everything.mean()) + (1 - weight) * self.mean
        spread = weight * float(everything.std()) + (1 - weight) * self.spread
        own = (scores - mean) / max(spread, 1e-9)
        if hubness is None:
            return own
        standard: NDArray[np.float64] = (own + (scores - hubness) / self.spread) / 2
        return standard


@dataclass(frozen=True, slots=True, eq=False)
class NullModel:
    """The null model of a collection.

    Attributes:
        images: Number of images in the collection when it was fitted.
        cohort: Number of images in the cohort.
        methods: Method name -> null model of the method.
        thumbnails: Tail of ``-log10_chance`` of geometries between thumbnails.
        agreement: Tail of the agreement of wrong pairs with a common geometry, on the scale of ``logit``.
        version: Version under which it is stored (``StoreDerived``); empty if it is not.
    """

    images: int
    cohort: int
    methods: Mapping[str, MethodNullModel]
    thumbnails: Tail
    agreement: Tail
    version: str = ""

    def fits(self, store: Store) -> bool:
        """Whether it still fits the collection."""
        info = store.info()
        present = {name: method.fingerprint.digest for name, method in info.methods.items() if method.images}
        fitted = {name: method.fingerprint for name, method in self.methods.items()}
        return present == fitted and self.images / GROWTH <= info.images <= self.images * GROWTH


def logit(agreement: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fractions on an unbounded scale: 0 for one half, with both ends stretched."""
    inner = 0.005 + 0.99 * agreement
    scaled: NDArray[np.float64] = np.log(inner / (1 - inner))
    return scaled


# -- in the store ----------------------------------------------------------------------------------------------


def read(store: Store, calibrator: Calibrator) -> NullModel | None:
    """The stored null model; ``None`` if there is no readable one."""
    return from_stored(store.derived(NAME), calibrator)


def from_stored(stored: DerivedData | None, calibrator: Calibrator) -> NullModel | None:
    """The null model among derived data, with its version; ``None`` if there is no readable one."""
    model = from_bytes(stored.data, calibrator) if stored else None
    return replace(model, version=stored.version) if stored and model else None


def write(store: Store, model: NullModel, *, replaces: str | None = None) -> NullModel | None:
    """Store a null model, and return it with its version.

    Args:
        store: The store.
        model: The null model.
        replaces: The version that was stored before it was fitted (``StoreDerived.put_derived``).

    Returns:
        ``None`` if another version is stored now: another process was first.
    """
    content = _to_json(model)
    data = json.dumps({"checksum": _checksum(content), **content}).encode()
    version = store.put_derived(NAME, data, replaces=replaces)
    return None if version is None else replace(model, version=version)


def from_bytes(data: bytes, calibrator: Calibrator) -> NullModel | None:
    """The null model that ``write`` stored; ``None`` if the data are damaged or of another format."""
    try:
        content = json.loads(data)
        # A single changed digit would silently change E-values.
        if content.pop("checksum") != _checksum(content) or content["format"] != _FORMAT:
            return None
        return _from_json(content, calibrator)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None  # derived data: it is fitted again


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content).encode())


def _to_json(model: NullModel) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "images": model.images,
        "cohort": model.cohort,
        "closer": model.thumbnails.to_dict(),
        "agreement": model.agreement.to_dict(),
        "methods": {
            name: {
                "fingerprint": method.fingerprint,
                "mean": method.mean,
                "spread": method.spread,
                "centre": None if method.centre is None else method.centre.vectors[0].tolist(),
                "score": method.score.to_dict(),
                "geometry": method.geometry.to_dict() if method.geometry else None,
            }
            for name, method in model.methods.items()
        },
    }


def _from_json(content: Mapping[str, Any], calibrator: Calibrator) -> NullModel:
    methods = {
        str(name): MethodNullModel(
            fingerprint=str(method["fingerprint"]),
            mean=_finite(method["mean"]),
            spread=_finite(method["spread"], above=0.0),
            centre=None if method["centre"] is None else _vector(method["centre"]),
            score=calibrator.read(method["score"]),
            geometry=calibrator.read(method["geometry"]) if method["geometry"] else None,
        )
        for name, method in content["methods"].items()
    }
    return NullModel(
        images=int(content["images"]),
        cohort=int(content["cohort"]),
        methods=methods,
        thumbnails=calibrator.read(content["closer"]),
        agreement=calibrator.read(content["agreement"]),
    )


def _finite(value: Any, *, above: float = -math.inf) -> float:
    number = float(value)
    if not math.isfinite(number) or number <= above:
        raise ValueError(f"{number} is out of range")
    return number


def _vector(values: Any) -> GlobalFeatures:
    vector = np.array(values, dtype=np.float32).reshape(1, -1)
    if not np.isfinite(vector).all():
        raise ValueError("a vector has values that are not finite")
    return GlobalFeatures(vector)
