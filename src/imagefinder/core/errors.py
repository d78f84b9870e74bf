"""Every error imagefinder raises on purpose, in one tree.

::

    ImagefinderError
    ├── InputError                  the input cannot be used
    │   ├── ImageError              an image cannot be used
    │   │   ├── EmptyImageError         it has no bytes or no pixels
    │   │   ├── NotAnImageError         its format is not recognised
    │   │   ├── DamagedImageError       it is truncated or corrupt
    │   │   ├── ImageTooLargeError      it exceeds a limit on bytes, pixels or memory
    │   │   ├── DecodeTimeoutError      decoding it exceeded the time limit
    │   │   └── DecoderCrashedError     decoding it crashed the decoder process
    │   ├── SourceError             a file, folder, archive or list cannot be read
    │   ├── FetchError              a URL did not return an image
    │   │   ├── ForbiddenAddressError   its address is not allowed
    │   │   └── TemporaryFetchError     the failure is transient
    │   ├── BoxError                a box is not valid, or lies outside the image
    │   ├── FilterError             a metadata filter is not valid
    │   ├── MetadataError           metadata are not a JSON object within the limits
    │   ├── SettingsError           a setting has an invalid value
    │   ├── UnknownMethodError      no method has this name
    │   ├── UnknownWordsError       no word of a query is known
    │   ├── UnknownImageError       no image has this id
    │   └── UnknownJobError         no job has this id
    ├── QueueFullError          the job queue is full, or the share of one client
    ├── NotReadyError           the jobs are locked, or the server is shutting down
    ├── ModelError                  a neural network cannot run
    │   ├── ModelMissingError           its weights are not on this machine
    │   ├── HubUnreachableError         its weights could not be downloaded
    │   ├── ModelCorruptError           its weights do not match the published hash
    │   └── ProviderMissingError        its execution provider is not available
    └── StoreError                  a collection cannot be used
        ├── CollectionNotFoundError     it does not exist
        ├── CollectionClosedError       it was closed or deleted while it was in use
        ├── CollectionFormatError       it is not a collection, or has another format version
        ├── CollectionCorruptError      its data are damaged
        ├── CollectionBusyError         another process kept it locked for too long
        ├── CollectionMovedError        it was moved, deleted or replaced while it was open
        ├── StoreUnavailableError       its database or object store does not answer
        │   └── ObjectsUnavailableError     its object store does not answer
        ├── ShortlistUnavailableError   its index cannot propose candidates for now
        ├── FingerprintMismatchError    its features were made with other parameters or weights
        ├── CollectionProtectedError    it cannot be deleted over the network
        └── MethodNotIndexedError       it has no features of this method

Every error has a stable ``code``, a flag that says whether a retry may help (``retryable``), and a ``hint`` that
names the next step. Only the command line prints and exits; only the server maps errors to HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from imagefinder.core.suggestions import did_you_mean


class ImagefinderError(Exception):
    """Base class of all errors that imagefinder raises on purpose.

    Attributes:
        code: Stable, machine-readable name of the kind of error.
        retryable: Whether the same call may succeed later.
        message: What happened, and to which file, id or method; one sentence.
        hint: What to do next; may be empty.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(ImagefinderError):
    """The input cannot be used."""

    code = "invalid_input"


class ImageError(InputError):
    """An image cannot be used."""

    code = "invalid_image"


class EmptyImageError(ImageError):
    """The image has no bytes or no pixels."""

    code = "empty_image"


class NotAnImageError(ImageError):
    """The image format is not recognised."""

    code = "not_an_image"


class DamagedImageError(ImageError):
    """The image is truncated or corrupt."""

    code = "damaged_image"


