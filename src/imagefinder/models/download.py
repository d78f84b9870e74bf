"""Download files from the Hugging Face model hub, resuming interrupted downloads.

Files are stored in the cache that the package ``huggingface_hub`` uses. Its own download is not used: it does not
resume after the call has ended, and loses up to 10 MB when a connection breaks.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

import filelock
import httpx2

from imagefinder.core.errors import HubUnreachableError, ModelCorruptError, ModelError
from imagefinder.core.network_environment import proxy_for, tls_context
from imagefinder.models import hub_environment
from imagefinder.models.catalogue import HubFile, UrlFile
from imagefinder.models.description import MAX_BYTES
from imagefinder.models.files import Progress, file_sha256, is_commit, is_sha256

TRIES = 4
"""Number of consecutive attempts without a received byte before a download fails."""

_FIRST_DELAY = 0.5  # seconds before a retry; doubled after each attempt without a received byte
_MAX_REDIRECTS = 5
_TRANSIENT = frozenset({408, 416, 429, 500, 502, 503, 504})  # after 416 the partial file is deleted


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """The hub's metadata of a file.

    Attributes:
        sha256: SHA-256, hexadecimal; empty if the hub does not provide it.
        size_bytes: Size of the file.
        commit: Commit that the file was looked up at.
    """

    sha256: str
    size_bytes: int
    commit: str


def fetch_metadata(name: str, source: HubFile) -> RemoteFile:
    """Request the metadata of the weight file of the model ``name``.

    Raises:
        HubUnreachableError: no connection, offline mode, or a temporary hub error.
        ModelError: the hub denies access, does not have the file, or is not a model hub.
    """
    with translated_errors(name, source), hub_client(hub_environment.metadata_timeout()) as client:
        headers = _head(client, address(source)).headers
    size = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
    commit = headers.get("X-Repo-Commit") or ""
    if (
        (commit != source.revision and is_commit(source.revision))
        or not is_commit(commit)
        or not (size.isascii() and size.isdigit())
    ):
        raise ModelError(
            f"cannot download the weights of {name}: {hub_environment.endpoint()} does not respond like a model "
            "hub",
            hint="check HF_ENDPOINT, and that no proxy or login page intercepts the connection",
        )
    # The ETag of a large file is its SHA-256, that of a small one a git hash.
    etag = (headers.get("X-Linked-Etag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
    return RemoteFile(etag if is_sha256(etag) else "", int(size), commit)


# wide: source, expected hash and destination are separate values of its only caller.
def download(
    name: str,
    source: HubFile,
    target: Path,
    *,
    scratch: Path,
    sha256: str,
    size_bytes: int,
    progress: Progress | None = None,
) -> None:
    """Download the weight file of the model ``name`` to ``target``, unless it exists.

    If several processes call it at once, one downloads and the others wait. A failed call leaves its partial file
    in ``scratch``, and the next call resumes it.

    Args:
        name: Name of the model, for messages.
        source: The file to download.
        target: Destination; created atomically after the hash has been verified.
        scratch: Folder for the partial file, on the same file system.
        sha256: Expected SHA-256, hexadecimal.
        size_bytes: Size of the file from the hub's metadata.
        progress: Called with (done, total) bytes.

    Raises:
        HubUnreachableError: too many connection failures, or a temporary hub error.
        ModelCorruptError: the downloaded file has another SHA-256; it is deleted.
        ModelError: the hub denies access, or the folders cannot be written.
    """
    partial = scratch / f"{sha256}.imagefinder.incomplete"
    lock = filelock.FileLock(scratch / f"{sha256}.imagefinder.lock")
    with translated_errors(name, source), lock, hub_client(hub_environment.download_timeout()) as client:
        if target.is_file():
            return  # another process has downloaded it
        _fill(client, partial, address(source), size_bytes, progress)
        actual = file_sha256(partial)
        if actual != sha256:
            partial.unlink()
            raise ModelCorruptError(
                f"{source.filename} of {source.repository}, downloaded for {name}, is not the published file: "
                f"SHA-256 {actual} instead of {sha256}; the download was deleted",
                hint=f"try again: imagefinder models pull {name}  (if it fails again, "
                f"{hub_environment.endpoint()} serves a different file: check HF_ENDPOINT)",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)


def download_url(
    name: str, source: UrlFile, target: Path, *, sha256: str, progress: Progress | None = None
) -> None:
    """Download the weight file of the model ``name`` from its own address, without the token of the hub.

    Args:
        name: Name of the model, for messages.
        source: The file to download.
        target: Destination; created when the file is complete.
        sha256: Expected SHA-256, hexadecimal; empty if it is not known.
        progress: Called with (done, total) bytes.

    Raises:
        HubUnreachableError: no connection, offline mode, or an HTTP error.
        ModelCorruptError: the file has another SHA-256; it is deleted.
        ModelError: the file is larger than ``MAX_BYTES``, or cannot be written.
    """
    if hub_environment.is_offline():
        raise HubUnreachableError(
            f"the weights of {name} are not installed, and HF_HUB_OFFLINE disables downloads",
            hint=f"unset HF_HUB_OFFLINE, then: imagefinder models pull {name}",
        )
    partial = target.with_name(f".incomplete-{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(target.with_name(".lock")):
            _save(name, source.url, partial, progress)
            if sha256 and (actual := file_sha256(partial)) != sha256:
                raise ModelCorruptError(
                    f"{source.url} is not the file that was recorded for {name}: SHA-256 {actual} instead of "
                    f"{sha256}; the download was deleted",
                    hint=f"if the publisher has replaced it on purpose, remove {name} and add it again",
                )
            partial.replace(target)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise HubUnreachableError(
            f"the download of the weights of {name} from {source.url} failed: "
            f"{str(error) or type(error).__name__}",
            hint=f"try again: imagefinder models pull {name}",
        ) from error
    except OSError as error:
        raise ModelError(
            f"the weights of {name} cannot be written to {target}: {error.strerror or error}",
            hint="free some disk space, or set models (IMAGEFINDER_MODELS) to another folder",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _save(name: str, url: str, partial: Path, progress: Progress | None) -> None:
    """Download a file that is not larger than ``MAX_BYTES``."""
    with (
        httpx2.Client(timeout=hub_environment.download_timeout(), transport=_EnvironmentTransport()) as client,
        client.stream("GET", url, headers={"Accept-Encoding": "identity"}, follow_redirects=True) as response,
        partial.open("wb") as file,
    ):
        response.raise_for_status()
        length = response.headers.get("Content-Length") or ""
        total, done = int(length) if length.isascii() and length.isdigit() else 0, 0
        for chunk in response.iter_raw():
            done += file.write(chunk)
            if max(done, total) > MAX_BYTES:
                raise ModelError(f"{url}, the weights of {name}, has more than {MAX_BYTES:,} bytes")
            if progress is not None:
                progress(done, max(done, total))
    if done < total:
        raise httpx2.RemoteProtocolError("the response ended early")


def address(source: HubFile) -> str:
    """Address of a file on the hub."""
    path = f"{source.repository}/resolve/{quote(source.revision, safe='')}/{quote(source.filename)}"
    return f"{hub_environment.endpoint()}/{path}"


def hub_client(timeout: float) -> httpx2.Client:
    """An HTTP client with the hub's token, which httpx2 drops when a redirect leads to another origin."""
    headers = {"User-Agent": f"imagefinder/{version('imagefinder')}", "Accept-Encoding": "identity"}
    if token := hub_environment.token():
        headers["Authorization"] = f"Bearer {token}"
    return httpx2.Client(headers=headers, timeout=timeout, transport=_EnvironmentTransport())


