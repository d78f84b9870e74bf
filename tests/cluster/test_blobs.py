import secrets

import pytest

from imagefinder.stores.distributed.objects import BucketAddress, BucketObjects
from imagefinder.testing.blobs import BlobsSuite


class TestBucket(BlobsSuite):
    @pytest.fixture
    def make_blobs(self, seaweed):
        address = BucketAddress.of(seaweed.url("images", secrets.token_hex(8)))
        return lambda: BucketObjects(address)
