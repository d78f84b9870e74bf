"""Downloads from a scripted local server that fails in many ways."""

import contextlib
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from imagefinder.core.errors import (
    FetchError,
    ForbiddenAddressError,
    ImageTooLargeError,
    SettingsError,
    TemporaryFetchError,
)
from imagefinder.images.fetching import fetcher as fetch_module
from imagefinder.images.fetching.fetcher import MAX_REDIRECTS, HttpFetcher, fetch
from imagefinder.images.fetching.public_addresses import require_public

IMAGE = bytes(range(256)) * 40


@dataclass
class Server:
    port: int
    routes: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(fetch_module, "_FIRST_DELAY", 0.01)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            state.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            try:
                state.routes[self.path](self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Listener(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    http = Listener(("127.0.0.1", 0), Handler)
    state = Server(http.server_port)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    state.gone.set()
    http.shutdown()
    thread.join()
    http.server_close()


def answer(body: bytes = IMAGE, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        fields = {"Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}
        handler.send_response(status)
        for name, value in fields.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def in_turn(*answers: Callable[[BaseHTTPRequestHandler], None]) -> Callable[[BaseHTTPRequestHandler], None]:
    left = list(answers)

    def respond(handler: BaseHTTPRequestHandler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return respond


def get(url: str, *, timeout: float = 5.0, max_bytes: int = 100_000, retries: int = 2) -> bytes:
    return fetch(url, timeout=timeout, max_bytes=max_bytes, retries=retries)


def test_returns_the_bytes_and_sends_a_user_agent(server: Server) -> None:
    server.routes["/a%20b.jpg?x=1"] = answer()
    assert get(server.url("/a b.jpg?x=1#part")) == IMAGE
    path, headers = server.seen[0]
    assert path == "/a%20b.jpg?x=1"
    assert headers["user-agent"].startswith("imagefinder/")
    assert headers["accept-encoding"] == "identity"
    assert headers["host"] == f"127.0.0.1:{server.port}"


def test_a_login_in_the_address_is_sent_but_never_shown(server: Server) -> None:
    server.routes["/p"] = answer(status=404)
    with pytest.raises(FetchError) as caught:
        get(server.url("/p").replace("http://", "http://me:se%20cret@"))
    assert server.seen[0][1]["authorization"] == "Basic bWU6c2UgY3JldA=="
    assert "se" not in caught.value.message.split(server.url("/p"))[0]
    assert "cret" not in caught.value.message


def test_redirects_are_followed_to_a_limit(server: Server) -> None:
    for step in range(MAX_REDIRECTS):
        server.routes[f"/{step}"] = answer(b"", 302, Location=f"/{step + 1}")
    server.routes[f"/{MAX_REDIRECTS}"] = answer()
    assert get(server.url("/0")) == IMAGE
    server.routes["/loop"] = answer(b"", 301, Location="/loop")
    server.seen.clear()
    with pytest.raises(FetchError, match=f"more than {MAX_REDIRECTS} redirects"):
        get(server.url("/loop"))
    assert len(server.seen) == MAX_REDIRECTS + 1


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/"])
def test_redirects_lead_to_http_only(server: Server, location: str) -> None:
    server.routes["/r"] = answer(b"", 302, Location=location)
    with pytest.raises(FetchError, match="not an http or https URL"):
        get(server.url("/r"))


def test_a_redirect_to_a_name_in_utf8(server: Server) -> None:
    server.routes["/r"] = answer(b"", 302, Location="/caf\u00e9".encode().decode("latin-1"))
    server.routes["/caf%C3%A9"] = answer()
    assert get(server.url("/r")) == IMAGE


@pytest.mark.parametrize("url", ["", "image.jpg", "ftp://h/x", "file:///x", "http://", "https:///x"])
def test_not_a_url(url: str) -> None:
    with pytest.raises(FetchError):
        get(url)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 451, 799])
def test_a_refusal_is_final_and_named(server: Server, status: int) -> None:
    server.routes["/x.jpg"] = answer(b"no", status)
    with pytest.raises(FetchError, match=rf"127\.0\.0\.1 returned {status} ") as caught:
        get(server.url("/x.jpg"))
    # 799 is not a defined status; above 499 it counts as a server error.
    assert caught.value.retryable is (status >= 500)
    assert caught.value.hint
    assert len(server.seen) == (3 if status >= 500 else 1)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_transient_errors_are_retried(server: Server, status: int) -> None:
    server.routes["/x"] = in_turn(answer(b"", status), answer(b"", status), answer())
    assert get(server.url("/x")) == IMAGE
    server.routes["/y"] = answer(b"", status)
    server.seen.clear()
    with pytest.raises(TemporaryFetchError, match=str(status)):
        get(server.url("/y"), retries=1)
    assert len(server.seen) == 2


def test_retry_after_is_kept(server: Server) -> None:
    server.routes["/s"] = in_turn(answer(b"", 429, Retry_After="1"), answer())
    start = time.monotonic()
    assert get(server.url("/s")) == IMAGE
    assert time.monotonic() - start >= 1.0
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    server.routes["/d"] = answer(b"", 503, Retry_After=later)
    start = time.monotonic()
    with pytest.raises(TemporaryFetchError) as caught:  # an hour is past the deadline: reported immediately
        get(server.url("/d"))
    assert time.monotonic() - start < 1.0
    assert 3500 < caught.value.retry_after <= 3600
    for nonsense in ("soon", "", "-5", "Wed, 99 Foo 2020"):
        server.routes["/n"] = in_turn(answer(b"", 503, Retry_After=nonsense), answer())
        assert get(server.url("/n")) == IMAGE


def test_a_declared_size_over_the_limit_is_not_read(server: Server) -> None:
    server.routes["/big"] = answer(b"", 200, Content_Length=str(1 << 40))
    with pytest.raises(ImageTooLargeError, match="1,099,511,627,776 bytes") as caught:
        get(server.url("/big"))
    assert (caught.value.limit, caught.value.unit) == (100_000, "bytes")


def test_an_undeclared_size_is_cut_at_the_limit(server: Server) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        while not server.gone.is_set():
            handler.wfile.write(bytes(10_000))

    server.routes["/endless"] = endless
    with pytest.raises(ImageTooLargeError, match="more than 100,000 bytes"):
        get(server.url("/endless"))
    server.routes["/limit"] = answer(bytes(100_000))
    assert get(server.url("/limit")) == bytes(100_000)


def test_fewer_bytes_than_declared_is_cut_short(server: Server) -> None:
    def liar(handler: BaseHTTPRequestHandler) -> None:
        answer(IMAGE, Content_Length=str(len(IMAGE) + 1))(handler)
        handler.close_connection = True

    server.routes["/short"] = in_turn(liar, answer())
    assert get(server.url("/short")) == IMAGE
    server.routes["/short"] = liar
    with pytest.raises(TemporaryFetchError, match="was lost"):
        get(server.url("/short"), retries=0)


def test_more_bytes_than_declared_are_not_taken(server: Server) -> None:
    server.routes["/long"] = answer(IMAGE, Content_Length="100")
    assert get(server.url("/long")) == IMAGE[:100]


def test_compressed_responses(server: Server) -> None:
    server.routes["/gz"] = answer(gzip.compress(IMAGE), Content_Encoding="gzip")
    assert get(server.url("/gz")) == IMAGE
    server.routes["/bomb"] = answer(gzip.compress(bytes(50_000_000)), Content_Encoding="gzip")
    with pytest.raises(ImageTooLargeError):
        get(server.url("/bomb"))
    server.routes["/bad"] = answer(b"no gzip at all", Content_Encoding="gzip")
    with pytest.raises(FetchError):
        get(server.url("/bad"))
    server.routes["/br"] = answer(IMAGE, Content_Encoding="br")
    with pytest.raises(FetchError, match="'br'"):
        get(server.url("/br"))


def test_a_web_page_is_rejected(server: Server) -> None:
    server.routes["/page"] = answer(b"\n<!doctype html><p>Sorry", Content_Type="text/html; charset=utf-8")
    with pytest.raises(FetchError, match="is a web page"):
        get(server.url("/page"))
    server.routes["/mislabelled"] = answer(IMAGE, Content_Type="text/html")
    assert get(server.url("/mislabelled")) == IMAGE


def test_idle_timeout_and_retry(server: Server) -> None:
    server.routes["/silent"] = in_turn(lambda _: server.gone.wait(10), answer())
    assert get(server.url("/silent"), timeout=0.2) == IMAGE
    server.routes["/silent"] = lambda _: server.gone.wait(10)
    with pytest.raises(TemporaryFetchError, match="timed out"):
        get(server.url("/silent"), timeout=0.2, retries=0)


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_slow_drip_ends_at_the_deadline(server: Server, part: str) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        if part == "body":
            handler.wfile.write(b"Content-Length: 90000\r\n\r\n")
        while not server.gone.wait(0.02):
            handler.wfile.write(b"x")

    server.routes["/drip"] = drip
    start = time.monotonic()
    with pytest.raises(TemporaryFetchError):
        get(server.url("/drip"), timeout=0.1)
    assert 0.9 < time.monotonic() - start < 3.0
    assert len(server.seen) == 1


def test_a_closed_port(server: Server) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(TemporaryFetchError, match=r"cannot connect to 127\.0\.0\.1") as caught:
            get(f"http://127.0.0.1:{port}/x.jpg")
    assert caught.value.hint


def test_names_that_do_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(code, "x")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    code = socket.EAI_NONAME
    with pytest.raises(FetchError, match=r"nowhere\.invalid") as caught:
        get("http://nowhere.invalid/x")
    assert not caught.value.retryable
    code = socket.EAI_AGAIN
    with pytest.raises(TemporaryFetchError):
        get("http://nowhere.invalid/x", retries=0)


def test_not_http_at_all(server: Server) -> None:
    server.routes["/x"] = lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH_9\r\n\r\n")
    with pytest.raises(TemporaryFetchError, match="was lost"):
        get(server.url("/x"), retries=0)


def test_https_url_of_an_http_server(server: Server) -> None:
    with pytest.raises(TemporaryFetchError):
        get(server.url("/x").replace("http:", "https:"), retries=0)


def test_a_certificate_that_is_not_trusted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def distrust(*_: object, **__: object) -> None:
        error = ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate")
        error.verify_message = "self-signed certificate"
        raise error

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", distrust)
    with pytest.raises(FetchError, match=r"certificate of 127\.0\.0\.1 is not trusted: self-signed") as caught:
        get(server.url("/x").replace("http:", "https:"))
    assert not caught.value.retryable


def test_check_sees_every_address_before_it_is_connected_to(server: Server) -> None:
    checked = []

    def refuse_loopback(address: str) -> None:
        checked.append(address)
        if len(checked) > 1:
            raise FetchError(f"{address} is not allowed")

    server.routes["/go"] = answer(b"", 302, Location=f"http://localhost:{server.port}/inside")
    with (
        HttpFetcher(timeout=5, max_bytes=1000, retries=2, check=refuse_loopback) as fetcher,
        pytest.raises(FetchError, match="not allowed"),
    ):
        fetcher.fetch(server.url("/go"))
    assert checked[0] == "127.0.0.1"
    assert [path for path, _ in server.seen] == ["/go"]


def test_the_proxy_of_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{server.port}")
    monkeypatch.setenv("no_proxy", "")
    server.routes["http://images.invalid/x.jpg"] = answer()
    assert get("http://images.invalid/x.jpg") == IMAGE
    monkeypatch.setenv("http_proxy", "nonsense://127.0.0.1:1")
    with pytest.raises(SettingsError, match="nonsense"):
        get("http://images.invalid/x.jpg")


def test_many_threads_share_one_fetcher(server: Server) -> None:
    for n in range(40):
        server.routes[f"/{n}"] = in_turn(*([answer(b"", 503)] if n % 4 == 0 else []), answer(IMAGE + bytes([n])))
    got: dict[int, bytes] = {}
    with HttpFetcher(timeout=5, max_bytes=100_000, retries=2, connections=4) as fetcher:

        def work(first: int) -> None:
            for n in range(first, 40, 8):
                got[n] = fetcher.fetch(server.url(f"/{n}"))

        threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == {n: IMAGE + bytes([n]) for n in range(40)}


def test_abort_ends_blocked_downloads(server: Server) -> None:
    server.routes["/silent"] = lambda _: server.gone.wait(20)
    ended: list[Exception] = []
    with HttpFetcher(timeout=20, max_bytes=1000, retries=2) as fetcher:

        def work() -> None:
            try:
                fetcher.fetch(server.url("/silent"))
            except FetchError as error:
                ended.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        while not server.seen:
            time.sleep(0.01)
        start = time.monotonic()
        fetcher.abort()
        thread.join(5)
        assert time.monotonic() - start < 1
        assert len(ended) == 1
        with pytest.raises(FetchError, match="cancelled"):
            fetcher.fetch(server.url("/silent"))


def test_a_whole_download_has_a_deadline_of_its_own(server: Server) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not server.gone.wait(0.02):
            handler.wfile.write(b"x")

    server.routes["/slow"] = drip
    with (
        HttpFetcher(timeout=60, max_bytes=10**7, retries=0, deadline=0.3) as fetcher,
        pytest.raises(TemporaryFetchError),
    ):
        fetcher.fetch(server.url("/slow"))


# -- untrusted URLs -------------------------------------------------------------------------------------------


def guarded() -> HttpFetcher:
    return HttpFetcher(timeout=5, max_bytes=100_000, retries=0, check=require_public)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0x7f.1",
            "017700000001",
            "0.0.0.0",
            "0",
        ),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:0:0:1]", "localhost"),
        *("127.0.0.1.", "①②⑦.⓪.⓪.①"),
    ],
)
def test_no_form_of_an_address_of_this_machine_is_reached(server: Server, host: str) -> None:
    server.routes["/x"] = answer()
    with guarded() as fetcher, pytest.raises(FetchError):
        fetcher.fetch(f"http://{host}:{server.port}/x")
    assert not server.seen


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://8.8.8.8/x", "gopher://8.8.8.8/", "//8.8.8.8/x", "data:,x"]
)
def test_only_http(url: str) -> None:
    with guarded() as fetcher, pytest.raises(FetchError):
        fetcher.fetch(url)


