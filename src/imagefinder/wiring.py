"""Creates all parts from the settings; the only module that names concrete classes.

The functions below ``# methods`` and ``# stores`` are entry points (see ``pyproject.toml``), as are those of
plug-ins. Heavy libraries are imported only when their part is created.
"""

# ruff: noqa: PLC0415 - therefore the imports are inside functions

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from imagefinder.collection import Collection
from imagefinder.core import home, registry
from imagefinder.core.contracts import AnnIndex, Calibrator, PhotometricCheck, Store
from imagefinder.core.errors import CollectionCorruptError, SettingsError, UnknownMethodError
from imagefinder.core.image_contracts import Decoder, Fetcher
from imagefinder.core.location import scheme_of, shown
from imagefinder.core.method import Method
from imagefinder.core.records import CheckReport, Damage
from imagefinder.core.scratch import SCRATCH, Scratch
from imagefinder.core.settings import Settings
from imagefinder.core.suggestions import did_you_mean
from imagefinder.core.text_contracts import TextEncoder
from imagefinder.core.vector_table import SupportsVectors
from imagefinder.runtime import Factories, Runtime

if TYPE_CHECKING:
    from imagefinder.models.catalogue import ModelCatalogue, ModelSpec
    from imagefinder.models.hub import ModelCache
    from imagefinder.stores.embedded.migration import Migration


def open_collection(settings: Settings, *, create: bool) -> Collection:
    """Open the collection named in the settings.

    Raises:
        CollectionNotFoundError: the collection does not exist and ``create`` is false.
        CollectionFormatError: the folder is not a collection, or its format is of another version.
        SettingsError: the kind of store is unknown.
    """
    location = settings.collection
    name = store_name(settings)
    try:
        make_store = registry.load(registry.STORES, name)
    except KeyError:
        if scheme_of(location):
            raise _unknown_kind(location) from None
        stores = registry.names(registry.STORES)
        hint = did_you_mean(name, stores, otherwise=f"known stores: {', '.join(stores)}")
        raise SettingsError(f"unknown store {name!r}", hint=hint) from None
    scratch = None
    if scheme_of(location):
        scratch = Scratch(settings.folder("scratch") / _digest(shown(location)))
    elif name != "memory":
        folder = settings.folder("collection")
        location, scratch = str(folder), Scratch(folder.absolute() / SCRATCH)
    store = cast(Store, make_store(location, settings, create))
    return Collection(store, runtime_of(settings), settings, scratch)


def store_name(settings: Settings) -> str:
    """Name of the store of the collection: the scheme of a URL; the setting ``store`` for a path."""
    return scheme_of(settings.collection) or settings.store


