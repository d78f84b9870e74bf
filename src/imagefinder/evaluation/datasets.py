"""Labelled datasets: from a ``manifest.json``, from folders as groups, or from edited copies made on the fly."""

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
"""Without labels, every fifth image is held out of the gallery, so its edited copies have no correct answer."""


@dataclass(frozen=True, slots=True)
class LabelledQuery:
    """A query image and its correct answers.

    Attributes:
        path: File of the query image.
        positives: Ids of the correct answers; empty if nothing in the gallery matches.
        ignore: Ids that are neither correct nor wrong; they are removed from a ranking before it is evaluated.
        edits: Edits that made this query from another image; empty if unknown.
    """

    path: Path
    positives: frozenset[str]
    ignore: frozenset[str] = frozenset()
    edits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dataset:
    """A gallery and its queries.

    Attributes:
        name: Name for display.
        root: Folder of the images; image ids are paths relative to it.
        images: Ids of the gallery images.
        queries: Queries with their correct answers.
    """

    name: str
    root: Path
    images: tuple[str, ...]
    queries: tuple[LabelledQuery, ...]


def read_manifest(folder: Path) -> Dataset:
    """Read ``folder/manifest.json``.

    The file is a JSON object with ``images`` (paths), ``queries`` (objects with ``query``, ``positives`` and,
    optionally, ``ignore`` and ``edits``) and, optionally, ``name``.

    Raises:
        SourceError: the file is missing or malformed, or a positive is not among the images.
    """
    file = folder / "manifest.json"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        dataset = Dataset(
            name=str(data.get("name", folder.name)),
            root=folder,
            images=tuple(_texts(data["images"])),
            queries=tuple(
                LabelledQuery(
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
            f"{file} is not a valid manifest: {error!r}", hint="see docs/guides/measuring-accuracy.md"
        ) from error
    images = set(dataset.images)
    for query in dataset.queries:
        if missing := query.positives - images:
            raise SourceError(
                f"{file}: the positive {sorted(missing)[0]!r} of query {query.path.name} is not listed in images"
            )
    return dataset


def _texts(value: object) -> list[str]:
    # A single string would otherwise be read as a list of its characters.
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{value!r} is not a list of strings")
    return value


def groups_from_folders(root: Path) -> Dataset:
    """Make a dataset from folders: each subfolder of ``root`` is a group of images that show the same thing.

    Every image in a subfolder is a query, and the others in its subfolder are the correct answers; an image alone
    in its subfolder has none. Images directly in ``root`` are only in the gallery.

    Raises:
        SourceError: the folder cannot be read, or no subfolder contains two images.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    images = _image_ids(root)
    for image_id in images:
        groups[str(PurePosixPath(image_id).parent)].append(image_id)
    groups.pop(".", None)
    if not any(len(group) > 1 for group in groups.values()):
        raise SourceError(
            f"no subfolder of {root} contains two images, so no query would have a correct answer",
            hint="without --groups, the queries are edited copies of the images",
        )
    queries = [
        LabelledQuery(root / image_id, frozenset(group) - {image_id}, frozenset({image_id}))
        for group in groups.values()
        for image_id in group
    ]
    return Dataset(root.resolve().name, root, images, tuple(queries))


def edited_copies(
    root: Path,
    into: Path,
    decode: Callable[[bytes], Decoded],
    *,
    queries: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Make a dataset from unlabelled images: the queries are edited copies, the originals the correct answers.

    Every fifth image is held out of the gallery and edited like the others, which gives queries without a correct
    answer. Files with the same bytes count as one image. Collages are filled with held-out images.

    Args:
        root: Folder of images.
        into: Folder for the edited copies.
        decode: Decodes encoded bytes to pixels; raises ``ImageError``.
        queries: Maximum number of queries; images are edited several times as needed.
        seed: Determines the held-out images, the edits, and the bytes of the edited copies.
        progress: Called with (done, total).

    Raises:
        SourceError: the folder cannot be read, or contains fewer than two different images.
    """
    random = Random(seed)
    images = _by_content(root, _image_ids(root))
    if len(images) < 2:
        raise SourceError(f"{root} contains fewer than two different images, so accuracy cannot be measured")
    random.shuffle(images)
    held_out = images[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    outside = frozenset(held_out)
    gallery = sorted(image_id for ids in images if ids not in outside for image_id in ids)
    total = min(queries, len(images) * len(EDITS))
    made = []
    for number in range(total):
        ids = images[number % len(images)]
        edit = EDITS[(number % len(images) + number // len(images)) % len(EDITS)]
        others = [other for other in held_out if other != ids]
        used = [ids, *random.sample(others, min(len(others), edit.images - 1))]
        path = into / f"{number:04} {edit.name} of {PurePosixPath(ids[0]).stem[:60]}.jpg"
        if decoded := _decoded([root / copies[0] for copies in used], decode):
            path.write_bytes(edited(edit, decoded, random))
            made.append(LabelledQuery(path, frozenset(() if ids in outside else ids), edits=(edit.name,)))
        if progress:
            progress(number + 1, total)
    return Dataset(root.resolve().name, root, tuple(gallery), tuple(made))


def limited(dataset: Dataset, queries: int, seed: int = 0) -> Dataset:
    """Limit a dataset to a random sample of its queries, in their original order."""
    if len(dataset.queries) <= queries:
        return dataset
    chosen = sorted(Random(seed).sample(range(len(dataset.queries)), queries))
    return replace(dataset, queries=tuple(dataset.queries[number] for number in chosen))


def without(dataset: Dataset, ids: Collection[str]) -> Dataset:
    """Remove images from a dataset, with the queries that are one of them or lose all correct answers."""
    removed, paths = frozenset(ids), {dataset.root / image_id for image_id in ids}
    kept = [query for query in dataset.queries if query.path not in paths]
    return replace(
        dataset,
        images=tuple(image_id for image_id in dataset.images if image_id not in removed),
        queries=tuple(
            replace(query, positives=query.positives - removed)
            for query in kept
            if not query.positives or query.positives - removed
        ),
    )


def _image_ids(root: Path) -> tuple[str, ...]:
    """Ids of the images in a folder, as ``Collection.add`` assigns them; skips names that are not valid UTF-8."""
    if not root.is_dir():
        raise SourceError(f"{root} is not a folder" if root.exists() else f"folder not found: {root}")
    found = [item for item in discover([root]) if isinstance(item, SourceItem)]
    prefix = os.path.abspath(root)  # noqa: PTH100 - as in indexing
    return tuple(c.id for c in found if local_path(c.uri) == os.path.join(prefix, c.id))  # noqa: PTH118 - as above


def _by_content(root: Path, ids: Sequence[str]) -> list[tuple[str, ...]]:
    """Group the ids of files with the same bytes; reads only files of equal size."""
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
    """Decode the images, skipping unusable ones; empty if the first is unusable."""
    images: list[RgbImage] = []
    for path in paths:
        try:
            images.append(decode(path.read_bytes()).rgb)
        except (InputError, OSError):
            if not images:
                break
    return images
