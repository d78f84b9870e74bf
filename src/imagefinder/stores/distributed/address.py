"""Locations of collections in PostgreSQL: ``postgresql://[user@]host[:port][,host...]/DATABASE/COLLECTION``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from imagefinder.core.errors import SettingsError
from imagefinder.core.location import shown

SCHEME = "postgresql"
COLLECTION_NAME = r"[a-z0-9][a-z0-9_-]{0,62}"
"""Names of collections in a database: those of the collections of a server."""

_URL = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^/?#@:]*)(?::(?P<password>[^/?#@]*))?@)?(?P<hosts>[^/?#@]*)"
    r"(?:/(?P<path>[^?#]*))?(?:\?(?P<parameters>[^#]*))?",
    re.IGNORECASE,
)
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.%]+\]|[^\[\]:]*)(?::(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Address:
    """The location of a database, or of a collection in it.

    Attributes:
        parameters: Connection parameters of libpq, sorted; what is not among them comes from its environment
            (``PGUSER``, ``PGPASSWORD``, ``PGPASSFILE``, ...).
        collection: Name of the collection; empty for the database itself.
        shown: The location without user, password and parameters, for messages.
    """

    parameters: tuple[tuple[str, str], ...] = field(repr=False)
    collection: str
    shown: str

    @property
    def database(self) -> Address:
        """The database of a collection."""
        return Address(self.parameters, "", self.shown.removesuffix(f"/{self.collection}"))

    @classmethod
    def of_collection(cls, location: str) -> Address:
        """The parts of the location of a collection.

        Raises:
            SettingsError: it is not of this form; the message does not repeat the location.
        """
        database, _, collection = (_path(location) or "").partition("/")
        if not database or not re.fullmatch(COLLECTION_NAME, collection):
            raise _malformed(
                f"{shown(location)} does not name a collection in a database",
                "append /DATABASE/COLLECTION, for example postgresql://db.example/imagefinder/shop; the name of a "
                "collection has 1 to 63 lower-case letters, digits, - and _",
            )
        return _address(location, database, collection)

    @classmethod
    def of_database(cls, location: str) -> Address:
        """The parts of the location of a database: ``postgresql://host/DATABASE``.

        Raises:
            SettingsError: it is not of this form.
        """
        database = (_path(location) or "").rstrip("/")
        if not database or "/" in database:
            raise _malformed(
                f"{shown(location)} does not name a database",
                "append /DATABASE, for example postgresql://db.example/imagefinder",
            )
        return _address(location, database, "")

    def of(self, collection: str) -> Address:
        """The address of a collection in this database."""
        return Address(self.parameters, collection, f"{self.database.shown}/{collection}")


def _path(location: str) -> str | None:
    found = _URL.fullmatch(location)
    return None if found is None else found["path"]


def _address(location: str, database: str, collection: str) -> Address:
    found = _URL.fullmatch(location)
    if found is None:  # pragma: no cover - the path of such a location is empty, which is refused before
        raise _malformed("the location is not a URL of PostgreSQL", "")
    hosts, ports = [], []
    for part in filter(None, found["hosts"].split(",")):
        host = _HOST.fullmatch(part)
        if host is None:
            raise _malformed(
                f"{shown(location)} has no valid host", "write host or host:port, separated by commas"
            )
        hosts.append(unquote(host["name"]).strip("[]"))
        ports.append(host["port"] or "")
    values = {
        "user": unquote(found["user"] or ""),
        "password": unquote(found["password"] or ""),
        "host": ",".join(hosts),
        "port": ",".join(ports) if any(ports) else "",
        "dbname": unquote(database),
    }
    values |= dict(parse_qsl(found["parameters"] or "", keep_blank_values=True))
    plain = f"{SCHEME}://{found['hosts']}/{database}{f'/{collection}' if collection else ''}"
    return Address(tuple(sorted((name, value) for name, value in values.items() if value)), collection, plain)


def _malformed(message: str, hint: str) -> SettingsError:
    return SettingsError(message, hint=hint)
