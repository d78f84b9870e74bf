"""The part of the client that lists images, and changes many of them at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from imagefinder.client.transport import (
    Page,
    Transport,
    collection_path,
    drop_none,
    explanations_path,
    with_id,
)
from imagefinder.core.answers import Image, ImagePage, SearchAnswer
from imagefinder.core.group_answers import ChangedImages, GroupPage, ImageGroup
from imagefinder.core.results import AUTO
from imagefinder.core.similarity import ImageLocation, SimilarImage, SimilarPage

DEFAULT = "default"
_PageT = TypeVar("_PageT", bound=Page)


class ClientListings:
    """Listings, groups and bulk changes; a base class of ``Client``."""

    _transport: Transport

    def images(  # wide: independent choices, which callers give by keyword
        self,
        collection: str = DEFAULT,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - the word users know
        contains: str | None = None,
        sort: Literal["id", "taken", "name", "size", "added", "folder"] = "id",
        descending: bool = False,
        page_size: int = 100,
        **selection: Any,
    ) -> Iterator[Image]:
        """The images of a collection, sorted; pages are requested as needed.

        Args:
            collection: Name of the collection.
            filter: Metadata filter; only matching images are returned.
            contains: Only images whose id or metadata contain this text.
            sort: Property to sort by; ``taken`` is the time of the file, or of adding, where no other is known.
            descending: Whether to reverse the order.
            page_size: Number of images per request.
            selection: Further conditions: ``folder`` and ``taken``, texts, and ``format``, ``camera``, ``place``,
                ``rating`` and ``tag``, each one value or a list.
        """
        options = {"sort": sort if sort != "id" else None, "descending": descending or None, **selection}
        options |= {"filter": json.dumps(filter) if filter else None, "contains": contains, "limit": page_size}
        for page in self._pages(ImagePage, f"{collection_path(collection)}/images", options):
            yield from page.images

    def groups(
        self,
        by: Literal["year", "month", "day", "folder", "format", "camera", "place", "rating", "tag"],
        collection: str = DEFAULT,
        **selection: Any,
    ) -> Iterator[ImageGroup]:
        """Numbers of images by a property, ordered by its value.

        Args:
            by: The property.
            collection: Name of the collection.
            selection: Conditions as for ``images``.
        """
        chosen = dict(selection)
        if chosen.get("filter") is not None:
            chosen["filter"] = json.dumps(chosen["filter"])
        for page in self._pages(GroupPage, f"{collection_path(collection)}/groups", {"by": by, **chosen}):
            yield from page.groups

    def delete_images(self, ids: Sequence[str], collection: str = DEFAULT, *, remember: bool = True) -> int:
        """Delete many images, as ``delete`` deletes one; returns how many existed.

        Args:
            ids: Ids of the images, at most 10,000.
            collection: Name of the collection.
            remember: Whether to record the removals, so that jobs do not add the images again.
        """
        body = {"ids": list(ids), "remember": remember}
        path = f"{collection_path(collection)}/removals"
        return self._transport.json(ChangedImages, "POST", path, json=body).images

    def tag(
        self, ids: Sequence[str], collection: str = DEFAULT, *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> int:
        """Add tags to many images and remove tags from them; returns how many images changed.

        Args:
            ids: Ids of the images, at most 10,000.
            collection: Name of the collection.
            add: Tags to add.
            remove: Tags to remove.
        """
        body = {"ids": list(ids), "add": list(add), "remove": list(remove)}
        path = f"{collection_path(collection)}/tags"
        return self._transport.json(ChangedImages, "POST", path, json=body).images

    def export(
        self,
        ids: Sequence[str],
        collection: str = DEFAULT,
        *,
        format: Literal["csv", "json"] = "csv",  # noqa: A002
    ) -> bytes:
        """A list of images with their metadata as a file.

        Args:
            ids: Ids of the images, at most 10,000.
            collection: Name of the collection.
            format: ``csv`` or ``json``.
        """
        body = {"ids": list(ids), "format": format}
        return self._transport.send("POST", f"{collection_path(collection)}/exports", json=body).content

    def location(self, image_id: str, collection: str = DEFAULT) -> str | None:
        """Path of the file of an image on the server; ``None`` if it was uploaded or downloaded.

        A server that other machines can reach does not show it, and the error is ``location_hidden``.
        """
        path = f"{collection_path(collection)}/location"
        return self._transport.json(ImageLocation, "GET", path, params=with_id(image_id)).path

    def similar(
        self, image_id: str, collection: str = DEFAULT, *, method: str = AUTO, page_size: int = 60
    ) -> Iterator[SimilarImage]:
        """The images most similar to a stored image, most similar first, without decisions.

        ``auto`` chooses a method with a vector for each image; a request lists ``page_size`` images.
        """
        options = with_id(image_id, method=method, limit=page_size)
        for page in self._pages(SimilarPage, f"{collection_path(collection)}/similar", options):
            yield from page.images

    def similar_to_query(
        self, answer: SearchAnswer | str, *, method: str = AUTO, page_size: int = 60
    ) -> Iterator[SimilarImage]:
        """The images most similar to the query of a recent search, as ``similar``.

        Args:
            answer: The answer of the search, or its handle.
            method: Name of a method, or ``auto``.
            page_size: Number of images per request.
        """
        options = {"method": method, "limit": page_size}
        for page in self._pages(SimilarPage, f"{explanations_path(answer)}/similar", options):
            yield from page.images

    def _pages(self, kind: type[_PageT], path: str, options: Mapping[str, Any]) -> Iterator[_PageT]:
        params = drop_none(options)
        while True:
            page = self._transport.json(kind, "GET", path, params=params)
            yield page
            if page.next_cursor is None:
                return
            params["cursor"] = page.next_cursor
