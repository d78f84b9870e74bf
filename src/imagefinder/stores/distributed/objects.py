"""Object stores with the interface of S3: ``s3://BUCKET[/PREFIX][?endpoint=URL][&region=...]``.

Access keys come from the environment or from the credentials file of AWS, never from the location.
"""

from __future__ import annotations

import configparser
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from imagefinder.core import home
from imagefinder.core.blobs import MOST_BLOB_BYTES, check_names
from imagefinder.core.errors import ObjectsUnavailableError, SettingsError, StoreError
from imagefinder.core.location import shown
from imagefinder.stores.distributed.parallel import Parallel
from imagefinder.stores.distributed.url_parameters import parameters, timeout

_CONNECTIONS = 32
_BYTES_IN_FLIGHT = 128 << 20
_SECONDS = 30.0
_CREDENTIALS_SECONDS = 600.0
"""Time after which a credentials file is read again, so that keys can be rotated."""

_URL = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[^?#]*))?(?:\?(?P<query>[^#]*))?"
)
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_PARAMETERS = {"endpoint", "region", "timeout", "certificate"}


@dataclass(frozen=True, slots=True)
class BucketAddress:
    """The location of an object store, taken apart.

    Attributes:
        bucket: Name of the bucket.
        prefix: Path within the bucket, without slashes at its ends; may be empty.
        endpoint: URL of the server; empty: that of AWS, or of ``AWS_ENDPOINT_URL``.
        region: Region; empty: that of ``AWS_REGION``.
        seconds: Time limit of one operation, including its retries.
        certificate: File with the certificates (PEM) that sign that of the server, besides those of the system.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    seconds: float = _SECONDS
    certificate: Path | None = None

    @classmethod
    def of(cls, location: str) -> BucketAddress:
        """The parts of a location.

        Raises:
            SettingsError: it is malformed, or contains an access key; the message does not repeat the location.
        """
        found = _URL.fullmatch(location)
        if found is None:
            raise SettingsError(
                f"objects: {shown(location)} does not name a bucket",
                hint="write s3://BUCKET/PREFIX?endpoint=https://HOST; access keys belong into the environment "
                "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or a file (AWS_SHARED_CREDENTIALS_FILE)",
            )
        given = parameters("objects", location, found["query"], _PARAMETERS)
        endpoint = given.get("endpoint", "")
        if endpoint and not re.fullmatch(r"https?://[^/?#@\s]+/?", endpoint):
            raise SettingsError(
                f"objects: the endpoint of {shown(location)} is not a URL such as https://s3.example:9000"
            )
        return cls(
            found["bucket"],
            "/".join(filter(None, unquote(found["prefix"] or "").split("/"))),
            endpoint.rstrip("/"),
            given.get("region", ""),
            timeout("objects", location, given.get("timeout", ""), _SECONDS),
            Path(given["certificate"]) if given.get("certificate") else None,
        )

    @property
    def place(self) -> str:
        """Bucket and prefix as a URL."""
        return f"s3://{self.bucket}{f'/{self.prefix}' if self.prefix else ''}"


class BucketObjects:
    """Objects in a bucket of an S3 service."""

    def __init__(self, address: BucketAddress) -> None:
        """Use a bucket; nothing is sent yet.

        Raises:
            SettingsError: a file with certificates or credentials cannot be read.
        """
        self._location = address.place
        self._store = _store(address)
        self._threads = Parallel(_CONNECTIONS)
        self._in_flight = _ByteLimit(_BYTES_IN_FLIGHT)

    @property
    def location(self) -> str:
        """Bucket and prefix as a URL."""
        return self._location

    def put_new(self, objects: Mapping[str, bytes]) -> None:
        """Send each object with the condition that its name is new."""
        check_names(objects)
        for name, data in objects.items():
            if len(data) > MOST_BLOB_BYTES:
                raise StoreError(f"the object {self._location}/{name} would have {len(data):,} bytes")
        self._threads.map(self._put, objects.items())

    def get_many(self, names: Sequence[str]) -> dict[str, bytes]:
        """Request many objects at the same time."""
        check_names(names)
        wanted = list(dict.fromkeys(names))
        found = zip(wanted, self._threads.map(self._get, wanted), strict=True)
        return {name: data for name, data in found if data is not None}

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects, several at the same time."""
        check_names(names)
        if names:
            with self._errors("delete objects"):
                obstore.delete(self._store, list(names))

    def names(self, prefix: str = "", *, older_than: float = 0.0) -> Iterator[str]:
        """List the bucket page by page."""
        if prefix:
            check_names([prefix])
        latest = datetime.fromtimestamp(time.time() - older_than, UTC)
        with self._errors("list objects"):
            for page in obstore.list(self._store, prefix or None, chunk_size=1000):
                for item in page:
                    if not older_than or item["last_modified"] <= latest:
                        yield item["path"]

    def close(self) -> None:
        """End all threads; the connections close with the process."""
        self._threads.close()

    def _put(self, item: tuple[str, bytes]) -> None:
        name, data = item
        try:
            with self._errors("store an object"), self._in_flight.taken(len(data)):
                obstore.put(self._store, name, data, mode="create")
        except AlreadyExistsError:
            # Stored by an earlier attempt whose answer was lost; or not by us.
            if self._get(name) != data:
                raise StoreError(f"the object {self._location}/{name} exists with other content") from None

    def _get(self, name: str) -> bytes | None:
        try:
            with self._errors("read an object"):
                answer = obstore.get(self._store, name)
                size = answer.meta["size"]
                if size > MOST_BLOB_BYTES:
                    return None
                with self._in_flight.taken(size):
                    return bytes(answer.bytes())
        except FileNotFoundError:
            return None

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        """Translate the errors of the client, except those for names that exist or do not exist."""
        try:
            yield
        except AlreadyExistsError:
            raise
        except (BaseError, FileNotFoundError, OSError) as error:
            text = str(error)
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in text:
                raise
            raise _translated(error, text, f"cannot {action} in {self._location}") from error


