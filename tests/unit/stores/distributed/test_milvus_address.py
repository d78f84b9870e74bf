from __future__ import annotations

from pathlib import Path

import pytest

from imagefinder.core.errors import SettingsError
from imagefinder.stores.distributed.milvus_address import MilvusAddress


def test_the_parts_of_a_location():
    address = MilvusAddress.of("milvus://db.example:1953/shop?tls=true&timeout=2.5&token_file=/run/token")
    assert address == MilvusAddress("db.example:1953", "shop", True, None, Path("/run/token"), 2.5)
    assert address.place == "milvus://db.example:1953/shop"


def test_what_a_location_leaves_out():
    address = MilvusAddress.of("milvus://db.example")
    assert address == MilvusAddress("db.example:19530")
    assert address.place == "milvus://db.example:19530"
    assert MilvusAddress.of("milvus://[::1]:7").host == "[::1]:7"


def test_a_certificate_implies_tls():
    assert MilvusAddress.of("milvus://db.example?certificate=/ca.pem").tls


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("milvus://user:secret@db.example", "does not name a Milvus server"),
        ("http://db.example", "does not name a Milvus server"),
        ("milvus://db.example/a/b", "does not name a Milvus server"),
        ("milvus://db.example?token=secret", "unknown parameter 'token'"),
        ("milvus://db.example?tls=yes", "must be true or false"),
        ("milvus://db.example?timeout=0", "0.3 to 3600 seconds"),
        ("milvus://db.example?timeout=nan", "0.3 to 3600 seconds"),
    ],
)
def test_malformed_locations_do_not_show_passwords(location, message):
    with pytest.raises(SettingsError, match=message) as caught:
        MilvusAddress.of(location)
    assert "secret" not in str(caught.value) + caught.value.hint


def test_the_token_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MILVUS_TOKEN", "user:of the environment")
    assert MilvusAddress("db.example").token() == "user:of the environment"
    file = tmp_path / "token"
    file.write_text("user:of the file\n")
    assert MilvusAddress("db.example", token_file=file).token() == "user:of the file"
    with pytest.raises(SettingsError, match="cannot read the file"):
        MilvusAddress("db.example", token_file=tmp_path / "missing").token()
