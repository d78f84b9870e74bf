"""A URL to the bytes behind it, with a limit on everything a server could drag out."""

from __future__ import annotations

import base64
import contextlib
import random
import socket
import ssl
import threading
import time
import urllib.request
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

MAX_REDIRECTS = 5
DEADLINE_FACTOR = 10
"""A whole download, tries and waits included, may take so many times the timeout."""

_FIRST_WAIT = 0.5  # seconds before the second try; each further wait is twice as long
_LONGEST_CONNECT = 10.0  # seconds; a host that is there accepts a connection sooner
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429})
_HINTS = {
    401: "the picture needs a login; download it yourself and add the file",
    403: "the server refuses programs or strangers; download the picture yourself and add the file",
    404: "correct the address, or drop it",
    410: "the picture was removed for good; drop the address",
    429: "the server asks for fewer requests: lower fetch_connections, or try again later",
}


def fetch(url: str, *, timeout: float, max_bytes: int, retries: int) -> bytes:
    """Download one picture; see ``Fetcher.fetch``.

    Args:
        url: ``http`` or ``https``.
        timeout: Seconds the server may stand still.
        max_bytes: Largest answer accepted.
        retries: Further tries after a failure that may pass.
    """
    with Fetcher(timeout=timeout, max_bytes=max_bytes, retries=retries) as fetcher:
        return fetcher.fetch(url)


