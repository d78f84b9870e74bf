"""The kept parts of a server by its settings: where collections, keys and jobs are."""

from __future__ import annotations

from imagefinder.core.service_contracts import Catalogue, Jobs, Keys
from imagefinder.core.settings import Settings
from imagefinder.server.catalogue.folders import FolderCatalogue
from imagefinder.server.jobs.folders import FolderJobs
from imagefinder.server.jobs.runner import ListPath
from imagefinder.server.jobs.store import JobStore
from imagefinder.server.keys.folders import FolderKeys


def make_catalogue(settings: Settings) -> Catalogue:
    """The collections in addition to the default one."""
    return FolderCatalogue(settings.collections)


def make_keys(settings: Settings) -> Keys:
    """The API keys."""
    return FolderKeys(settings.folder("state"))


def make_jobs(settings: Settings) -> tuple[Jobs, ListPath]:
    """The jobs, and the function that returns the file for the lists of the jobs of a collection."""
    store = JobStore(settings.state, settings.collection)
    return FolderJobs(store, settings.job_queue), store.list_path
