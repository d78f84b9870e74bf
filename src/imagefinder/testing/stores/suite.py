"""The complete store suite."""

from __future__ import annotations

from imagefinder.testing.stores.derived import DerivedSuite
from imagefinder.testing.stores.feed import FeedSuite
from imagefinder.testing.stores.file_metadata import FileMetadataSuite
from imagefinder.testing.stores.images import ImageSuite
from imagefinder.testing.stores.kept import KeptSuite
from imagefinder.testing.stores.listings import ListingSuite
from imagefinder.testing.stores.machine import compare_with_a_dictionary
from imagefinder.testing.stores.methods import MethodSuite
from imagefinder.testing.stores.removals import RemovalSuite
from imagefinder.testing.stores.samples import MakeStore
from imagefinder.testing.stores.sampling import SamplingSuite
from imagefinder.testing.stores.scans import ScanSuite
from imagefinder.testing.stores.sharing import SharingSuite
from imagefinder.testing.stores.sorted_listings import SortedListingSuite
from imagefinder.testing.stores.thumbnails import ThumbnailSuite
from imagefinder.testing.stores.transfer import TransferSuite
from imagefinder.testing.stores.upkeep import UpkeepSuite


class StoreSuite(
    ImageSuite,
    RemovalSuite,
    MethodSuite,
    ListingSuite,
    SortedListingSuite,
    FileMetadataSuite,
    SamplingSuite,
    ScanSuite,
    FeedSuite,
    DerivedSuite,
    ThumbnailSuite,
    KeptSuite,
    TransferSuite,
    UpkeepSuite,
    SharingSuite,
):
    """Provide the fixture ``make_store``; every test then runs on your store."""

    def test_behaves_like_a_dictionary(self, make_store: MakeStore) -> None:
        """Random sequences of calls have the same effect on the store as on a dictionary."""
        compare_with_a_dictionary(make_store, persistent=self.persistent)
