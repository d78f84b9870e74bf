"""The stored parts of a server by its settings: folders of one machine, or a database that all servers share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from imagefinder.core.errors import SettingsError
from imagefinder.core.location import child, scheme_of, shown
from imagefinder.core.service_contracts import Catalogue, Jobs, Keys
from imagefinder.core.settings import Settings
from imagefinder.server.catalogue.folders import FolderCatalogue
from imagefinder.server.jobs.folders import FolderJobs
from imagefinder.server.jobs.roots import resolve_roots
from imagefinder.server.jobs.runner import ListPath
from imagefinder.server.jobs.store import JobStore
from imagefinder.server.keys.folders import FolderKeys
from imagefinder.server.ratelimit import SharedTokens
from imagefinder.server.search_cache import SharedSearches

# ruff: noqa: PLC0415 - servers without a database do not need its driver


@dataclass(frozen=True, slots=True)
class Parts:
    """The stored parts of a server.

    Attributes:
        catalogue: The collections in addition to the default one.
        keys: API keys.
        jobs: The jobs.
        list_path: Returns the file for the lists of the jobs of a collection.
        tokens: Rate limits that servers share; ``None``: each server counts alone.
        searches: Recent searches that servers share; ``None``: each server has its own.
        close: Closes the database, after everything else.
    """

    catalogue: Catalogue
    keys: Keys
    jobs: Jobs
    list_path: ListPath
    tokens: SharedTokens | None = None
    searches: SharedSearches | None = None
    close: Callable[[], None] = lambda: None


def make_parts(settings: Settings, *, only: str | None = None) -> Parts:
    """The parts of a server or worker.

    Args:
        settings: The settings.
        only: Name of the only collection whose jobs are taken; ``None``: those of all.

    Raises:
        SettingsError: the database is of an unknown kind.
        StoreError: the database cannot be used.
    """
    if settings.database:
        return _in_database(settings, only)
    store = JobStore(settings.state, settings.collection)
    return Parts(
        FolderCatalogue(Path(settings.collections)),
        FolderKeys(settings.state),
        FolderJobs(store, settings.job_queue),
        store.list_path,
    )


def migrate_tables(settings: Settings) -> dict[str, tuple[int, int]]:
    """Create the tables in the database of the settings, or bring them to the present versions.

    Returns:
        Part -> (version before, 0 if there were no tables; present version).

    Raises:
        SettingsError: the settings name no database.
        StoreError: the database cannot be used, or a newer version of imagefinder made the tables.
    """
    from imagefinder.server.tables import SERVICE
    from imagefinder.stores.distributed.address import Address
    from imagefinder.stores.distributed.opening import options_of
    from imagefinder.stores.distributed.pool import Database
    from imagefinder.stores.distributed.schema import STORE, prepare, version_of

    address = (
        Address.of_database(settings.database)
        if settings.database
        else Address.of_collection(settings.collection).database
    )
    database = Database(address, options_of(settings))
    try:
        parts = (STORE, SERVICE) if settings.database else (STORE,)
        before = {part.name: version_of(database, part) for part in parts}
        for part in parts:
            prepare(database, part, create=True)
        return {part.name: (before[part.name], len(part.versions)) for part in parts}
    finally:
        database.close()


@contextmanager
def open_keys(settings: Settings) -> Iterator[Keys]:
    """The API keys, without the other parts.

    Raises:
        SettingsError: the database is of an unknown kind, or the folder ``state`` cannot be used.
        StoreError: the database cannot be used.
    """
    if not settings.database:
        with FolderKeys(settings.folder("state")) as keys:
            yield keys
        return
    parts = _in_database(settings, None)
    try:
        yield parts.keys
    finally:
        parts.close()


def check_shared(settings: Settings) -> None:
    """Check that all servers with these settings have the same default collection, and that jobs are done.

    Raises:
        SettingsError: the collections are in a database, and the default one is not; or no process does the jobs.
    """
    if not settings.database and not settings.concurrent_jobs:
        raise SettingsError(
            "concurrent_jobs = 0 leaves the jobs to imagefinder work, which needs a database of collections",
            hint="set collections to the URL of a database, or concurrent_jobs to at least 1",
        )
    if settings.database and not scheme_of(settings.collection):
        raise SettingsError(
            f"the default collection {settings.collection} is in a folder, and the others in the database "
            f"{shown(settings.database)}",
            hint=f"leave out --collection, or name one of the database: {shown(child(settings.database, 'NAME'))}",
        )


def _in_database(settings: Settings, only: str | None) -> Parts:
    if scheme_of(settings.database) not in ("postgresql", "postgres"):
        raise SettingsError(
            f"collections: unknown kind of database: {scheme_of(settings.database)}://...",
            hint="name a folder, or a database of PostgreSQL: postgresql://HOST/DATABASE",
        )
    try:
        from imagefinder.server.catalogue.postgres import PostgresCatalogue
        from imagefinder.server.jobs.postgres import PostgresJobs
        from imagefinder.server.keys.postgres import PostgresKeys
        from imagefinder.server.postgres_searches import PostgresSearches
        from imagefinder.server.postgres_tokens import PostgresTokens
        from imagefinder.server.tables import SERVICE
        from imagefinder.stores.distributed.address import Address
        from imagefinder.stores.distributed.opening import options_of
        from imagefinder.stores.distributed.pool import Database
        from imagefinder.stores.distributed.schema import prepare
    except ImportError as error:
        raise SettingsError(
            f"collections in PostgreSQL need a package that is not installed: {error.name}",
            hint="pip install 'imagefinder[cluster]'",
        ) from error
    database = Database(Address.of_database(settings.database), options_of(settings))
    try:
        prepare(database, SERVICE, create=True)
    except BaseException:
        database.close()
        raise
    roots = resolve_roots(settings.job_roots)
    return Parts(
        PostgresCatalogue(database, settings.database),
        PostgresKeys(database),
        PostgresJobs(
            database,
            max_queued=settings.job_queue,
            roots=roots,
            collection=only,
            lease_seconds=settings.lease_seconds,
        ),
        lambda _collection: Path(tempfile.gettempdir()),  # lists are in the database
        PostgresTokens(database),
        PostgresSearches(database, settings.explanation_queries),
        database.close,
    )
