"""Download images over HTTP, with limits on time, size, redirects and retries."""

from __future__ import annotations

import base64
import contextlib
import random
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import responses
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote_to_bytes
from weakref import WeakSet

import httpcore2
import httpx2

from imagefinder.core.errors import FetchError, ForbiddenAddressError, ImageTooLargeError, TemporaryFetchError
from imagefinder.core.network_environment import proxy_for, tls_context

MAX_REDIRECTS = 5
DEADLINE_FACTOR = 10
"""Time limit of a download with all its retries, in multiples of the timeout."""

_FIRST_DELAY = 0.5  # seconds before the first retry; each further delay is twice as long
_CONNECT_TIMEOUT = 10.0  # seconds; a reachable host accepts a connection sooner
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429})
_HINTS = {
    401: "the image requires a login; download it in a browser and add the file",
    403: "the server refuses automated downloads; download the image in a browser and add the file",
    404: "correct or remove the URL",
    410: "the image was removed permanently; remove the URL",
    429: "the server limits the request rate: decrease fetch_connections, or try again later",
}


def fetch(url: str, *, timeout: float, max_bytes: int, retries: int) -> bytes:
    """Download one image; the same errors as ``HttpFetcher.fetch``.

    Args:
        url: An ``http`` or ``https`` URL.
        timeout: Idle timeout, seconds.
        max_bytes: Largest response accepted.
        retries: Number of retries after a transient failure.
    """
    with HttpFetcher(timeout=timeout, max_bytes=max_bytes, retries=retries) as fetcher:
        return fetcher.fetch(url)


