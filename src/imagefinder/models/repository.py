"""Read what a repository of the model hub says about itself: its files, its commit and its licence."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from imagefinder.core.errors import ModelError
from imagefinder.models import download, hub_environment
from imagefinder.models.catalogue import HubFile

_MAX_LISTING = 8 << 20  # bytes
_MAX_TEXT = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit.

    Attributes:
        name: ``owner/name``.
        commit: 40 hexadecimal digits.
        files: Paths of its files.
        licence: Licence that the hub states; empty if it states none.
    """

    name: str
    commit: str
    files: tuple[str, ...]
    licence: str


def look_up(name: str, revision: str = "main") -> Repository:
    """The repository at the present commit of a branch, a tag or a commit.

    Raises:
        HubUnreachableError: no connection, offline mode, or a temporary hub error.
        ModelError: the hub denies access, does not have the repository, or is not a model hub.
    """
    url = f"{hub_environment.endpoint()}/api/models/{name}/revision/{quote(revision, safe='')}"
    text = _get(url, HubFile(name, revision, "its list of files"), _MAX_LISTING)
    try:
        content = json.loads(text)
        commit, licence = content["sha"], (content.get("cardData") or {}).get("license") or ""
        files = tuple(str(one["rfilename"]) for one in content["siblings"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _not_a_hub(name) from error
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise _not_a_hub(name)
    return Repository(name, commit, files, licence if isinstance(licence, str) else "")


def read_text(repository: Repository, file: str) -> str:
    """A small text file of a repository.

    Raises:
        HubUnreachableError, ModelError: as for ``look_up``, or the file is larger than 1 MiB.
    """
    source = HubFile(repository.name, repository.commit, file)
    return _get(download.address(source), source, _MAX_TEXT).decode("utf-8", "replace")


def _get(url: str, source: HubFile, most: int) -> bytes:
    with (
        download.translated_errors(source.repository, source),
        download.hub_client(hub_environment.metadata_timeout()) as client,
        client.stream("GET", url, follow_redirects=True) as response,
    ):
        response.raise_for_status()
        parts, size = list[bytes](), 0
        for chunk in response.iter_raw():
            parts.append(chunk)
            size += len(chunk)
            if size > most:
                raise ModelError(f"{source.filename} of {source.repository} has more than {most:,} bytes")
    return b"".join(parts)


def _not_a_hub(name: str) -> ModelError:
    return ModelError(
        f"{hub_environment.endpoint()} does not respond like a model hub about {name}",
        hint="check HF_ENDPOINT, and that no proxy or login page intercepts the connection",
    )


Texts = Mapping[str, str]
"""Name of a small file -> its content."""


def licence_of_card(card: str) -> str:
    """The licence in the front matter of a model card; empty if it names none."""
    front = re.match(r"\s*---\s*\n(.*?)\n---", card, re.DOTALL)
    found = re.search(r"^license:\s*['\"]?([\w.+-]+)['\"]?\s*$", front[1], re.MULTILINE) if front else None
    return found[1] if found else ""


def as_json(texts: Texts, name: str) -> dict[str, Any] | None:
    """A published JSON file; ``None`` if it was not published.

    Raises:
        ModelError: it is not a JSON object.
    """
    if name not in texts:
        return None
    try:
        content = json.loads(texts[name])
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{name} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{name} is not a JSON object")
    return content