@pytest.fixture
def public_names(monkeypatch: pytest.MonkeyPatch, server: Server) -> list[str]:
    """Resolve ``*.test`` names to local addresses; ``rebinding.test`` changes its address. Returns the lookups."""
    lookups: list[str] = []
    answers = {
        "public.test": ["127.0.0.1"],
        "private.test": ["127.0.0.2"],
        "both.test": ["127.0.0.1", "127.0.0.2"],
    }

    def resolve(host: str, port: int) -> list[str]:
        lookups.append(host)
        if host == "rebinding.test":
            return ["127.0.0.1" if lookups.count(host) == 1 else "127.0.0.2"]
        return answers[host]

    monkeypatch.setattr(fetch_module, "_resolve", resolve)
    return lookups


def first_only(address: str) -> None:
    """An address check for which 127.0.0.1, the address of the test server, is the public internet."""
    if address != "127.0.0.1":
        raise ForbiddenAddressError("not public")


def fetch_untrusted(url: str) -> bytes:
    with HttpFetcher(timeout=5, max_bytes=100_000, retries=0, check=first_only) as fetcher:
        return fetcher.fetch(url)


def test_a_redirect_is_checked_again(server: Server, public_names: list[str]) -> None:
    server.routes["/x"] = answer(b"", 302, Location=f"http://private.test:{server.port}/secret")
    server.routes["/secret"] = answer()
    with pytest.raises(ForbiddenAddressError):
        fetch_untrusted(f"http://public.test:{server.port}/x")
    assert [path for path, _ in server.seen] == ["/x"]