def _translated(error: Exception, text: str, message: str) -> StoreError:
    status, code = _STATUS.search(text), _CODE.search(text)
    if "NoSuchBucket" in text:
        return StoreError(
            f"{message}: there is no such bucket", hint="create the bucket, or correct the setting objects"
        )
    if isinstance(error, PermissionDeniedError | UnauthenticatedError) or (status and status[1] in ("401", "403")):
        return StoreError(
            f"{message}: access is refused{f' ({code[1]})' if code else ''}",
            hint="check the access key (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_SHARED_CREDENTIALS_FILE) and its permissions: list, read, write and delete",
        )
    if status:
        reason = f"the server answers {status[1]}{f' ({code[1]})' if code else ''}"
        if status[1].startswith("4") and status[1] not in ("408", "429"):
            return StoreError(f"{message}: {reason}")
    else:
        is_late = "timed out" in text or "Timeout" in text
        reason = "no answer in time" if is_late else "the server cannot be reached"
    return ObjectsUnavailableError(
        f"{message}: {reason}",
        hint="check that the object store runs, has free space and can be reached; try again",
    )


class _ByteLimit:
    """Limits the bytes that all threads transfer at the same time; a larger transfer runs alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        size = min(size, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._used + size <= self._most)
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()


def _store(address: BucketAddress) -> S3Store:
    """The client of a bucket: an operation ends within ``address.seconds``."""
    endpoint = (
        address.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3", "") or os.environ.get("AWS_ENDPOINT_URL", "")
    )
    third = timedelta(seconds=address.seconds / 3)
    client: dict[str, Any] = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": min(third, timedelta(seconds=5)),
        "timeout": third,
    }
    if address.certificate:
        try:
            client["root_certificate"] = address.certificate.read_bytes()
        except OSError as error:
            raise SettingsError(
                f"objects: cannot read the certificate {address.certificate}: {error.strerror}"
            ) from error
    # Requests that delete a thousand objects take seconds, and are not repeated when they are late.
    config: dict[str, Any] = {"disable_bulk_delete": True, **({"endpoint": endpoint} if endpoint else {})}
    if address.region:
        config["region"] = address.region
    pause = {"init_backoff": min(third / 10, timedelta(seconds=0.1)), "max_backoff": third / 4, "base": 2}
    # No attempt begins later, so that the last one ends in time.
    retries: Any = {"max_retries": 10, "retry_timeout": 2 * third, "backoff": pause}
    credentials = _file_credentials()
    try:
        return S3Store(
            address.bucket,
            prefix=address.prefix or None,
            config=config,  # type: ignore[arg-type]
            client_options=client,  # type: ignore[arg-type]
            credential_provider=credentials,
            retry_config=retries,
        )
    except (BaseError, ValueError) as error:
        is_key = "AccessKey" in str(error)
        # Without its cause, whose message may repeat the environment.
        raise SettingsError(
            f"objects: {address.place} cannot be used: "
            + ("half of the access key is missing" if is_key else "a parameter or a variable AWS_* is not valid"),
            hint="set both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if is_key else "",
        ) from None


def _file_credentials() -> Callable[[], Any] | None:
    """A function that reads the credentials file; ``None`` if others are named, or there is none."""
    others = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE")
    if any(os.environ.get(name) for name in others):
        return None
    named = os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "")
    file = Path(named) if named else home.expand("~/.aws/credentials")
    if not named and not file.is_file():
        return None
    profile = os.environ.get("AWS_PROFILE") or "default"
    _read_credentials(file, profile)
    return lambda: _read_credentials(file, profile)


def _read_credentials(file: Path, profile: str) -> dict[str, Any]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the credentials file {file}: {error.strerror}") from error
    except (UnicodeDecodeError, configparser.Error):
        # Without its cause, whose message may repeat a key.
        raise SettingsError(f"the credentials file {file} is malformed") from None
    values = dict(parser[profile]) if parser.has_section(profile) else {}
    if not (values.get("aws_access_key_id") and values.get("aws_secret_access_key")):
        raise SettingsError(
            f"the credentials file {file} has no access key of the profile {profile!r}",
            hint="write aws_access_key_id and aws_secret_access_key below [default], or set AWS_PROFILE",
        )
    return {
        "access_key_id": values["aws_access_key_id"],
        "secret_access_key": values["aws_secret_access_key"],
        "token": values.get("aws_session_token"),
        "expires_at": datetime.now(UTC) + timedelta(seconds=_CREDENTIALS_SECONDS),
    }
