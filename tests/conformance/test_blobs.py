import pytest

from imagefinder.stores.distributed.folder_objects import FolderObjects
from imagefinder.testing.blobs import BlobsSuite


class TestFolder(BlobsSuite):
    @pytest.fixture
    def make_blobs(self, tmp_path):
        return lambda: FolderObjects(tmp_path)