class ImageTooLargeError(ImageError):
    """The image exceeds a limit.

    Attributes:
        limit: The limit that was exceeded.
        unit: ``bytes``, ``pixels`` or ``bytes of memory``.
    """

    code = "image_too_large"

    def __init__(self, message: str, *, limit: int, unit: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.limit = limit
        self.unit = unit


class DecodeTimeoutError(ImageError):
    """Decoding the image exceeded the time limit and was stopped.

    It is not ``retryable``: the same bytes would most likely exceed the limit again. A later run of ``add`` tries
    the image once more, as it does after every failure.
    """

    code = "decode_timeout"


class DecoderCrashedError(ImageError):
    """The process that decoded the image ended, because a decoder crashed or memory ran out.

    It is not ``retryable``: the same bytes would most likely crash the decoder again.
    """

    code = "decoder_crashed"


class SourceError(InputError):
    """A file, folder, archive or list cannot be read."""

    code = "invalid_source"


class FetchError(InputError):
    """A URL did not return an image."""

    code = "fetch_failed"


class ForbiddenAddressError(FetchError):
    """The address of a URL is not allowed: it is in a private network, or the URL contains a login."""

    code = "address_not_allowed"


class TemporaryFetchError(FetchError):
    """A download failed for a transient reason: no connection, a server error, or too many requests.

    Attributes:
        retry_after: Seconds to wait as requested by the server; 0 if the server did not specify any.
    """

    code = "fetch_failed_for_now"
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 0.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class BoxError(InputError):
    """A box is not valid, or lies outside the image."""

    code = "invalid_box"


class MetadataError(InputError):
    """Metadata are not a JSON object, or exceed a limit.

    Attributes:
        limit: The limit, if one is exceeded.
    """

    code = "invalid_metadata"

    def __init__(self, message: str, *, hint: str = "", limit: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.limit = limit


class FilterError(InputError):
    """A metadata filter is not valid."""

    code = "invalid_filter"


class SettingsError(InputError):
    """A setting has an invalid value or an unknown name."""

    code = "invalid_setting"


class UnknownMethodError(InputError):
    """No method of this name is installed.

    Attributes:
        name: The name that was requested.
        installed: The names of the installed methods, sorted.
    """

    code = "unknown_method"

    def __init__(self, name: str, installed: Iterable[str]) -> None:
        self.name = name
        self.installed = tuple(sorted(installed))
        known = f"known methods: {', '.join(self.installed)}"
        super().__init__(
            f"unknown method {name!r}", hint=did_you_mean(name, (*self.installed, "auto"), otherwise=known)
        )


class UnknownWordsError(InputError):
    """No word of a query is in the vocabulary of the method.

    Attributes:
        text: The text of the query.
        near: Known words that are spelt like it.
    """

    code = "unknown_words"

    def __init__(self, text: str, near: Sequence[str], *, method: str, known: int) -> None:
        self.text = text
        self.near = tuple(near)
        suggestion = f"did you mean {' or '.join(self.near)}?  " if self.near else ""
        super().__init__(
            f"no word of {text[:100]!r} is known",
            hint=f"{suggestion}{method} knows {known:,} English nouns, such as dog, cup, sports car or fruit; a "
            "model with a text encoder (CLIP) knows more",
        )


class UnknownImageError(InputError):
    """The collection has no image of this id."""

    code = "unknown_image"

    def __init__(self, image_id: str) -> None:
        self.image_id = image_id
        super().__init__(
            f"this collection has no image with the id {image_id!r}",
            hint="list the images of the collection to see their ids; letter case matters",
        )


class UnknownJobError(InputError):
    """There is no job of this id."""

    code = "unknown_job"

    def __init__(self, job_id: str, *, days: int) -> None:
        super().__init__(
            f"there is no job {job_id[:200]!a}",
            hint=f"ended jobs are kept for {days} days; GET /v1/jobs lists all jobs",
        )


class QueueFullError(ImagefinderError):
    """The job queue is full, or one client has used its share of it.

    Attributes:
        retry_after: Seconds to wait.
        limit: Number of queued jobs of this client, if that is its share.
    """

    code = "busy"
    retryable = True

    def __init__(self, message: str, *, retry_after: int, limit: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after
        self.limit = limit


class NotReadyError(ImagefinderError):
    """Jobs cannot be used now: another process has them locked, or the server is shutting down.

    Attributes:
        retry_after: Seconds to wait.
    """

    code = "not_ready"
    retryable = True

    def __init__(self, message: str, *, retry_after: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ModelError(ImagefinderError):
    """A neural network cannot run."""

    code = "model_error"


class ModelMissingError(ModelError):
    """The weights of a model are not on this machine."""

    code = "model_missing"
    retryable = True

    def __init__(self, model: str, *, hint: str = "") -> None:
        self.model = model
        super().__init__(
            f"the weights of {model} are not on this machine",
            hint=hint
            or f"download them with: imagefinder models pull {model}  (without internet access: run "
            "imagefinder models export on a machine that has them, then imagefinder models import here)",
        )


class HubUnreachableError(ModelError):
    """The weights of a model could not be downloaded."""

    code = "hub_unreachable"
    retryable = True


class ModelCorruptError(ModelError):
    """The weights of a model do not match the published hash."""

    code = "model_corrupt"


class ProviderMissingError(ModelError):
    """The configured execution provider is not available on this machine. There is no automatic fallback."""

    code = "provider_missing"

    def __init__(self, provider: str, *, reason: str, hint: str) -> None:
        self.provider = provider
        super().__init__(f"the provider {provider} is not available on this machine: {reason}", hint=hint)


class StoreError(ImagefinderError):
    """A collection cannot be used."""

    code = "store_error"


class CollectionNotFoundError(StoreError):
    """The collection does not exist."""

    code = "collection_not_found"


class CollectionClosedError(StoreError):
    """The collection was closed while it was in use."""

    code = "collection_closed"


class CollectionFormatError(StoreError):
    """The folder is not a collection, or its format is of another version."""

    code = "collection_format"


class CollectionCorruptError(StoreError):
    """Stored data do not match their checksum."""

    code = "collection_corrupt"


class CollectionBusyError(StoreError):
    """Another process kept the collection locked for too long."""

    code = "collection_busy"
    retryable = True


class CollectionMovedError(StoreError):
    """The files of the collection were moved, deleted or replaced while it was open.

    Nothing was stored: a change that is not acknowledged in the collection's present files is not acknowledged.
    """

    code = "collection_moved"
    retryable = True


class CollectionProtectedError(StoreError):
    """The collection cannot be deleted over the network."""

    code = "collection_protected"


class StoreUnavailableError(StoreError):
    """The database or the object store of the collection does not answer, or cannot do its work for now.

    A change that failed so may have been stored nevertheless; to repeat it does no harm.
    """

    code = "store_unavailable"
    retryable = True


class ObjectsUnavailableError(StoreUnavailableError):
    """The object store of the collection does not answer, or cannot do its work for now."""

    code = "objects_unavailable"


class ShortlistUnavailableError(StoreError):
    """The index that proposes the candidates of a fast search is not complete or not available for now.

    A search does not return an answer from a part of the collection instead.
    """

    code = "shortlist_unavailable"
    retryable = True


class FingerprintMismatchError(StoreError):
    """Stored features were made with other parameters, weights or code than those of this process."""

    code = "fingerprint_mismatch"


class MethodNotIndexedError(StoreError):
    """The collection, or one of its images, has no features of this method.

    Attributes:
        method: The name of the method.
        indexed: The names of the methods that there are features of, sorted.
    """

    code = "method_not_indexed"

    def __init__(self, method: str, indexed: Iterable[str], image_id: str | None = None) -> None:
        self.method = method
        self.indexed = tuple(sorted(indexed))
        owner = "this collection" if image_id is None else f"the image {image_id!r}"
        others = f"available: {', '.join(self.indexed)}" if self.indexed else "it has no features of any method"
        super().__init__(
            f"{owner} has no {method} features ({others})",
            hint=f"extract them with: imagefinder add --method {method} SOURCE",
        )
