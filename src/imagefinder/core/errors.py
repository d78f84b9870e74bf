"""Every error imagefinder raises on purpose, in one tree.

::

    ImagefinderError
    ├── InputError                  what was handed in cannot be used
    │   ├── ImageError              ... because of the picture
    │   │   ├── EmptyImageError         no bytes, or no pixels
    │   │   ├── NotAnImageError         no known picture format
    │   │   ├── DamagedImageError       cut short or corrupt
    │   │   ├── ImageTooLargeError      over a limit on bytes, pixels or memory
    │   │   ├── DecodeTimeoutError      over the limit on time
    │   │   └── DecoderCrashedError     it ended the process that decoded it
    │   ├── SourceError             a file, folder, archive or list that cannot be read
    │   ├── FetchError              a URL that gave no picture
    │   │   ├── ForbiddenAddressError   ... because it leads where it must not
    │   │   └── TemporaryFetchError     ... but may give one later
    │   ├── FilterError             no filter on metadata
    │   ├── SettingsError           a setting with an impossible value
    │   ├── UnknownMethodError
    │   └── UnknownImageError
    ├── ModelError                  a network method cannot run
    │   ├── ModelMissingError           its weights are not on this machine
    │   ├── HubUnreachableError         ... and could not be downloaded
    │   ├── ModelCorruptError           its weights are not the published ones
    │   └── ProviderMissingError        what shall run it is not on this machine
    └── StoreError                  a collection cannot be used
        ├── CollectionNotFoundError
        ├── CollectionFormatError       not a collection, or one of another format
        ├── CollectionCorruptError      damaged data
        ├── CollectionBusyError         another process kept it locked for too long
        ├── FingerprintMismatchError    features made by other parameters or weights
        └── MethodNotIndexedError       the collection holds no features of this method

An error carries a stable ``code``, whether trying again may help (``retryable``), and a ``hint``: the next
step for the person who reads it. Only the command line prints and exits; only the server maps to HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class ImagefinderError(Exception):
    """Root of the tree.

    Attributes:
        code: Stable machine-readable name of the kind of error.
        retryable: Whether the same call may succeed later.
        message: One sentence: what happened, and to which file, id or method.
        hint: What to do next; may be empty.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(ImagefinderError):
    """What was handed in cannot be used."""

    code = "invalid_input"


class ImageError(InputError):
    """A picture cannot be used."""

    code = "invalid_image"


class EmptyImageError(ImageError):
    """No bytes, or a picture without pixels."""

    code = "empty_image"


class NotAnImageError(ImageError):
    """The bytes are of no known picture format."""

    code = "not_an_image"


class DamagedImageError(ImageError):
    """The picture is cut short or corrupt."""

    code = "damaged_image"


class ImageTooLargeError(ImageError):
    """The picture is over a limit.

    Attributes:
        limit: The limit that was passed.
        unit: ``bytes``, ``pixels`` or ``bytes of memory``.
    """

    code = "image_too_large"

    def __init__(self, message: str, *, limit: int, unit: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.limit = limit
        self.unit = unit


class DecodeTimeoutError(ImageError):
    """Decoding the picture took too long and was ended.

    The same bytes on the same machine would most likely take too long again, so it is not ``retryable``; where a
    run of ``add`` records it, the next run tries once more, as with every failure.
    """

    code = "decode_timeout"


class DecoderCrashedError(ImageError):
    """The process that decoded the picture ended: a fault of a decoder, or memory ran out.

    Not ``retryable``, for the same reason as ``DecodeTimeoutError``.
    """

    code = "decoder_crashed"


class SourceError(InputError):
    """A file, folder, archive or list cannot be read."""

    code = "invalid_source"


class FetchError(InputError):
    """A URL gave no picture."""

    code = "fetch_failed"


class ForbiddenAddressError(FetchError):
    """A URL leads where it must not: into a private network, or with a login."""

    code = "address_not_allowed"


class TemporaryFetchError(FetchError):
    """A URL gave no picture for a reason that passes: no connection, a server in trouble, too many requests.

    Attributes:
        retry_after: Seconds the server asked to wait; 0 if it did not say.
    """

    code = "fetch_failed_for_now"
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 0.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class FilterError(InputError):
    """A filter on metadata is none."""

    code = "invalid_filter"


class SettingsError(InputError):
    """A setting has an impossible value or an unknown name."""

    code = "invalid_setting"


class UnknownMethodError(InputError):
    """No method of that name is installed.

    Attributes:
        name: The name that was asked for.
        known: The names that exist, sorted.
    """

    code = "unknown_method"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(sorted(known))
        super().__init__(f"unknown method {name!r}", hint=f"known methods: {', '.join(self.known)}")


class UnknownImageError(InputError):
    """The collection holds no image of that id."""

    code = "unknown_image"

    def __init__(self, image_id: str) -> None:
        self.image_id = image_id
        super().__init__(f"no image with id {image_id!r} in this collection")


class ModelError(ImagefinderError):
    """A network method cannot run."""

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
            or f"download them with: imagefinder models pull {model}  (without internet: "
            "imagefinder models export on a machine that has them, imagefinder models import here)",
        )


class HubUnreachableError(ModelError):
    """The weights of a model could not be downloaded."""

    code = "hub_unreachable"
    retryable = True


class ModelCorruptError(ModelError):
    """The weights of a model are not the published ones."""

    code = "model_corrupt"


class ProviderMissingError(ModelError):
    """What shall run a network (``provider``) is not on this machine; nothing else runs it instead."""

    code = "provider_missing"

    def __init__(self, provider: str, *, reason: str, hint: str) -> None:
        self.provider = provider
        super().__init__(f"the provider {provider} cannot run networks here: {reason}", hint=hint)


class StoreError(ImagefinderError):
    """A collection cannot be used."""

    code = "store_error"


class CollectionNotFoundError(StoreError):
    """There is no collection at that place."""

    code = "collection_not_found"


class CollectionFormatError(StoreError):
    """The folder is no collection, or was written by a newer version."""

    code = "collection_format"


class CollectionCorruptError(StoreError):
    """Stored data do not have the checksum they were written with."""

    code = "collection_corrupt"


class CollectionBusyError(StoreError):
    """Another process kept the collection locked for too long."""

    code = "collection_busy"
    retryable = True


class FingerprintMismatchError(StoreError):
    """Stored features were made by other parameters, weights or code than the present ones."""

    code = "fingerprint_mismatch"


class MethodNotIndexedError(StoreError):
    """The collection, or one image of it, holds no features of this method."""

    code = "method_not_indexed"

    def __init__(self, method: str, indexed: Iterable[str], image_id: str | None = None) -> None:
        self.method = method
        self.indexed = tuple(sorted(indexed))
        holder = "this collection" if image_id is None else f"image {image_id!r}"
        has = f"it has: {', '.join(self.indexed)}" if self.indexed else "it has none at all"
        super().__init__(
            f"{holder} holds no {method} features ({has})",
            hint=f"extract them with: imagefinder add --method {method} SOURCE",
        )
