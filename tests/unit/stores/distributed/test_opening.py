import pytest

from imagefinder.core.errors import SettingsError
from imagefinder.stores.distributed import opening


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
