"""Tests for the contract of stores; subclass ``StoreSuite`` in your own tests.

::

    class TestMyStore(StoreSuite):
        @pytest.fixture
        def make_store(self):
            return lambda location: MyStore(location)
"""

from imagefinder.testing.stores.samples import (
    METHODS,
    ODD_IDS,
    MakeStore,
    content,
    entry,
    features,
    fingerprint,
    register,
    scanned,
)
from imagefinder.testing.stores.suite import StoreSuite

__all__ = [
    "METHODS",
    "ODD_IDS",
    "MakeStore",
    "StoreSuite",
    "content",
    "entry",
    "features",
    "fingerprint",
    "register",
    "scanned",
]
