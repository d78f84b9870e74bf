import sys

import pytest

from imagefinder.core.errors import SettingsError
from imagefinder.core.settings import Settings
from imagefinder.stores.distributed import opening
from imagefinder.stores.distributed.vectors import PgVectors


def test_object_stores_by_location(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bucket = opening.open_objects("s3://bucket/prefix?endpoint=http://127.0.0.1:9")
    assert bucket.location == "s3://bucket/prefix"
    assert opening.open_objects("s3://bucket/prefix?endpoint=http://127.0.0.1:9") is bucket
    assert opening.open_objects(tmp_path.as_uri()).location == tmp_path.as_uri()
    for wrong in ("", "column", "/folder", "gs://bucket"):
        with pytest.raises(SettingsError, match="is not an object store"):
            opening.open_objects(wrong)


def test_what_searches_vectors_by_its_location():
    assert opening.vectors_of(Settings()) is PgVectors
    with pytest.raises(SettingsError, match="does not name a Milvus server"):
        opening.vectors_of(Settings(vectors="milvus://user:secret@host"))
    with pytest.raises(SettingsError, match="does not name a Milvus server"):
        opening.vectors_of(Settings(vectors="pgvector"))


def test_a_missing_client_of_milvus_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    monkeypatch.delitem(sys.modules, "imagefinder.stores.distributed.milvus", raising=False)
    monkeypatch.delitem(sys.modules, "imagefinder.stores.distributed.milvus_vectors", raising=False)
    with pytest.raises(SettingsError, match="pymilvus") as caught:
        opening.vectors_of(Settings(vectors="milvus://host"))
    assert "[cluster,milvus]" in caught.value.hint
