"""Pictures with known answers: a folder with a ``manifest.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from imagefinder.core.errors import SourceError


@dataclass(frozen=True, slots=True)
class Query:
    """A picture to ask with and what it should find.

    Attributes:
        path: Of the picture.
        positives: Ids that are right; none at all means that nothing in the gallery matches.
        ignore: Ids that are neither right nor wrong; they are taken out of a ranking before it is judged.
    """

    path: Path
    positives: frozenset[str]
    ignore: frozenset[str]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A gallery and its queries.

    Attributes:
        name: For people.
        root: The folder; an image id is a path relative to it.
        images: Ids of the gallery.
        queries: What is asked.
    """

    name: str
    root: Path
    images: tuple[str, ...]
    queries: tuple[Query, ...]


def read_manifest(folder: Path) -> Dataset:
    """Read ``folder/manifest.json``.

    The file is one JSON object: ``images`` (paths), ``queries`` (objects with ``query``, ``positives`` and
    ``ignore``) and, if it likes, ``name``.

    Raises:
        SourceError: there is no such file, or it has another form, or a positive is not among the images.
    """
    file = folder / "manifest.json"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        dataset = Dataset(
            name=str(data.get("name", folder.name)),
            root=folder,
            images=tuple(data["images"]),
            queries=tuple(
                Query(folder / q["query"], frozenset(q["positives"]), frozenset(q.get("ignore", ())))
                for q in data["queries"]
            ),
        )
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{file} is no manifest: {error!r}", hint="see docs/guides/evaluation.md") from error
    known = set(dataset.images)
    for query in dataset.queries:
        if missing := query.positives - known:
            raise SourceError(
                f"{file}: query {query.path.name} names {sorted(missing)[0]!r}, not among the images"
            )
    return dataset