class _EnvironmentTransport(httpx2.BaseTransport):
    """Sends each request through the proxy of the environment for its host; redirects lead to other hosts."""

    def __init__(self) -> None:
        self._transports: dict[tuple[str, bool], httpx2.HTTPTransport] = {}

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        proxy = proxy_for(request.url.scheme, request.url.host)
        tls = request.url.scheme == "https" or proxy.startswith("https")
        if (proxy, tls) not in self._transports:
            verify = tls_context(httpx2.create_ssl_context) if tls else False
            self._transports[proxy, tls] = httpx2.HTTPTransport(verify=verify, proxy=proxy or None)
        return self._transports[proxy, tls].handle_request(request)

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()


def _head(client: httpx2.Client, url: str) -> httpx2.Response:
    """The hub's own response about a file: redirects within the hub are followed, not the one to its storage."""
    for _ in range(_MAX_REDIRECTS):
        response = client.head(url)
        following = response.next_request
        if following is None or following.url.netloc != response.url.netloc:
            break
        url = str(following.url)
    if not response.has_redirect_location:
        response.raise_for_status()
    return response


def _fill(client: httpx2.Client, partial: Path, url: str, size: int, progress: Progress | None) -> None:
    """Download the rest of ``url`` into ``partial`` until it has ``size`` bytes."""
    failures = 0
    while (have := partial.stat().st_size if partial.exists() else 0) < size:
        try:
            _stream(client, partial, url, have, size=size, progress=progress)
        except (httpx2.TransportError, httpx2.HTTPStatusError) as error:
            if isinstance(error, httpx2.HTTPStatusError) and error.response.status_code not in _TRANSIENT:
                raise
            failures = 0 if partial.exists() and partial.stat().st_size > have else failures + 1
            if failures == TRIES:
                raise
            time.sleep(_FIRST_DELAY * 2 ** max(0, failures - 1))