def test_a_name_that_changes_its_answer_is_checked_at_each_connection(
    server: Server, public_names: list[str]
) -> None:
    server.routes["/x"] = answer(b"", 302, Location="/y", Connection="close")
    server.routes["/y"] = answer()
    with pytest.raises(ForbiddenAddressError):
        fetch_untrusted(f"http://rebinding.test:{server.port}/x")
    assert [path for path, _ in server.seen] == ["/x"]
    assert public_names == ["rebinding.test", "rebinding.test"]


def test_a_name_is_looked_up_once_for_check_and_connection(server: Server, public_names: list[str]) -> None:
    server.routes["/x"] = answer()
    assert fetch_untrusted(f"http://rebinding.test:{server.port}/x") == IMAGE
    assert public_names == ["rebinding.test"]


def test_redirects_of_untrusted_urls_are_counted(server: Server, public_names: list[str]) -> None:
    server.routes["/x"] = answer(b"", 302, Location="/x")
    with pytest.raises(FetchError, match="redirects"):
        fetch_untrusted(f"http://public.test:{server.port}/x")
    assert len(server.seen) == MAX_REDIRECTS + 1


@pytest.mark.parametrize("where", ["address", "redirect"])
def test_no_login_is_sent_for_untrusted_urls(server: Server, public_names: list[str], where: str) -> None:
    with_login = f"http://me:secret@public.test:{server.port}/y"
    server.routes["/x"] = answer(b"", 302, Location=with_login)
    server.routes["/y"] = answer()
    with pytest.raises(ForbiddenAddressError, match="login") as caught:
        fetch_untrusted(with_login if where == "address" else f"http://public.test:{server.port}/x")
    assert "secret" not in caught.value.message
    assert "/y" not in [path for path, _ in server.seen]


@pytest.mark.parametrize(
    "text", ["/x\r\nX-Injected: 1", "/x\nHost: evil", "/\x00x", "/x y\r\n\r\nGET /secret HTTP/1.1"]
)
def test_nothing_can_be_put_into_the_request(server: Server, public_names: list[str], text: str) -> None:
    server.routes["/x"] = answer()
    with contextlib.suppress(FetchError):
        fetch_untrusted(f"http://public.test:{server.port}{text}")
    assert "/secret" not in [path for path, _ in server.seen]
    assert all("x-injected" not in headers for _, headers in server.seen)
    assert all(headers["host"] == f"public.test:{server.port}" for _, headers in server.seen)
