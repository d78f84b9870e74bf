"""What is asked with, ready to be compared."""

from __future__ import annotations

from dataclasses import dataclass, replace

from imagefinder.core.contracts import Store
from imagefinder.core.errors import FingerprintMismatchError, InputError, MethodNotIndexedError
from imagefinder.core.features import Features, RgbImage
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.core.method import Method
from imagefinder.core.results import Size


@dataclass(frozen=True, slots=True)
class Question:
    """A query with its features.

    Attributes:
        features: A batch of one image.
        size: Of the picture: width and height in pixels.
        fingerprint: What made the features.
        indexed: Whether the store knows the method at all.
        id: Of the stored image that is asked with; empty for any other picture.
        mirrored: Whether this is the mirror image (left for right) of what was asked with.
    """

    features: Features
    size: Size
    fingerprint: Fingerprint
    indexed: bool
    id: str = ""
    mirrored: bool = False


def ask(store: Store, method: Method, query: RgbImage | str) -> Question:
    """Features of a query that may be compared with those of a store.

    Args:
        store: Holds the gallery.
        method: Extracts from the query.
        query: A picture, or the id of a stored image.

    Raises:
        UnknownImageError: no image of that id.
        MethodNotIndexedError: there are images, but none has features of this method.
        FingerprintMismatchError: the stored features were made differently.
        ModelMissingError: the query needs a network whose weights are not here.
    """
    info = store.info()
    stored = info.methods.get(method.name)
    if stored is None and info.images:
        if not isinstance(query, str):
            method.extractor.fingerprint()  # missing weights are the cause, so they are the error
        raise MethodNotIndexedError(method.name, info.methods)
    if isinstance(query, str):
        features, record = store.features(query, method.name), store.get(query)
        fingerprint = stored.fingerprint if stored else method.extractor.fingerprint()
        return Question(features, (record.width, record.height), fingerprint, stored is not None, id=query)
    fingerprint = method.extractor.fingerprint()
    if stored and stored.fingerprint != fingerprint:
        raise FingerprintMismatchError(
            f"the stored {method.name} features were made differently: "
            f"{stored.fingerprint.difference(fingerprint)} (stored against present)",
            hint="use the settings or weights they were made with, or index into a new collection",
        )
    size = query.shape[1], query.shape[0]
    return Question(method.extractor.extract([query]), size, fingerprint, stored is not None)


def views(method: Method, question: Question, *, mirror: bool) -> list[Question]:
    """The question, and, if wanted, its mirror image.

    Raises:
        InputError: the method cannot mirror.
    """
    if not mirror:
        return [question]
    if method.mirror is None:
        raise InputError(f"{method.name} cannot look for mirrored copies")
    flipped = method.mirror(question.features, question.size[0])
    return [question, replace(question, features=flipped, mirrored=True)]
