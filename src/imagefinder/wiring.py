"""Settings to ready objects: the only file that names concrete classes.

The functions below ``# methods`` and ``# stores`` are entry points (see ``pyproject.toml``); a plug-in brings
its own by the same door. Heavy libraries load when their part is made, not before.
"""

# ruff: noqa: PLC0415 - that is why imports stand inside functions here

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast
from weakref import WeakValueDictionary

from imagefinder.collection import Collection
from imagefinder.core import registry
from imagefinder.core.contracts import AnnIndex, Calibrator, Decoder, Fetcher, PhotometricCheck, Store
from imagefinder.core.errors import CollectionCorruptError, SettingsError, UnknownMethodError
from imagefinder.core.method import Method
from imagefinder.core.records import CheckReport, Damage
from imagefinder.core.settings import Settings
from imagefinder.runtime import Factories, Runtime

if TYPE_CHECKING:
    from imagefinder.models.hub import ModelCache
    from imagefinder.stores.embedded.migration import Migration


def open_collection(settings: Settings, *, create: bool) -> Collection:
    """The collection the settings name.

    Raises:
        CollectionNotFoundError: it does not exist and ``create`` is false.
        CollectionFormatError: the folder holds something else, or a newer format.
        SettingsError: no such kind of store.
    """
    try:
        make_store = registry.load(registry.STORES, settings.store)
    except KeyError:
        raise SettingsError(
            f"there is no store {settings.store!r}", hint=f"stores: {', '.join(registry.names(registry.STORES))}"
        ) from None
    store = cast(Store, make_store(settings.collection, settings, create))
    return Collection(store, runtime_of(settings), settings)


_runtimes: WeakValueDictionary[Settings, Runtime] = WeakValueDictionary()
_runtimes_lock = threading.Lock()


def runtime_of(settings: Settings) -> Runtime:
    """The runtime of these settings: one per process, whatever the number of collections that are open."""
    # Where a collection lies changes nothing that collections share.
    shared = replace(settings, collection=Path(), collections=Path(), store="embedded")
    with _runtimes_lock:
        runtime = _runtimes.get(shared)
        if runtime is None:
            runtime = _runtimes[shared] = make_runtime(shared)
        return runtime


def make_runtime(settings: Settings) -> Runtime:
    """A runtime of its own; nothing is loaded yet."""
    return Runtime(
        settings,
        Factories(
            methods=registry.names(registry.METHODS),
            method=lambda name: load_method(name, settings),
            thumbnail_method=lambda: thumbnail_method(settings),
            photometric_check=photometric_check,
            calibrator=calibrator,
            decoder=lambda: make_decoder(settings),
            fetcher=lambda: make_fetcher(settings),
            ann_index=make_ann_index,
        ),
    )


