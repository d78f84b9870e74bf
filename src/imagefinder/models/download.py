"""A file of the model hub brought to this machine, going on where a cut connection stopped.

``huggingface_hub`` knows the address, the token, the mirror, the offline switch and the place in the cache.
The bytes are streamed here, because its own download forgets what has arrived as soon as a call ends, and
loses up to 10 MB at each cut before that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
import httpx2
from huggingface_hub import constants, get_hf_file_metadata, get_session, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]  # exported lazily

from imagefinder.core.errors import HubUnreachableError, ModelCorruptError, ModelError
from imagefinder.models.catalogue import HubFile
from imagefinder.models.files import Progress, file_sha256, is_sha256

TRIES = 4
"""A download gives up after so many tries in a row that brought not one byte."""

_FIRST_WAIT = 0.5  # seconds before another try; twice as long after each that brought nothing
_PASSING = frozenset({408, 416, 429, 500, 502, 503, 504})  # 416: what is here is dropped, so the next try differs


@dataclass(frozen=True, slots=True)
class Offer:
    """What the hub says about one of its files.

    Attributes:
        sha256: Hexadecimal; empty where the hub does not give it.
        size_bytes: Of the whole file.
    """

    sha256: str
    size_bytes: int


def ask(name: str, source: HubFile) -> Offer:
    """What the hub says about the file of the model ``name``.

    Raises:
        HubUnreachableError: no connection, offline mode, or a hub in trouble.
        ModelError: the hub refuses, does not have the file, or is no hub.
    """
    with _explained(name, source):
        metadata = get_hf_file_metadata(_url(source), timeout=constants.HF_HUB_ETAG_TIMEOUT)
    if metadata.commit_hash != source.revision or metadata.size is None:
        raise ModelError(
            f"{constants.ENDPOINT} does not answer as a model hub does, so it cannot give the weights of {name}",
            hint="check HF_ENDPOINT, and that no proxy or login page stands in between",
        )
    # Large files have their SHA-256 as ETag, small ones that of git.
    return Offer(metadata.etag if is_sha256(metadata.etag) else "", metadata.size)


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
    with _explained(name, source), filelock.FileLock(scratch / f"{sha256}.imagefinder.lock"):
        if target.is_file():
            return  # another process brought it while this one waited
        _fill(partial, _url(source), size_bytes, progress)
        actual = file_sha256(partial)
        if actual != sha256:
            partial.unlink()
            raise ModelCorruptError(
                f"{source.filename} of {source.repository}, downloaded for {name}, is not the published file: its "
                f"SHA-256 is {actual}, not {sha256}; it was deleted",
                hint=f"try again: imagefinder models pull {name}  (if it stays so, {constants.ENDPOINT} hands out "
                "something else: check HF_ENDPOINT)",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)


def _url(source: HubFile) -> str:
    return hf_hub_url(source.repository, source.filename, revision=source.revision)


def _fill(partial: Path, url: str, size: int, progress: Progress | None) -> None:
    """Stream the rest of ``url`` into ``partial`` until it has ``size`` bytes."""
    fruitless = 0
    while (have := partial.stat().st_size if partial.exists() else 0) < size:
        try:
            _stream(partial, url, have, size, progress)
        except (httpx2.TransportError, HfHubHTTPError) as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code not in _PASSING:
                raise
            fruitless = 0 if partial.exists() and partial.stat().st_size > have else fruitless + 1
            if fruitless == TRIES:
                raise
            time.sleep(_FIRST_WAIT * 2 ** max(0, fruitless - 1))


def _stream(partial: Path, url: str, have: int, size: int, progress: Progress | None) -> None:
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with get_session().stream("GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT) as response:
        if response.status_code == 416:
            partial.unlink(missing_ok=True)
        hf_raise_for_status(response)
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
    endpoint = constants.ENDPOINT
    again = (
        f"try again: imagefinder models pull {name}  (it goes on where it stopped; a mirror can be named in "
        "HF_ENDPOINT; without internet: imagefinder models export on a machine that has the weights, "
        "imagefinder models import here)"
    )
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise HubUnreachableError(
            f"the weights of {name} are not on this machine, and HF_HUB_OFFLINE forbids to download them",
            hint=f"unset HF_HUB_OFFLINE and type: imagefinder models pull {name}  (without internet: imagefinder "
            "models export on a machine that has the weights, imagefinder models import here)",
        ) from error
    except HfHubHTTPError as error:
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
            f"the weights of {name} cannot be written to {constants.HF_HUB_CACHE}: {error.strerror or error}",
            hint="make room there, or set HF_HOME to another folder",
        ) from error