def _unknown_kind(location: str) -> SettingsError:
    """The error for a URL of no known store; it does not repeat the URL, which may contain a password."""
    scheme = scheme_of(location)
    kinds = [name for name in registry.names(registry.STORES) if name not in ("embedded", "memory")]
    return SettingsError(
        f"unknown kind of collection: {scheme}://..., imagefinder opens folders and {', '.join(kinds)}://...",
        hint=did_you_mean(
            scheme, kinds, otherwise="name the folder of the collection, such as /data/shop or file:///data/shop"
        ),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


_runtimes: WeakValueDictionary[Settings, Runtime] = WeakValueDictionary()
_runtimes_lock = threading.Lock()


def runtime_of(settings: Settings) -> Runtime:
    """The runtime for these settings: one per process, however many collections are open."""
    # The location of a collection does not affect the shared parts.
    shared = replace(settings, collection=".", collections=".", store="embedded", objects="rows", vectors="rows")
    with _runtimes_lock:
        runtime = _runtimes.get(shared)
        if runtime is None:
            runtime = _runtimes[shared] = make_runtime(shared)
        return runtime


def make_runtime(settings: Settings) -> Runtime:
    """Create a runtime; nothing is loaded yet."""
    return Runtime(
        settings,
        Factories(
            methods=method_names(settings),
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
    """Check the collection named in the settings, even if it is too damaged to be opened.

    Raises:
        CollectionNotFoundError: the collection does not exist.
        CollectionFormatError: the folder is not a collection, or its format is of another version.
        CollectionBusyError: tables must be repaired while another process has the collection open.
    """
    saved: list[Damage] = []
    try:
        collection = open_collection(settings, create=False)
    except CollectionCorruptError as error:
        damage = Damage("database", error.message)
        if not repair or store_name(settings) != "embedded":
            return CheckReport(shown(settings.collection), 0, (damage,), 0.0)
        from imagefinder.stores.embedded.recovery import recover

        saved.append(recover(settings.folder("collection").absolute()))
        collection = open_collection(settings, create=False)
    with collection:
        report = collection.check(repair=repair, progress=progress)
    return replace(report, damages=(*saved, *report.damages))


def migrate_collection(settings: Settings) -> Migration:
    """Migrate the collection named in the settings to the current format version.

    Raises:
        SettingsError: this kind of store has no format versions.
        StoreError: the collection cannot be migrated.
    """
    from imagefinder.stores.embedded.migration import migrate

    if (name := store_name(settings)) != "embedded":
        raise SettingsError(
            f"the store {name!r} has no format versions to migrate",
            hint="the tables of a database are brought to the present version when a collection in it is opened",
        )
    return migrate(settings.folder("collection"))


def method_names(settings: Settings) -> list[str]:
    """The names of all methods, sorted: registered ones, and one per model; nothing is imported or read."""
    return sorted({*registry.names(registry.METHODS), *model_catalogue(settings)})


def load_method(name: str, settings: Settings) -> Method:
    """Create the method with this name; its weights are not loaded yet.

    Raises:
        UnknownMethodError: no method with this name is installed.
        SettingsError: the description of a model is invalid.
    """
    if (model := model_catalogue(settings).get(name)) is not None:
        return network(model, settings)
    try:
        make_method = registry.load(registry.METHODS, name)
    except KeyError:
        raise UnknownMethodError(name, method_names(settings)) from None
    return cast(Method, make_method(settings))


def model_catalogue(settings: Settings) -> ModelCatalogue:
    """The models that imagefinder ships, and those in the folder of the setting ``models``."""
    from imagefinder.models.catalogue import ModelCatalogue

    return ModelCatalogue(settings.models)


def make_decoder(settings: Settings) -> Decoder:
    """The image decoder; with the setting ``isolate``, images are decoded in separate processes."""
    if not settings.isolate:
        from imagefinder.images.decoding.decode import InProcessDecoder

        return InProcessDecoder()
    from imagefinder.images.decoding.pool import DecoderPool

    return DecoderPool(workers=settings.threads, seconds=settings.decode_seconds, memory=settings.decode_memory)


def make_ann_index(store: Store, method: Method, scratch: Scratch | None) -> AnnIndex:
    """The ANN index of a method over a store: vectors in its database, or files in the scratch space."""
    if isinstance(store, SupportsVectors):
        from imagefinder.ann.vector_index import VectorIndex

        return VectorIndex(store, method.name, method.extractor.spec, store.vector_table(method.name))
    from imagefinder.ann.index import InvertedFileIndex

    return InvertedFileIndex(store, method.name, method.extractor.spec, scratch)


def thumbnail_method(settings: Settings) -> Method:
    """SIFT for thumbnails: few, coarse keypoints, with a low threshold that finds them in smooth images too."""
    from imagefinder.extractors.sift import SiftExtractor, mirrored
    from imagefinder.matching.mutual_nn import MutualNNMatcher
    from imagefinder.verification.geometry import GeometryVerifier

    return Method(
        name="thumbnails",
        summary="local details of the thumbnails of both images",
        score="matches",
        extractor=SiftExtractor(max_side=256, max_keypoints=600, contrast=0.01, threads=settings.threads),
        matcher=MutualNNMatcher(threads=settings.threads),
        verifier=GeometryVerifier(),
        mirror=mirrored,
    )


def photometric_check() -> PhotometricCheck:
    """The check that compares registered images window by window."""
    from imagefinder.verification.photometry import WindowedPhotometricCheck

    return WindowedPhotometricCheck()


def calibrator() -> Calibrator:
    """The calibrator that fits exponential tails."""
    from imagefinder.calibration.evalue import TailCalibrator

    return TailCalibrator()


def make_fetcher(settings: Settings) -> Fetcher:
    """The downloader for query images of trusted users, without address checks; the server has its own."""
    from imagefinder.images.fetching.fetcher import HttpFetcher

    return HttpFetcher(
        timeout=settings.fetch_timeout,
        max_bytes=settings.max_image_bytes,
        retries=settings.fetch_retries,
        connections=settings.fetch_connections,
    )


def model_cache(settings: Settings) -> ModelCache:
    """The cache of model weights."""
    from imagefinder.models.hub import ModelCache

    return ModelCache(settings.models)


# methods


def sift(settings: Settings) -> Method:
    """SIFT descriptors, scored by the number of mutual nearest neighbours."""
    from imagefinder.extractors.sift import SiftExtractor, mirrored
    from imagefinder.matching.mutual_nn import MutualNNMatcher
    from imagefinder.verification.geometry import GeometryVerifier

    return Method(
        name="sift",
        summary="Local details: the same image or object, even if cropped, rotated or partly covered",
        score="matches",
        extractor=SiftExtractor(
            max_side=settings.sift_max_side,
            max_keypoints=settings.sift_max_keypoints,
            threads=settings.threads,
        ),
        matcher=MutualNNMatcher(threads=settings.threads),
        verifier=GeometryVerifier(),
        mirror=mirrored,
    )


def network(model: ModelSpec, settings: Settings) -> Method:
    """A network: vectors are scored by cosine similarity, tokens by the number of mutual nearest neighbours."""
    from imagefinder.extractors.network import NetworkExtractor
    from imagefinder.matching.cosine import CosineMatcher
    from imagefinder.matching.mutual_nn import MutualNNMatcher
    from imagefinder.models.catalogue import ONNX
    from imagefinder.models.graph_cache import GraphCache
    from imagefinder.models.providers import resolve
    from imagefinder.verification.tokens import TokenVerifier

    cache = model_cache(settings)
    run = resolve(settings.provider, settings.precision, model.architecture)

    def sha256() -> str:
        if not cache.state(model).present:
            cache.locate(model)  # raises an error that says how to get the weights
        return cache.sha256(model)

    is_global = model.features.kind == "global"
    pool = model.output.pool
    has_map = pool == "mean of map" or (pool == "vector" and model.architecture != ONNX)
    extractor = NetworkExtractor(
        model,
        lambda: cache.locate(model),
        sha256,
        threads=settings.threads,
        run=run,
        tokens="int8" if settings.tokens == "int8" else "float32",
        graphs=None if settings.models.parts[:1] == (home.HOME,) else GraphCache(settings.models / "graphs"),
    )
    return Method(
        name=model.name,
        summary=model.summary,
        score="cosine" if is_global else "matches",
        extractor=extractor,
        matcher=CosineMatcher() if is_global else MutualNNMatcher(threads=settings.threads),
        verifier=None if is_global else TokenVerifier(),
        mapper=extractor if has_map and not model.output.linear else None,
        load=extractor.load,
        text=_words(model.name, model, cache),
        auto=model.auto,
    )


def _words(name: str, model: ModelSpec, cache: ModelCache) -> TextEncoder | None:
    """The words of a shipped network with a classifier; ``None`` for others, whose classes are not known."""
    from imagefinder.extractors.classifier import TENSORS, ClassifierWords
    from imagefinder.models.catalogue import MODELS

    if model.architecture not in TENSORS or model != MODELS.get(name):
        return None

    def read() -> Mapping[str, Any]:
        from imagefinder.models import weights

        path = cache.locate(model)
        is_safetensors = model.source.filename.endswith(".safetensors")
        return weights.read_safetensors(path) if is_safetensors else weights.read_legacy_pickle(path)

    return ClassifierWords(name, model.architecture, read)


# stores


def embedded_store(location: str, settings: Settings, create: bool) -> Store:
    """A store in a folder on disk."""
    from imagefinder.stores.embedded import EmbeddedStore

    if scheme_of(location):  # embedded://...
        raise _unknown_kind(location)
    return EmbeddedStore(Path(location), create=create, cache_bytes=settings.cache_bytes)


def postgresql_store(location: str, settings: Settings, create: bool) -> Store:
    """A store in a PostgreSQL database, which many machines use."""
    try:
        from imagefinder.stores.distributed.opening import open_store
    except ImportError as error:
        raise SettingsError(
            f"collections in PostgreSQL need a package that is not installed: {error.name}",
            hint="pip install 'imagefinder[cluster]'",
        ) from error
    from imagefinder.ann.aggregate import Aggregation

    store = open_store(location, settings, create=create)
    store.use_models(lambda data, spec: Aggregation.from_bytes(data, spec).vectors)
    return store


def memory_store(location: str, settings: Settings, create: bool) -> Store:
    """A store in memory, which ends with the process."""
    from imagefinder.stores.memory import MemoryStore

    del location, settings, create
    return MemoryStore()