def check_collection(
    settings: Settings, *, repair: bool, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> CheckReport:
    """Check the collection the settings name, also one that is too damaged to be opened.

    Raises:
        CollectionNotFoundError: it does not exist.
        CollectionFormatError: the folder holds something else, or another format.
        CollectionBusyError: tables must be mended, and another program has the collection open.
    """
    saved: list[Damage] = []
    try:
        collection = open_collection(settings, create=False)
    except CollectionCorruptError as error:
        damage = Damage("database", error.message)
        if not repair or settings.store != "embedded":
            return CheckReport(str(settings.collection), 0, (damage,), 0.0)
        from imagefinder.stores.embedded.salvage import salvage

        saved.append(salvage(settings.collection.absolute()))
        collection = open_collection(settings, create=False)
    with collection:
        report = collection.check(repair=repair, progress=progress)
    return replace(report, damages=(*saved, *report.damages))


def migrate_collection(settings: Settings) -> Migration:
    """Bring the collection the settings name to the present format.

    Raises:
        SettingsError: the store is not one that has formats.
        StoreError: see ``stores.embedded.migration.migrate``.
    """
    from imagefinder.stores.embedded.migration import migrate

    if settings.store != "embedded":
        raise SettingsError(f"a store of the kind {settings.store!r} has no formats to migrate")
    return migrate(settings.collection)


def load_method(name: str, settings: Settings) -> Method:
    """The method of a name; its weights are not loaded yet.

    Raises:
        UnknownMethodError: no such method; lists the known ones.
    """
    try:
        make_method = registry.load(registry.METHODS, name)
    except KeyError:
        raise UnknownMethodError(name, registry.names(registry.METHODS)) from None
    return cast(Method, make_method(settings))


def make_decoder(settings: Settings) -> Decoder:
    """What turns encoded pictures into pixels; where the settings say so, in processes of its own."""
    if not settings.isolate:
        from imagefinder.images.decoding.decode import InProcessDecoder

        return InProcessDecoder()
    from imagefinder.images.decoding.pool import DecoderPool

    return DecoderPool(workers=settings.threads, seconds=settings.decode_seconds, memory=settings.decode_memory)


def make_ann_index(store: Store, method: Method) -> AnnIndex:
    """The index of a method's features."""
    from imagefinder.ann.index import InvertedFileIndex

    return InvertedFileIndex(store, method.name, method.extractor.spec)


def thumbnail_method(settings: Settings) -> Method:
    """Compares what thumbnails show: few, coarse keypoints, also in smooth images."""
    from imagefinder.extractors.sift import SiftExtractor, mirrored
    from imagefinder.matching.mutual_nn import MutualNNMatcher
    from imagefinder.verification.geometry import GeometryVerifier

    return Method(
        name="thumbnails",
        summary="local details of both images as a thumbnail shows them",
        score="matches",
        extractor=SiftExtractor(max_side=256, max_keypoints=600, contrast=0.01, threads=settings.threads),
        matcher=MutualNNMatcher(),
        verifier=GeometryVerifier(),
        mirror=mirrored,
    )


def photometric_check() -> PhotometricCheck:
    """Compares registered images window by window."""
    from imagefinder.verification.photometry import WindowedPhotometricCheck

    return WindowedPhotometricCheck()


def calibrator() -> Calibrator:
    """Fits exponential tails."""
    from imagefinder.calibration.evalue import TailCalibrator

    return TailCalibrator()


def make_fetcher(settings: Settings) -> Fetcher:
    """Downloads query images from anywhere; what a stranger names is downloaded by the server's own."""
    from imagefinder.images.fetching.fetcher import HttpFetcher

    return HttpFetcher(
        timeout=settings.fetch_timeout,
        max_bytes=settings.max_image_bytes,
        retries=settings.fetch_retries,
        connections=settings.fetch_connections,
    )


def model_cache(settings: Settings) -> ModelCache:
    """Where the weights of networks are found and kept."""
    from imagefinder.models.hub import ModelCache

    return ModelCache(settings.models)


# methods


def sift(settings: Settings) -> Method:
    """SIFT descriptors, mutual nearest neighbours counted."""
    from imagefinder.extractors.sift import SiftExtractor, mirrored
    from imagefinder.matching.mutual_nn import MutualNNMatcher
    from imagefinder.verification.geometry import GeometryVerifier

    return Method(
        name="sift",
        summary="local details: the same picture or object, also cropped, turned or partly covered",
        score="matches",
        extractor=SiftExtractor(
            max_side=settings.sift_max_side,
            max_keypoints=settings.sift_max_keypoints,
            threads=settings.threads,
        ),
        matcher=MutualNNMatcher(),
        verifier=GeometryVerifier(),
        mirror=mirrored,
    )


def resnet50(settings: Settings) -> Method:
    """ResNet-50 pooled features, cosine."""
    return _network("resnet50", settings)


def beit(settings: Settings) -> Method:
    """BEiT tokens, mutual nearest neighbours counted."""
    return _network("beit", settings)


def efficientnet_lite0(settings: Settings) -> Method:
    """EfficientNet-Lite0 pooled features, cosine."""
    return _network("efficientnet-lite0", settings)


def _network(name: str, settings: Settings) -> Method:
    from imagefinder.extractors.network import NetworkExtractor
    from imagefinder.matching.cosine import CosineMatcher
    from imagefinder.matching.mutual_nn import MutualNNMatcher
    from imagefinder.models.catalogue import MODELS
    from imagefinder.models.providers import resolve
    from imagefinder.verification.tokens import TokenVerifier

    model, cache = MODELS[name], model_cache(settings)
    run = resolve(settings.provider, settings.precision, model.architecture)

    def sha256() -> str:
        if not cache.state(model).present:
            cache.locate(model)  # raises, with what to do about it
        return cache.sha256(model)

    is_global = model.features.kind == "global"
    extractor = NetworkExtractor(
        model,
        lambda: cache.locate(model),
        sha256,
        threads=settings.threads,
        run=run,
        tokens="int8" if settings.tokens == "int8" else "float32",
    )
    return Method(
        name=name,
        summary=model.summary,
        score="cosine" if is_global else "matches",
        extractor=extractor,
        matcher=CosineMatcher() if is_global else MutualNNMatcher(),
        verifier=None if is_global else TokenVerifier(),
        mapper=extractor if is_global else None,
        load=extractor.load,
    )


# stores


def embedded_store(location: Path, settings: Settings, create: bool) -> Store:
    """One folder on disk."""
    from imagefinder.stores.embedded import EmbeddedStore

    return EmbeddedStore(location, create=create, cache_bytes=settings.cache_bytes)


def memory_store(location: Path, settings: Settings, create: bool) -> Store:
    """Nothing on disk; gone with the process."""
    from imagefinder.stores.memory import MemoryStore

    del location, settings, create
    return MemoryStore()