# wide: one partial file and what is already in it.
def _stream(
    client: httpx2.Client, partial: Path, url: str, have: int, *, size: int, progress: Progress | None
) -> None:
    headers = {"Range": f"bytes={have}-"} if have else {}
    with client.stream("GET", url, headers=headers, follow_redirects=True) as response:
        if response.status_code == 416:
            partial.unlink(missing_ok=True)
        response.raise_for_status()
        resumed = response.status_code == 206
        done = have if resumed else 0
        with partial.open("ab" if resumed else "wb") as file:
            # No chunk size: each piece is written on arrival, so a broken connection loses nothing.
            for chunk in response.iter_raw():
                done += file.write(chunk)
                if progress is not None:
                    progress(min(done, size), size)
                if done > size:
                    break  # too large: the hash check will fail
    if done < size:
        raise httpx2.RemoteProtocolError("the response ended early")


@contextmanager
def translated_errors(name: str, source: HubFile) -> Iterator[None]:
    """Raise errors of the transfer as ``ModelError``, with a hint."""
    endpoint = hub_environment.endpoint()
    offline = "imagefinder models export on a machine that has the weights, then imagefinder models import here"
    retry = (
        f"try again, the download resumes: imagefinder models pull {name}  (to use a mirror, set HF_ENDPOINT; "
        f"without internet: {offline})"
    )
    if hub_environment.is_offline():
        raise HubUnreachableError(
            f"the weights of {name} are not installed, and HF_HUB_OFFLINE disables downloads",
            hint=f"unset HF_HUB_OFFLINE, then: imagefinder models pull {name}  (without internet: {offline})",
        )
    hub_environment.check_cache_folder()
    try:
        yield
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        if status in _TRANSIENT:
            raise HubUnreachableError(
                f"the model hub {endpoint} is temporarily unable to provide the weights of {name}: HTTP {status}",
                hint=retry,
            ) from error
        if status in {401, 403}:
            raise ModelError(
                f"the model hub {endpoint} denies access to {source.repository}, the weights of {name}: "
                f"HTTP {status}",
                hint="set HF_TOKEN to a token with read access, or unset an expired one",
            ) from error
        raise ModelError(
            f"the model hub {endpoint} does not provide {source.filename} of {source.repository} at revision "
            f"{source.revision}, the weights of {name}: HTTP {status}",
            hint="if HF_ENDPOINT is set to a mirror, it may lack this repository: unset it; or transfer the "
            "weights with imagefinder models export and imagefinder models import",
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise HubUnreachableError(
            f"the download of the weights of {name} from the model hub {endpoint} failed: "
            f"{str(error) or type(error).__name__}",
            hint=retry,
        ) from error
    except OSError as error:
        raise ModelError(
            f"the weights of {name} cannot be written to {hub_environment.cache_folder()}: "
            f"{error.strerror or error}",
            hint="free some disk space, or set HF_HOME to another folder",
        ) from error
