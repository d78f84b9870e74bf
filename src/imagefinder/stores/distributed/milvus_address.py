"""Locations of Milvus servers: ``milvus://HOST[:PORT][/DATABASE][?tls=true&token_file=FILE&timeout=SECONDS]``.

User and password come from the variable ``MILVUS_TOKEN`` (``user:password``) or a file, never from the location.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from imagefinder.core.errors import SettingsError
from imagefinder.core.location import shown
from imagefinder.stores.distributed.url_parameters import parameters, timeout

_SECONDS = 10.0
_URL = re.compile(
    r"milvus://(?P<host>\[[0-9A-Fa-f:.]+\]|[^/?#@:\s]+)(?::(?P<port>[0-9]{1,5}))?(?:/(?P<database>[A-Za-z0-9_]*))?"
    r"(?:\?(?P<query>[^#]*))?"
)
_PARAMETERS = {"certificate", "timeout", "tls", "token_file"}


@dataclass(frozen=True, slots=True)
class MilvusAddress:
    """The location of a Milvus server, taken apart.

    Attributes:
        host: Host and port.
        database: Name of the database; empty: the default one.
        tls: Whether to connect with TLS.
        certificate: File with the certificate (PEM) that signs that of the server; ``None``: those of the system.
        token_file: File with ``user:password`` or an API key; ``None``: the variable ``MILVUS_TOKEN``.
        seconds: Time limit of one call.
    """

    host: str
    database: str = ""
    tls: bool = False
    certificate: Path | None = None
    token_file: Path | None = None
    seconds: float = _SECONDS

    @classmethod
    def of(cls, location: str) -> MilvusAddress:
        """The parts of a location.

        Raises:
            SettingsError: it is malformed, or contains a password; the message does not repeat the location.
        """
        found = _URL.fullmatch(location)
        if found is None:
            raise SettingsError(
                f"vectors: {shown(location)} does not name a Milvus server",
                hint="write milvus://HOST:19530/DATABASE; user and password belong into the environment "
                "(MILVUS_TOKEN) or a file (?token_file=FILE)",
            )
        given = parameters("vectors", location, found["query"], _PARAMETERS)
        if given.get("tls", "false") not in ("true", "false"):
            raise SettingsError(f"vectors: the parameter tls of {shown(location)} must be true or false")
        certificate = Path(given["certificate"]) if given.get("certificate") else None
        return cls(
            f"{found['host']}:{found['port'] or 19530}",
            found["database"] or "",
            given.get("tls") == "true" or certificate is not None,
            certificate,
            Path(given["token_file"]) if given.get("token_file") else None,
            timeout("vectors", location, given.get("timeout", ""), _SECONDS),
        )

    @property
    def place(self) -> str:
        """Host and database as a URL."""
        return f"milvus://{self.host}{f'/{self.database}' if self.database else ''}"

    def token(self) -> str:
        """User and password, or an API key; empty if there are none.

        Raises:
            SettingsError: the file cannot be read.
        """
        if self.token_file is None:
            return os.environ.get("MILVUS_TOKEN", "")
        try:
            return self.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise SettingsError(f"vectors: cannot read the file {self.token_file}: {reason}") from error
