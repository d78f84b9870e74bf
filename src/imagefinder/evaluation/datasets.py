"""Pictures with known answers: a folder with a ``manifest.json``, folders as groups, or edits made on the fly."""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from random import Random

from imagefinder.core.errors import InputError, SourceError
from imagefinder.core.features import Decoded, RgbImage
from imagefinder.evaluation.edits import EDITS, edited
from imagefinder.indexing.discover import discover
from imagefinder.indexing.source_item import SourceItem, local_path

HELD_OUT_EVERY = 5
"""Of pictures without labels every fifth is held out of the gallery: nothing there is what its edits show."""


@dataclass(frozen=True, slots=True)
class Query:
    """A picture to ask with and what it should find.

    Attributes:
        path: Of the picture.
        positives: Ids that are right; none at all means that nothing in the gallery matches.
        ignore: Ids that are neither right nor wrong; they are taken out of a ranking before it is judged.
        edits: What was done to a picture of the gallery, or to one held out, to make this; empty if unknown.
    """

    path: Path
    positives: frozenset[str]
    ignore: frozenset[str] = frozenset()
    edits: tuple[str, ...] = ()


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

    The file is one JSON object: ``images`` (paths), ``queries`` (objects with ``query``, ``positives`` and, if
    they like, ``ignore`` and ``edits``) and, if it likes, ``name``.

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
                Query(
                    folder / q["query"],
                    frozenset(_texts(q["positives"])),
                    frozenset(_texts(q.get("ignore", []))),
                    tuple(_texts(q.get("edits", []))),
                )
                for q in data["queries"]
            ),
        )
    except OSError as error:
        raise SourceError(f"cannot read {file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f"{file} is no manifest: {error!r}", hint="see docs/guides/measuring-accuracy.md"
        ) from error
    known = set(dataset.images)
    for query in dataset.queries:
        if missing := query.positives - known:
            raise SourceError(
                f"{file}: query {query.path.name} names {sorted(missing)[0]!r}, not among the images"
            )
    return dataset


def _texts(value: object) -> list[str]:
    # One text would otherwise be taken for the list of its letters.
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{value!r} is no list of texts")
    return value


def groups_from_folders(root: Path) -> Dataset:
    """Each folder below ``root`` is a group: what its pictures show is the same, by the user's own judgement.

    Every picture in such a folder is asked with; right are the others of its folder. One that is alone in its
    folder has no right answer. Pictures that lie in ``root`` itself are in the gallery only.

    Raises:
        SourceError: the folder cannot be read, or no folder in it holds two pictures.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    images = _pictures(root)
    for image_id in images:
        groups[str(PurePosixPath(image_id).parent)].append(image_id)
    groups.pop(".", None)
    if not any(len(group) > 1 for group in groups.values()):
        raise SourceError(
            f"no folder in {root} holds two pictures, so there are no right answers",
            hint="without --groups, edits of the pictures are asked for",
        )
    queries = [
        Query(root / image_id, frozenset(group) - {image_id}, frozenset({image_id}))
        for group in groups.values()
        for image_id in group
    ]
    return Dataset(root.resolve().name, root, images, tuple(queries))


def edits_of_pictures(
    root: Path,
    into: Path,
    decode: Callable[[bytes], Decoded],
    *,
    queries: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Pictures without labels: edits of them are asked with, and right is the picture that was edited.

    Every fifth picture is held out of the gallery and edited like the others, so that there are queries without a
    right answer. Files with the same bytes are one picture. Collages are filled up with pictures held out.

    Args:
        root: The folder.
        into: Folder that the edited pictures are written into.
        decode: Encoded bytes to pixels; raises ``ImageError``.
        queries: How many at most; each picture is edited in as many ways as that takes.
        seed: The same one gives the same pictures held out, the same edits, and the same bytes.
        progress: Called with (done, total).

    Raises:
        SourceError: the folder cannot be read, or has fewer than two pictures that differ.
    """
    random = Random(seed)
    pictures = _by_content(root, _pictures(root))
    if len(pictures) < 2:
        raise SourceError(f"{root} has {len(pictures)} different pictures; it takes at least two")
    random.shuffle(pictures)
    held_out = pictures[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    outside = frozenset(held_out)
    gallery = sorted(image_id for ids in pictures if ids not in outside for image_id in ids)
    total = min(queries, len(pictures) * len(EDITS))
    made = []
    for number in range(total):
        ids = pictures[number % len(pictures)]
        edit = EDITS[(number % len(pictures) + number // len(pictures)) % len(EDITS)]
        others = [other for other in held_out if other != ids]
        wanted = [ids, *random.sample(others, min(len(others), edit.pictures - 1))]
        path = into / f"{number:04} {edit.name} of {PurePosixPath(ids[0]).stem[:60]}.jpg"
        if made_of := _decoded([root / copies[0] for copies in wanted], decode):
            path.write_bytes(edited(edit, made_of, random))
            made.append(Query(path, frozenset(() if ids in outside else ids), edits=(edit.name,)))
        if progress:
            progress(number + 1, total)
    return Dataset(root.resolve().name, root, tuple(gallery), tuple(made))


def limited(dataset: Dataset, queries: int, seed: int = 0) -> Dataset:
    """At most so many of its queries, drawn at random by the seed, in the order they had."""
    if len(dataset.queries) <= queries:
        return dataset
    chosen = sorted(Random(seed).sample(range(len(dataset.queries)), queries))
    return replace(dataset, queries=tuple(dataset.queries[number] for number in chosen))


def without(dataset: Dataset, ids: Collection[str]) -> Dataset:
    """The dataset less some of its images; queries that are one of them, or lose all right answers, go too."""
    gone, paths = frozenset(ids), {dataset.root / image_id for image_id in ids}
    kept = [query for query in dataset.queries if query.path not in paths]
    return replace(
        dataset,
        images=tuple(image_id for image_id in dataset.images if image_id not in gone),
        queries=tuple(
            replace(query, positives=query.positives - gone)
            for query in kept
            if not query.positives or query.positives - gone
        ),
    )


def _pictures(root: Path) -> tuple[str, ...]:
    """Ids of the pictures below a folder, as indexing gives them; names that are no text are passed over."""
    if not root.is_dir():
        raise SourceError(f"there is no folder {root}")
    found = [item for item in discover([root]) if isinstance(item, SourceItem)]
    prefix = os.path.abspath(root)  # noqa: PTH100 - as indexing does
    return tuple(c.id for c in found if local_path(c.uri) == os.path.join(prefix, c.id))  # noqa: PTH118 - likewise


def _by_content(root: Path, ids: Sequence[str]) -> list[tuple[str, ...]]:
    """The ids of files with the same bytes together. Only files of equal size are read."""
    sizes: Mapping[int, list[str]] = defaultdict(list)
    for image_id in ids:
        sizes[(root / image_id).stat().st_size].append(image_id)
    groups: dict[str, list[str]] = defaultdict(list)
    for of_one_size in sizes.values():
        for image_id in of_one_size:
            data = (root / image_id).read_bytes() if len(of_one_size) > 1 else image_id.encode()
            groups[hashlib.sha256(data).hexdigest()].append(image_id)
    return sorted(tuple(group) for group in groups.values())


def _decoded(paths: Sequence[Path], decode: Callable[[bytes], Decoded]) -> list[RgbImage]:
    """Those that can be used; none if the first cannot."""
    pictures: list[RgbImage] = []
    for path in paths:
        try:
            pictures.append(decode(path.read_bytes()).rgb)
        except (InputError, OSError):
            if not pictures:
                break
    return pictures