class Fetcher:
    """Downloads pictures over kept connections; safe to call from several threads at once.

    Proxies of the environment (``HTTPS_PROXY``, ``NO_PROXY``, ...) are used, but not together with ``check``:
    through a proxy the address of the server is not ours to see. Nor are logins in addresses, then.
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
        """Nothing is opened before the first download.

        Args:
            timeout: Seconds a server may stand still. A whole download may take ten times as long.
            max_bytes: Largest answer accepted.
            retries: Further tries after a failure that may pass.
            connections: Downloads at once; more threads than that wait for each other.
            check: Called with every IP address before it is connected to, after every redirect too; raises
                ``FetchError`` to refuse. The name is resolved once, so it cannot change between check and use.
            deadline: Seconds a whole download may take instead.
        """
        self._timeout = timeout
        self._deadline = timeout * DEADLINE_FACTOR if deadline is None else deadline
        self._max_bytes = max_bytes
        self._retries = retries
        self._connections = connections
        self._direct = check is not None
        self._network = _Network(check)
        self._pools: dict[str, httpcore2.ConnectionPool] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def abort(self) -> None:
        """End all downloads that are under way, and refuse new ones."""
        self._network.abort()

    def close(self) -> None:
        """Abort, and let go of the connections."""
        self.abort()
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()

    def fetch(self, url: str) -> bytes:
        """Download what is behind a URL; at most ``MAX_REDIRECTS`` redirects are followed.

        Raises:
            TemporaryFetchError: no connection, a standstill, 408, 425, 429 or a server error, after all tries.
            FetchError: any other answer that is no picture, or an address that cannot be used.
            ImageTooLargeError: more than ``max_bytes``; no more than that is read.
        """
        deadline = self._network.begin(self._deadline)
        wait = _FIRST_WAIT
        for left in range(self._retries, -1, -1):
            try:
                return self._follow(_parse(url))
            except TemporaryFetchError as error:
                # Downloads that failed together must not come back together.
                pause = max(error.retry_after, wait * random.uniform(0.5, 1.0))
                if left == 0 or time.monotonic() + pause >= deadline or self._network.aborted.wait(pause):
                    raise
            wait *= 2
        raise AssertionError("the last try returns or raises")

    def _follow(self, url: httpx2.URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            try:
                answer = self._get(url)
            except httpcore2.TimeoutException as error:
                raise TemporaryFetchError(
                    f"{url.host} stood still too long, or the download took too long ({_show(url)})",
                    hint=f"try again later, or raise fetch_timeout (now {self._timeout:g} s)",
                ) from error
            except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.ProxyError) as error:
                raise _broken(url, error) from error
            if isinstance(answer, bytes):
                return answer
            url = answer
        raise FetchError(f"more than {MAX_REDIRECTS} redirects, the last to {_show(url)}")

    def _get(self, url: httpx2.URL) -> bytes | httpx2.URL:
        """One request: the body, or where it redirects to."""
        if url.userinfo and self._direct:
            raise ForbiddenAddressError(
                f"{_show(url)} comes with a login, which is not used here",
                hint="download the picture yourself and send it",
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
            "connect": min(self._timeout, _LONGEST_CONNECT),
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
                raise _refused(url, response.status, fields.get(b"retry-after", ""))
            return self._body(url, fields, response.iter_stream())

    def _body(self, url: httpx2.URL, fields: dict[bytes, str], chunks: Iterable[bytes]) -> bytes:
        length = fields.get(b"content-length", "")
        if length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large(url, f"{int(length):,}")
        encoding = fields.get(b"content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip", "deflate"):
            raise FetchError(
                f"{url.host} sends {_show(url)} in the encoding {encoding!r}, which was not asked for"
            )
        unpack = None if encoding == "identity" else zlib.decompressobj(wbits=47)
        data = bytearray()
        for chunk in chunks:
            try:
                data += unpack.decompress(chunk, self._max_bytes + 1 - len(data)) if unpack else chunk
            except zlib.error as error:
                raise FetchError(f"{url.host} sends {_show(url)} badly packed: {error}") from error
            if len(data) > self._max_bytes:
                raise self._too_large(url, f"more than {self._max_bytes:,}")
        if fields.get(b"content-type", "").startswith("text/html") and data.lstrip()[:1] == b"<":
            raise FetchError(
                f"{_show(url)} is a web page, not a picture",
                hint="open it in a browser and copy the address of the picture itself",
            )
        return bytes(data)

    def _too_large(self, url: httpx2.URL, size: str) -> ImageTooLargeError:
        return ImageTooLargeError(
            f"{_show(url)} has {size} bytes; at most {self._max_bytes:,} are accepted",
            limit=self._max_bytes,
            unit="bytes",
        )

    def _pool(self, url: httpx2.URL) -> httpcore2.ConnectionPool:
        proxy = ""
        if not self._direct and not urllib.request.proxy_bypass(url.host):
            proxies = urllib.request.getproxies()
            proxy = proxies.get(url.scheme) or proxies.get("all") or ""
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = self._new_pool(proxy)
            return self._pools[proxy]

    def _new_pool(self, proxy: str) -> httpcore2.ConnectionPool:
        common: dict[str, Any] = {
            "ssl_context": httpcore2.default_ssl_context(),
            "max_connections": self._connections,
            "keepalive_expiry": 5.0,
            "network_backend": self._network,
        }
        if not proxy:
            return httpcore2.ConnectionPool(**common)
        try:
            url = httpx2.URL(proxy if "://" in proxy else f"http://{proxy}")
        except httpx2.InvalidURL as error:
            raise FetchError(f"the proxy of the environment is no address: {error}") from error
        if url.scheme not in ("http", "https"):
            raise FetchError(f"the proxy of the environment is of a kind not supported: {url.scheme}")
        return httpcore2.HTTPProxy(
            httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/"),
            proxy_auth=(url.username, url.password) if url.userinfo else None,
            **common,
        )


class _Network(httpcore2.SyncBackend):
    """Sockets that keep the deadline of the download they serve, and that can all be cut at once.

    The pool's own timeouts begin anew with every byte: a server that drips bytes would hold a thread for days.
    """

    def __init__(self, check: Callable[[str], None] | None) -> None:
        self.aborted = threading.Event()
        self._check = check
        # A download runs in one thread from beginning to end, whichever kept connection it uses.
        self._thread = threading.local()
        self._streams: WeakSet[_Stream] = WeakSet()
        self._lock = threading.Lock()

    def begin(self, seconds: float) -> float:
        """Start the clock of this thread's download; returns its end."""
        self._thread.deadline = deadline = time.monotonic() + seconds
        return deadline

    def left(self, timeout: float | None) -> float:
        """Seconds that the next operation of this thread may take."""
        if self.aborted.is_set():
            raise FetchError("the download was aborted")
        left: float = self._thread.deadline - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("the deadline has passed")
        return left if timeout is None else min(timeout, left)

    def add(self, stream: _Stream) -> None:
        """Remember a stream for ``abort``."""
        with self._lock:
            self._streams.add(stream)

    def abort(self) -> None:
        """Wake up whoever waits for a byte, with an error."""
        self.aborted.set()
        with self._lock:
            for stream in self._streams:
                stream.cut()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Resolve, check, connect; the next address is tried when one does not answer."""
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
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

    def cut(self) -> None:
        with contextlib.suppress(OSError):  # closed already
            # Not SSLSocket.shutdown: it takes the TLS state away under the reading thread.
            socket.socket.shutdown(self._inner.get_extra_info("socket"), socket.SHUT_RDWR)


def _resolve(host: str, port: int) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise TemporaryFetchError(
                f"the name {host} cannot be looked up now", hint="check the network connection"
            ) from error
        raise FetchError(f"there is no server named {host}", hint="correct the address, or drop it") from error
    except UnicodeError as error:
        raise FetchError(f"{host!r} cannot be the name of a server") from error


def _parse(text: str, base: httpx2.URL | None = None) -> httpx2.URL:
    try:
        url = base.join(text) if base else httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise FetchError(f"{text[:200]!r} is no usable address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        origin = f"{base.host} redirects to {text[:200]!r}, which" if base else f"{text[:200]!r}"
        raise FetchError(f"{origin} is no http or https address")
    return url


def _text(value: bytes) -> str:
    """A header's value: ASCII by the standard, UTF-8 in many a redirect, Latin-1 by tradition."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _show(url: httpx2.URL) -> str:
    """For messages: without a password, and not without end."""
    text = str(url.copy_with(username=None, password=None))
    return text if len(text) <= 200 else text[:199] + "…"


def _refused(url: httpx2.URL, status: int, retry_after: str) -> FetchError:
    message = f"{url.host} answered {status} ({responses.get(status, 'unknown')}) for {_show(url)}"
    if status in _PASSING or status >= 500:
        hint = _HINTS.get(status, "the server has trouble; try again later")
        return TemporaryFetchError(message, retry_after=_seconds(retry_after), hint=hint)
    return FetchError(message, hint=_HINTS.get(status, "open the address in a browser to see why"))


def _seconds(retry_after: str) -> float:
    """The header's seconds or date as seconds from now; 0 where it says nothing sensible."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _broken(url: httpx2.URL, error: Exception) -> FetchError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FetchError(
                f"the certificate of {url.host} is not trusted: {cause.verify_message}",
                hint="if it is your own server, name its authority in SSL_CERT_FILE",
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore2.LocalProtocolError):
        return FetchError(f"{_show(url)} cannot be asked for: {error}")
    what = "cannot be reached" if isinstance(error, httpcore2.ConnectError) else "broke off"
    return TemporaryFetchError(
        f"{url.host} {what} ({_show(url)}): {error}", hint="check the address and the network, or try again later"
    )
