"""Resumable download of a file from the Hugging Face model hub.

Files lie in the cache that the package ``huggingface_hub`` uses. Its own download is not used: it starts again
with each call, and loses up to 10 MB at each broken connection.
"""

from __future__ import annotations

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
from imagefinder.models import hub_environment
from imagefinder.models.catalogue import HubFile
from imagefinder.models.files import Progress, file_sha256, is_sha256

TRIES = 4
"""A download gives up after so many tries in a row that brought not one byte."""

_FIRST_WAIT = 0.5  # seconds before another try; twice as long after each that brought nothing
_MAX_REDIRECTS = 5
_PASSING = frozenset({408, 416, 429, 500, 502, 503, 504})  # 416: what is here is dropped, so the next try differs


@dataclass(frozen=True, slots=True)
class Offer:
    """Hash and size that the hub states for one of its files.

    Attributes:
        sha256: Hexadecimal; empty if the hub does not state it.
        size_bytes: Of the whole file.
    """

    sha256: str
    size_bytes: int


def fetch_offer(name: str, source: HubFile) -> Offer:
    """Hash and size that the hub states for the file of the model ``name``.

    Raises:
        HubUnreachableError: no connection, offline mode, or a hub in trouble.
        ModelError: the hub refuses, does not have the file, or is no hub.
    """
    with _explained(name, source), _client(hub_environment.metadata_timeout()) as client:
        headers = _head(client, _url(source)).headers
    size = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
    if headers.get("X-Repo-Commit") != source.revision or not (size.isascii() and size.isdigit()):
        raise ModelError(
            f"{hub_environment.endpoint()} does not answer as a model hub does, so it cannot give the weights of "
            f"{name}",
            hint="check HF_ENDPOINT, and that no proxy or login page stands in between",
        )
    # Large files have their SHA-256 as ETag, small ones that of git.
    etag = (headers.get("X-Linked-Etag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
    return Offer(etag if is_sha256(etag) else "", int(size))


# wide: what to fetch, what it must be and where it goes; one caller has each as a value of its own.
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
    """Bring the file of the model ``name`` to ``target``, unless it is there when the turn comes.

    Several processes may do so at once: one downloads, the others wait for it. What a failed call has brought
    stays in ``scratch``, and the next one continues there.

    Args:
        name: For messages.
        source: The file.
        target: Where it is put, in one step, once its hash is right.
        scratch: Folder for the incomplete file, on the same file system.
        sha256: What it must hash to.
        size_bytes: Its size, as the hub gives it.
        progress: Called as bytes arrive.

    Raises:
        HubUnreachableError: the connection broke too often, or the hub is in trouble.
        ModelCorruptError: other bytes arrived; they are deleted.
        ModelError: the hub refuses, or the folders cannot be written.
    """
    partial = scratch / f"{sha256}.imagefinder.incomplete"
    lock = filelock.FileLock(scratch / f"{sha256}.imagefinder.lock")
    with _explained(name, source), lock, _client(hub_environment.download_timeout()) as client:
        if target.is_file():
            return  # another process brought it while this one waited
        _fill(client, partial, _url(source), size_bytes, progress)
        actual = file_sha256(partial)
        if actual != sha256:
            partial.unlink()
            raise ModelCorruptError(
                f"{source.filename} of {source.repository}, downloaded for {name}, is not the published file: its "
                f"SHA-256 is {actual}, not {sha256}; it was deleted",
                hint=f"try again: imagefinder models pull {name}  (if it stays so, {hub_environment.endpoint()} "
                "hands out something else: check HF_ENDPOINT)",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)


def _url(source: HubFile) -> str:
    path = f"{source.repository}/resolve/{quote(source.revision, safe='')}/{quote(source.filename)}"
    return f"{hub_environment.endpoint()}/{path}"


def _client(timeout: float) -> httpx2.Client:
    """An HTTP client with the hub's token, which httpx2 drops where a redirect leads to another origin."""
    headers = {"User-Agent": f"imagefinder/{version('imagefinder')}", "Accept-Encoding": "identity"}
    if token := hub_environment.token():
        headers["Authorization"] = f"Bearer {token}"
    return httpx2.Client(headers=headers, timeout=timeout)


def _head(client: httpx2.Client, url: str) -> httpx2.Response:
    """The hub's own answer about a file: redirects within the hub are followed, the one to its storage is not."""
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
    """Stream the rest of ``url`` into ``partial`` until it has ``size`` bytes."""
    fruitless = 0
    while (have := partial.stat().st_size if partial.exists() else 0) < size:
        try:
            _stream(client, partial, url, have, size=size, progress=progress)
        except (httpx2.TransportError, httpx2.HTTPStatusError) as error:
            if isinstance(error, httpx2.HTTPStatusError) and error.response.status_code not in _PASSING:
                raise
            fruitless = 0 if partial.exists() and partial.stat().st_size > have else fruitless + 1
            if fruitless == TRIES:
                raise
            time.sleep(_FIRST_WAIT * 2 ** max(0, fruitless - 1))


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
            # No chunk size: each piece is written as it arrives, so a cut loses none.
            for chunk in response.iter_raw():
                done += file.write(chunk)
                if progress is not None:
                    progress(min(done, size), size)
                if done > size:
                    break  # not the file that was promised; its hash will say so
    if done < size:
        raise httpx2.RemoteProtocolError("the hub ended its answer early")


@contextmanager
def _explained(name: str, source: HubFile) -> Iterator[None]:
    """Turn what the transfer raises into what a person can act on."""
    endpoint = hub_environment.endpoint()
    again = (
        f"try again: imagefinder models pull {name}  (it goes on where it stopped; a mirror can be named in "
        "HF_ENDPOINT; without internet: imagefinder models export on a machine that has the weights, "
        "imagefinder models import here)"
    )
    if hub_environment.is_offline():
        raise HubUnreachableError(
            f"the weights of {name} are not on this machine, and HF_HUB_OFFLINE forbids to download them",
            hint=f"unset HF_HUB_OFFLINE and type: imagefinder models pull {name}  (without internet: imagefinder "
            "models export on a machine that has the weights, imagefinder models import here)",
        )
    try:
        yield
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        if status in _PASSING:
            raise HubUnreachableError(
                f"the model hub {endpoint} cannot give the weights of {name} now: it answered {status}", hint=again
            ) from error
        if status in {401, 403}:
            raise ModelError(
                f"the model hub {endpoint} refuses {source.repository}, the weights of {name}: "
                f"it answered {status}",
                hint="set HF_TOKEN to a token that may read it, or unset one that is no longer valid",
            ) from error
        raise ModelError(
            f"the model hub {endpoint} does not give {source.filename} of {source.repository} at revision "
            f"{source.revision}, the weights of {name}: it answered {status}",
            hint="if HF_ENDPOINT names a mirror, it may lack this repository: unset it, or bring the weights with "
            "imagefinder models export and imagefinder models import",
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise HubUnreachableError(
            f"the download of the weights of {name} from the model hub {endpoint} failed: "
            f"{str(error) or type(error).__name__}",
            hint=again,
        ) from error
    except OSError as error:
        raise ModelError(
            f"the weights of {name} cannot be written to {hub_environment.cache_folder()}: "
            f"{error.strerror or error}",
            hint="make room there, or set HF_HOME to another folder",
        ) from error
