import threading
import time
import traceback

import pytest
from scripted_server import Answer, ScriptedServer

from imagefinder.core.errors import ObjectsUnavailableError, SettingsError, StoreError
from imagefinder.stores.distributed import objects
from imagefinder.stores.distributed.objects import BucketAddress, BucketObjects

SECRET = "a-secret-that-nobody-may-see"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def serve():
    servers = []

    def start(script, timeout=0.9):
        server = ScriptedServer(script)
        servers.append(server)
        address = BucketAddress.of(f"s3://bucket/p?endpoint={server.endpoint}&region=x&timeout={timeout}")
        return server, BucketObjects(address)

    yield start
    for server in servers:
        server.close()


def error_xml(code):
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()


# the location


def test_a_location_is_taken_apart():
    address = BucketAddress.of(
        "s3://my-bucket/a/b%20c/?endpoint=http%3A%2F%2F127.0.0.1:9000/&region=eu-1&timeout=2.5&certificate=/ca.pem"
    )
    assert (address.bucket, address.prefix, address.endpoint) == ("my-bucket", "a/b c", "http://127.0.0.1:9000")
    assert (address.region, address.seconds, str(address.certificate)) == ("eu-1", 2.5, "/ca.pem")
    assert address.place == "s3://my-bucket/a/b c"
    assert BucketAddress.of("s3://my-bucket").place == "s3://my-bucket"


@pytest.mark.parametrize(
    "location",
    [
        f"s3://AKEY:{SECRET}@bucket/p",
        f"s3://bucket/p?secret_access_key={SECRET}",
        f"s3://bucket/p?endpoint=http://AKEY:{SECRET}@host",
        f"s3://bucket#{SECRET}",
        "s3://",
        "s3://x",
        "s3://Bucket",
        "s3://bucket?endpoint=host:80",
        "s3://bucket?timeout=soon",
        "s3://bucket?timeout=0",
        "s3://bucket?timeout=inf",
        "s3://bucket?timeout=nan",
        "https://bucket",
    ],
)
def test_malformed_locations_are_refused_without_repeating_secrets(location):
    with pytest.raises(SettingsError) as caught:
        BucketAddress.of(location)
    assert caught.value.message.startswith("objects: ")
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + caught.value.hint


# failures


def test_a_server_that_answers_503_for_a_while_is_asked_again(serve):
    answers = iter([Answer(503, error_xml("SlowDown")), Answer(500, error_xml("InternalError"))])
    server, blobs = serve(lambda *_: next(answers, Answer(body=b"1")), timeout=5)
    assert blobs.get_many(["a"]) == {"a": b"1"}
    assert len(server.requests) == 3


@pytest.mark.parametrize("call", ["get", "put", "delete", "list"])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(503, error_xml("SlowDown")), r"the server answers 503 \(SlowDown\)"),
        (Answer(500, b"no XML"), "the server answers 500"),
        (Answer(wait=30), "no answer in time"),
    ],
    ids=["503", "500", "hangs"],
)
def test_a_server_that_fails_is_an_error_in_time(serve, call, answer, reason):
    _, blobs = serve(lambda *_: answer)
    calls = {
        "get": lambda: blobs.get_many([f"a/{number}" for number in range(100)]),
        "put": lambda: blobs.put_new({f"a/{number}": b"1" for number in range(100)}),
        "delete": lambda: blobs.delete(["a"]),
        "list": lambda: list(blobs.names()),
    }
    started = time.monotonic()
    with pytest.raises(ObjectsUnavailableError, match=reason) as caught:
        calls[call]()
    assert time.monotonic() - started < 2.5, "much longer than the timeout of 0.9 s"
    assert caught.value.code == "objects_unavailable"
    assert caught.value.retryable
    assert "s3://bucket/p" in caught.value.message
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_body_that_stands_still_is_an_error_in_time(serve):
    _, blobs = serve(lambda *_: Answer(body=b"x" * 100, drip=0.2))
    started = time.monotonic()
    with pytest.raises(ObjectsUnavailableError):
        blobs.get_many(["a"])
    assert time.monotonic() - started < 2.5


def test_a_body_that_ends_early_is_an_error_and_no_short_object(serve):
    _, blobs = serve(lambda *_: Answer(body=b"x" * 100, length=200))
    with pytest.raises(ObjectsUnavailableError):
        blobs.get_many(["a"])


def test_a_server_that_is_not_there_is_an_error_in_time(serve):
    server, blobs = serve(lambda *_: Answer())
    server.close()
    started = time.monotonic()
    with pytest.raises(ObjectsUnavailableError, match="the server cannot be reached"):
        blobs.get_many(["a"])
    assert time.monotonic() - started < 2.5


def test_a_refused_key_is_an_error_that_names_no_secret(serve):
    server, blobs = serve(lambda *_: Answer(403, error_xml("SignatureDoesNotMatch")))
    with pytest.raises(StoreError, match=r"access is refused \(SignatureDoesNotMatch\)") as caught:
        blobs.get_many(["a"])
    assert not caught.value.retryable
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert len(server.requests) == 1


