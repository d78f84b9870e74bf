"""Reading of what is stored in addition to images and features."""

from __future__ import annotations

from imagefinder.stores.embedded.file_metadata_rows import FileMetadataLookups
from imagefinder.stores.embedded.kept_rows import KeptLookups
from imagefinder.stores.embedded.listing_rows import ListingLookups
from imagefinder.stores.embedded.thumbnail_rows import ThumbnailLookups


class Lookups(ListingLookups, ThumbnailLookups, FileMetadataLookups, KeptLookups):
    """The reading methods of a store that are defined next to the tables they read."""
