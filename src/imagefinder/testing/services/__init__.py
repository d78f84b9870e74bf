"""Tests for the contracts of what servers keep: the names of collections, API keys and jobs."""

from imagefinder.testing.services.catalogue import CatalogueSuite
from imagefinder.testing.services.jobs import JobsSuite
from imagefinder.testing.services.keys import KeysSuite
from imagefinder.testing.services.portions import PortionedJobsSuite

__all__ = ["CatalogueSuite", "JobsSuite", "KeysSuite", "PortionedJobsSuite"]