def test_a_bucket_that_does_not_exist_is_no_missing_object(serve):
    _, blobs = serve(lambda *_: Answer(404, error_xml("NoSuchBucket")))
    for call in (lambda: blobs.get_many(["a"]), lambda: blobs.put_new({"a": b""}), lambda: list(blobs.names())):
        with pytest.raises(StoreError, match="no such bucket"):
            call()


def test_an_object_that_was_stored_though_the_answer_was_lost(serve):
    """The first request stores the object and is answered with an error, so the second one finds it."""
    stored = {}

    def script(method, path, body):
        if method == "GET":
            return Answer(body=stored[path])
        if path in stored:
            return Answer(412, error_xml("PreconditionFailed"))
        stored[path] = body
        return Answer(503, error_xml("SlowDown"))

    server, blobs = serve(script, timeout=5)
    blobs.put_new({"a": b"1"})
    assert [method for method, _ in server.requests] == ["PUT", "PUT", "GET"]


def test_a_huge_object_is_left_out_and_not_read(serve):
    _, blobs = serve(lambda *_: Answer(body=b"x", length=1 << 40))
    assert blobs.get_many(["a"]) == {}


def test_a_huge_object_is_not_stored(serve, monkeypatch):
    monkeypatch.setattr(objects, "MOST_BLOB_BYTES", 10)
    server, blobs = serve(lambda *_: Answer())
    with pytest.raises(StoreError, match="11 bytes"):
        blobs.put_new({"a": b"x" * 11})
    assert not server.requests


def test_after_a_failure_no_further_request_begins(serve):
    server, blobs = serve(lambda *_: Answer(403, error_xml("AccessDenied")))
    with pytest.raises(StoreError):
        blobs.get_many([str(number) for number in range(1000)])
    assert len(server.requests) < 200


def test_few_requests_run_at_the_same_time(serve):
    running, most, lock = [0], [0], threading.Lock()

    def script(*_):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1
        return Answer(body=b"1")

    _, blobs = serve(script, timeout=9)
    assert len(blobs.get_many([str(number) for number in range(200)])) == 200
    assert 1 < most[0] <= 32


def test_a_slow_bucket_is_asked_for_many_objects_at_the_same_time(serve):
    _, blobs = serve(lambda *_: Answer(body=b"1", wait=0.3), timeout=9)
    started = time.monotonic()
    assert len(blobs.get_many([str(number) for number in range(64)])) == 64
    assert time.monotonic() - started < 5, "one after the other, they take 19 s"


def test_the_bytes_in_flight_are_limited():
    limit = objects._ByteLimit(100)
    inside, most, lock = [0], [0], threading.Lock()

    def transfer(size):
        with limit.taken(size):
            with lock:
                inside[0] += size
                most[0] = max(most[0], inside[0])
            time.sleep(0.002)
            with lock:
                inside[0] -= size

    threads = [threading.Thread(target=transfer, args=(size,)) for size in (30, 60, 100, 1, 99, 50, 50, 7) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert 50 < most[0] <= 100
    with limit.taken(1000):  # larger than the limit: alone
        pass


# access keys


def test_a_key_from_a_file(serve, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "credentials"
    file.write_text(f"[other]\naws_access_key_id = FILEKEY\naws_secret_access_key = {SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "other")
    _, blobs = serve(lambda *_: Answer(body=b"1"))
    assert blobs.get_many(["a"]) == {"a": b"1"}
    assert SECRET not in repr(blobs._store)


@pytest.mark.parametrize(
    "text", [f"{SECRET}\n", f"[default]\naws_secret_access_key={SECRET}\n", f"[default]\n{SECRET}\nx"]
)
def test_a_malformed_file_is_an_error_that_repeats_none_of_it(serve, tmp_path, monkeypatch, text):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    file = tmp_path / "credentials"
    file.write_text(text)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    with pytest.raises(SettingsError, match="credentials file") as caught:
        BucketObjects(BucketAddress.of("s3://bucket"))
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_missing_file_is_an_error(tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="none: No such file"):
        BucketObjects(BucketAddress.of("s3://bucket"))
    with pytest.raises(SettingsError, match="certificate"):
        BucketObjects(BucketAddress.of(f"s3://bucket?certificate={tmp_path}/none"))


def test_the_endpoint_may_come_from_the_environment(serve, monkeypatch):
    server, _ = serve(lambda *_: Answer(body=b"1"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    assert BucketObjects(BucketAddress.of("s3://bucket/p?timeout=1")).get_many(["a"]) == {"a": b"1"}
    assert server.requests == [("GET", "/bucket/p/a")]


def test_half_a_key_is_an_error(monkeypatch):
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SettingsError, match="half of the access key is missing"):
        BucketObjects(BucketAddress.of("s3://bucket"))


def test_a_certificate_that_is_none_is_an_error(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(SettingsError, match="cannot be used"):
        BucketObjects(BucketAddress.of(f"s3://bucket?endpoint=https://127.0.0.1:9&certificate={tmp_path}/ca.pem"))
