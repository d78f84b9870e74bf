"""The null model of a collection: what wrong images look like in it. All E-values come from it.

A wrong image gets evidence in three ways, and the null model knows how often each happens in the collection:

* It scores high: among shoes a cosine of 0.8 is common, among holiday photographs it is not (``MethodNullModel``).
* It looks alike: in a collection of fruit on white, everything does. Decoys show it: neighbours that are
  registered after mirroring one of them.
* It has a part in common with the query: a logo, a shelf. Some images of the collection, the seeds, are searched
  for in it. A geometry that rules out chance, with an image that does not belong to the connected component of the
  seed, is counted (``Seed.apart``).

The module ``fit`` fits it, without labels.

Sources. Cohort normalisation of scores: R. Auckenthaler, M. Carey, H. Lloyd-Thomas, "Score normalization for
text-independent speaker verification systems", Digital Signal Processing 10, 2000; for copies of images: M. Douze
et al., "The 2021 image similarity dataset and challenge", arXiv:2106.09672. Decoys: J. Elias, S. Gygi,
"Target-decoy search strategy", Nature Methods 4, 2007. Connected components of matching images: J. Philbin, A.
Zisserman, "Object mining using a matching graph on very large image collections", ICVGIP 2008.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagefinder.calibration.evalue import ExponentialTail
from imagefinder.core.contracts import Calibrator, Store, Tail
from imagefinder.core.features import Features, GlobalFeatures
from imagefinder.core.method import Method
from imagefinder.core.records import DerivedData, StoreInfo
from imagefinder.core.results import LOOKS_ALIKE, PRIOR
from imagefinder.kernels.quantiles import quantiles

GROWTH = 1.5
"""A collection that has grown or shrunk by this factor is calibrated again."""

NAME = "background.json"
"""Name of the null model among the derived data of a store."""

PRIOR_SEEDS = 1.5
"""Weight of the prior, one image with a common part per query, as a number of seeds."""

COUNTED = 1 / 8
"""Fraction of the images with a common part that a seed counts, with a margin: others end in its component."""

MISSED = 0.05
"""Fraction of the images that match a seed, but are not linked with its component."""

_FEWEST = 30
"""With fewer images, the scores of one query say nothing about chance."""

_UNKNOWN = 1e12
"""A spread so large that no score stands out."""

_FORMAT = 4

PRIOR_SCORES = ExponentialTail((0.0, 1.5, 3.0, 4.0, 5.0), (0.0, -1.0, -1.7, -2.5, -3.3), 0.5)
"""Tail of standardised scores before calibration: heavier than that of any dataset seen."""

PRIOR_AGREEMENT = ExponentialTail((-1.0,), (-1.0,), 0.5)
"""Tail of the agreement of decoys before calibration, on the scale of ``logit``."""


@dataclass(frozen=True, slots=True, eq=False)
class MethodNullModel:
    """The null model of one method.

    Attributes:
        fingerprint: Digest of the fingerprint of the features.
        mean: Mean of the scores of one query, averaged over the cohort.
        spread: Standard deviation of the scores of one query, averaged over the cohort; 0: not known, so that the
            scores of a query are standardised by themselves.
        centre: For global features: mean of the cohort's vectors, each normalised to length 1; otherwise ``None``.
        score: Tail of standardised scores. True matches among the pairs make it conservative.
    """

    fingerprint: str
    mean: float
    spread: float
    centre: GlobalFeatures | None
    score: Tail

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
        weight = images / (images + 10) if self.spread else 1.0
        mean = weight * float(everything.mean()) + (1 - weight) * self.mean
        spread = weight * float(everything.std()) + (1 - weight) * self.spread
        own = (scores - mean) / max(spread, 1e-9)
        if hubness is None or not self.spread:
            return own
        standard: NDArray[np.float64] = (own + (scores - hubness) / self.spread) / 2
        return standard


@dataclass(frozen=True, slots=True)
class Seed:
    """The result of the search for one stored image in the collection.

    Attributes:
        images: Number of images in the collection at that time.
        linked: Number of images in its component: they share its scene.
        apart: Number of images with a geometry that rules out chance, outside of its component.
        decoys: Agreement with its neighbours, each registered as a whole after mirroring.
        scores: Name of a local method -> scores with some images outside of its component.
    """

    images: int
    linked: int
    apart: int
    decoys: tuple[float, ...] = ()
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class NullModel:
    """The null model of a collection.

    Attributes:
        images: Number of images in the collection when it was fitted.
        methods: Method name -> null model of the method.
        agreement: Tail of the agreement of decoys, on the scale of ``logit``.
        seeds: Image id -> what the search for it found; empty before the first fit.
        version: Version under which it is stored (``StoreDerived``), or ``prior``; empty if it is not stored.
        is_prior: Whether it was not fitted to the collection.
    """

    images: int
    methods: Mapping[str, MethodNullModel]
    agreement: Tail
    seeds: Mapping[str, Seed] = field(default_factory=dict)
    version: str = ""
    is_prior: bool = False

    @classmethod
    def prior(cls, info: StoreInfo) -> NullModel:
        """The null model of a collection that is not calibrated yet; it answers cautiously."""
        spread = 0.0 if info.images >= _FEWEST else _UNKNOWN
        methods = {
            name: MethodNullModel(method.fingerprint.digest, 0.0, spread, None, PRIOR_SCORES)
            for name, method in info.methods.items()
            if method.images
        }
        return cls(info.images, methods, PRIOR_AGREEMENT, version=PRIOR, is_prior=True)

    def is_usable(self, info: StoreInfo) -> bool:
        """Whether it describes the methods of the collection, whatever its size."""
        present = {name: method.fingerprint.digest for name, method in info.methods.items() if method.images}
        return present == {name: method.fingerprint for name, method in self.methods.items()}

    def fits(self, info: StoreInfo) -> bool:
        """Whether it was fitted to this collection, at about its present size."""
        return (
            not self.is_prior
            and self.is_usable(info)
            and self.images / GROWTH <= info.images <= self.images * GROWTH
        )

    def common_parts(self, searched: int) -> float:
        """Expected number of wrong images among ``searched`` that have a part in common with a query."""
        apart = sum(seed.apart for seed in self.seeds.values()) - MISSED * sum(
            seed.linked for seed in self.seeds.values()
        )
        each = (max(0.0, apart) / COUNTED + PRIOR_SEEDS) / (len(self.seeds) + PRIOR_SEEDS)
        return each * max(1.0, searched / max(self.images, 1))

    @property
    def agreement_counts(self) -> bool:
        """Whether agreement distinguishes images: fewer than one in twenty decoys reach one half."""
        decoys = [value for seed in self.seeds.values() for value in seed.decoys]
        return not decoys or quantiles(decoys, (0.95,))[0] < LOOKS_ALIKE


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


def is_intact(data: bytes, calibrator: Calibrator) -> bool:
    """Whether data are an undamaged null model, of this format or of one that is fitted again."""
    try:
        content = json.loads(data)
        if content.pop("checksum") != _checksum(content):
            return False
        return content["format"] != _FORMAT or from_bytes(data, calibrator) is not None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content).encode())


def _to_json(model: NullModel) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "images": model.images,
        "agreement": model.agreement.to_dict(),
        "seeds": {image_id: asdict(seed) for image_id, seed in model.seeds.items()},
        "methods": {
            name: {
                "fingerprint": method.fingerprint,
                "mean": method.mean,
                "spread": method.spread,
                "centre": None if method.centre is None else method.centre.vectors[0].tolist(),
                "score": method.score.to_dict(),
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
        )
        for name, method in content["methods"].items()
    }
    return NullModel(
        images=int(content["images"]),
        methods=methods,
        agreement=calibrator.read(content["agreement"]),
        seeds={str(image_id): _seed(seed) for image_id, seed in content["seeds"].items()},
    )


def _seed(seed: Mapping[str, Any]) -> Seed:
    return Seed(
        images=int(seed["images"]),
        linked=int(seed["linked"]),
        apart=int(seed["apart"]),
        decoys=tuple(_finite(value) for value in seed["decoys"]),
        scores={str(name): tuple(_finite(value) for value in values) for name, values in seed["scores"].items()},
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