class HttpFetcher:
    """Downloads images over persistent connections; safe to call from several threads at once.

    It uses the proxies of the environment (``HTTPS_PROXY``, ``NO_PROXY``, ...), except together with ``check``:
    behind a proxy the server's IP address is unknown. With ``check``, URLs with a login are rejected as well.
    """

    def __init__(
        self,
        *,
        timeout: float,
        max_bytes: int,
        retries: int,
        connections: int = 1,
        check: Callable[[str], None] | None = None,
        deadline: float | None = None,
    ) -> None:
        """Set the limits; no connection is opened before the first download.

        Args:
            timeout: Idle timeout, seconds. A whole download may take ``DEADLINE_FACTOR`` times as long.
            max_bytes: Largest response accepted.
            retries: Number of retries after a transient failure.
            connections: Largest number of concurrent downloads; further threads wait.
            check: Called with every IP address before connecting to it, also after redirects; raises
                ``FetchError`` to reject it. The host name is resolved once; its address cannot change after the
                check.
            deadline: Time limit of a whole download in seconds, instead of the multiple of ``timeout``.
        """
        self._timeout = timeout
        self._deadline = timeout * DEADLINE_FACTOR if deadline is None else deadline
        self._max_bytes = max_bytes
        self._retries = retries
        self._connections = connections
        self._direct = check is not None
        self._network = _Network(check)
        self._pools: dict[tuple[str, bool], httpcore2.ConnectionPool] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def abort(self) -> None:
        """Cancel all running downloads, and reject new ones."""
        self._network.abort()

    def close(self) -> None:
        """Cancel all downloads and close the connections."""
        self.abort()
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()

    def fetch(self, url: str, *, seconds: float | None = None) -> bytes:
        """Download a URL, following at most ``MAX_REDIRECTS`` redirects.

        Args:
            url: An ``http`` or ``https`` URL.
            seconds: Time limit of this download, if it is shorter than that of all downloads.

        Raises:
            TemporaryFetchError: no connection, a timeout, 408, 425, 429 or a server error, after all retries.
            FetchError: any other HTTP error, a web page instead of an image, or an unusable URL.
            ImageTooLargeError: the response exceeds ``max_bytes``; the rest is not downloaded.
            SettingsError: the proxy or the certificates that the environment names cannot be used.
        """
        deadline = self._network.begin(self._deadline if seconds is None else min(self._deadline, seconds))
        delay = _FIRST_DELAY
        for left in range(self._retries, -1, -1):
            try:
                return self._follow(_parse(url))
            except TemporaryFetchError as error:
                # Random jitter: downloads that failed together must not be retried together.
                pause = max(error.retry_after, delay * random.uniform(0.5, 1.0))
                if left == 0 or time.monotonic() + pause >= deadline or self._network.aborted.wait(pause):
                    raise
            delay *= 2
        raise AssertionError("the last attempt returns or raises")

    def _follow(self, url: httpx2.URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            try:
                result = self._get(url)
            except httpcore2.TimeoutException as error:
                raise TemporaryFetchError(
                    f"the download from {url.host} timed out ({_show(url)})",
                    hint=f"try again later, or increase fetch_timeout (now {self._timeout:g} s)",
                ) from error
            except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.ProxyError) as error:
                raise _connection_error(url, error) from error
            if isinstance(result, bytes):
                return result
            url = result
        raise FetchError(f"more than {MAX_REDIRECTS} redirects, the last to {_show(url)}")

    def _get(self, url: httpx2.URL) -> bytes | httpx2.URL:
        """Send one request; return the body, or the URL of a redirect."""
        if url.userinfo and self._direct:
            raise ForbiddenAddressError(
                f"{_show(url)} contains a login, which this server does not send",
                hint="download the image and upload the file",
            )
        headers = [
            ("User-Agent", f"imagefinder/{version('imagefinder')}"),
            ("Accept", "image/*,*/*;q=0.8"),
            ("Accept-Encoding", "identity"),
        ]
        if url.userinfo:
            login = base64.b64encode(unquote_to_bytes(url.userinfo)).decode()
            headers.append(("Authorization", f"Basic {login}"))
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        limits = {
            "connect": min(self._timeout, _CONNECT_TIMEOUT),
            "read": self._timeout,
            "write": self._timeout,
            "pool": self._deadline,
        }
        pool = self._pool(url)
        with pool.stream("GET", target, headers=headers, extensions={"timeout": limits}) as response:
            fields = {name.lower(): _text(value) for name, value in response.headers}
            if response.status in _REDIRECTS and b"location" in fields:
                return _parse(fields[b"location"], url)
            if not 200 <= response.status < 300:
                raise _http_error(url, response.status, fields.get(b"retry-after", ""))
            return self._body(url, fields, response.iter_stream())

    def _body(self, url: httpx2.URL, fields: dict[bytes, str], chunks: Iterable[bytes]) -> bytes:
        length = fields.get(b"content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large(url, f"{int(length):,}")
        encoding = fields.get(b"content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
            raise FetchError(f"{url.host} sent {_show(url)} with the unsupported content encoding {encoding!r}")
        unpack = None if encoding == "identity" else zlib.decompressobj(wbits=47)
        data = bytearray()
        for chunk in chunks:
            try:
                data += unpack.decompress(chunk, self._max_bytes + 1 - len(data)) if unpack else chunk
            except zlib.error as error:
                raise FetchError(f"{url.host} sent {_show(url)} with damaged compression: {error}") from error
            if len(data) > self._max_bytes:
                raise self._too_large(url, f"more than {self._max_bytes:,}")
        if fields.get(b"content-type", "").startswith("text/html") and data.lstrip()[:1] == b"<":
            raise FetchError(
                f"{_show(url)} is a web page, not an image",
                hint="open it in a browser and copy the address of the image itself",
            )
        return bytes(data)

    def _too_large(self, url: httpx2.URL, size: str) -> ImageTooLargeError:
        return ImageTooLargeError(
            f"{_show(url)} has {size} bytes; the limit is {self._max_bytes:,} (max_image_bytes)",
            limit=self._max_bytes,
            unit="bytes",
        )

    def _pool(self, url: httpx2.URL) -> httpcore2.ConnectionPool:
        proxy = "" if self._direct else proxy_for(url.scheme, url.host)
        # Certificates that cannot be read do not matter to a plain connection.
        tls = url.scheme == "https" or proxy.startswith("https")
        with self._lock:
            if (proxy, tls) not in self._pools:
                self._pools[proxy, tls] = self._new_pool(proxy, tls=tls)
            return self._pools[proxy, tls]

    def _new_pool(self, proxy: str, *, tls: bool) -> httpcore2.ConnectionPool:
        common: dict[str, Any] = {
            "ssl_context": tls_context(httpcore2.default_ssl_context) if tls else None,
            "max_connections": self._connections,
            "keepalive_expiry": 5.0,
            "network_backend": self._network,
        }
        if not proxy:
            return httpcore2.ConnectionPool(**common)
        url = httpx2.URL(proxy)
        kind = httpcore2.SOCKSProxy if url.scheme == "socks5h" else httpcore2.HTTPProxy
        return kind(
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/"),
            proxy_auth=(url.username, url.password) if url.userinfo else None,
            **common,
        )


class _Network(httpcore2.SyncBackend):
    """A network backend with a deadline for each download, which can cancel all downloads at once.

    The timeouts of the connection pool restart with every byte: a server that sends one byte at a time could
    block a thread for days.
    """

    def __init__(self, check: Callable[[str], None] | None) -> None:
        self.aborted = threading.Event()
        self._check = check
        # A download runs in one thread from start to finish, whichever connection it reuses.
        self._thread = threading.local()
        self._streams: WeakSet[_Stream] = WeakSet()
        self._lock = threading.Lock()

    def begin(self, seconds: float) -> float:
        """Set the deadline of this thread's download and return it (``time.monotonic``)."""
        self._thread.deadline = deadline = time.monotonic() + seconds
        return deadline

    def left(self, timeout: float | None) -> float:
        """Timeout of the next operation in this thread, seconds."""
        if self.aborted.is_set():
            raise FetchError("the download was cancelled")
        left: float = self._thread.deadline - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("the deadline has passed")
        return left if timeout is None else min(timeout, left)

    def add(self, stream: _Stream) -> None:
        """Register a stream, for ``abort``."""
        with self._lock:
            self._streams.add(stream)

    def abort(self) -> None:
        """Shut down all streams, so that blocked reads and writes fail."""
        self.aborted.set()
        with self._lock:
            for stream in self._streams:
                stream.shut_down()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Resolve the host, check each address and connect to the first that accepts."""
        failure: Exception = httpcore2.ConnectError(f"{host} has no IP address")
        for address in _resolve(host, port):
            if self._check is not None:
                self._check(address)
            try:
                stream = super().connect_tcp(address, port, self.left(timeout), local_address, socket_options)
                return _Stream(stream, self)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class _Stream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream, network: _Network) -> None:
        self._inner = inner
        self._network = network
        network.add(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._network.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._network.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._network.left(timeout))
        return _Stream(inner, self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def shut_down(self) -> None:
        with contextlib.suppress(OSError):  # closed already
            # Not SSLSocket.shutdown, which would remove the TLS state while another thread reads.
            socket.socket.shutdown(self._inner.get_extra_info("socket"), socket.SHUT_RDWR)


def _resolve(host: str, port: int) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise TemporaryFetchError(
                f"the host name {host} cannot be resolved at the moment", hint="check the network connection"
            ) from error
        raise FetchError(f"unknown host {host}", hint="correct or remove the URL") from error
    except UnicodeError as error:
        raise FetchError(f"{host!r} is not a valid host name") from error


def _parse(text: str, base: httpx2.URL | None = None) -> httpx2.URL:
    try:
        url = base.join(text) if base else httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise FetchError(f"{text[:200]!r} is not a valid URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        origin = f"{base.host} redirects to {text[:200]!r}, which" if base else f"{text[:200]!r}"
        raise FetchError(f"{origin} is not an http or https URL")
    return url


def _text(value: bytes) -> str:
    """Decode a header value: ASCII by the standard, but UTF-8 or Latin-1 in practice."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _show(url: httpx2.URL) -> str:
    """Format a URL for messages: without login, at most 200 characters."""
    text = str(url.copy_with(username=None, password=None))
    return text if len(text) <= 200 else text[:199] + "…"


def _http_error(url: httpx2.URL, status: int, retry_after: str) -> FetchError:
    message = f"{url.host} returned {status} ({responses.get(status, 'unknown')}) for {_show(url)}"
    if status in _TRANSIENT or status >= 500:
        hint = _HINTS.get(status, "the server has a problem; try again later")
        return TemporaryFetchError(message, retry_after=_seconds(retry_after), hint=hint)
    return FetchError(message, hint=_HINTS.get(status, "open the URL in a browser to find the cause"))


def _seconds(retry_after: str) -> float:
    """Convert ``Retry-After`` (seconds or a date) to seconds from now; 0 if missing or invalid."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _connection_error(url: httpx2.URL, error: Exception) -> FetchError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FetchError(
                f"the certificate of {url.host} is not trusted: {cause.verify_message}",
                hint="for your own server, set SSL_CERT_FILE to its certificate authority",
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore2.LocalProtocolError):
        return FetchError(f"{_show(url)} cannot be requested: {error}")
    reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
    if isinstance(error, httpcore2.ConnectError):
        message = f"cannot connect to {url.host} ({_show(url)}): {reason}"
    else:
        message = f"the connection to {url.host} was lost ({_show(url)}): {reason}"
    return TemporaryFetchError(message, hint="check the URL and the network, or try again later")
