"""Previews of stored images: where their pixels come from, and how they are rendered."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace

from imagefinder.core.addresses import is_web_address
from imagefinder.core.contracts import Store
from imagefinder.core.errors import ImageError, SourceError
from imagefinder.core.features import RgbImage
from imagefinder.core.pages import split_page
from imagefinder.core.previews import DEFAULT_SIZE, SIZES, KeptKind, Preview, PreviewSource, size_step
from imagefinder.core.records import ImageRecord
from imagefinder.core.settings import Settings
from imagefinder.images.decoding import rendering
from imagefinder.indexing.source_item import SourceItem, file_item, is_same_stamp, local_path
from imagefinder.runtime import Runtime

_WITH_FILE = ("file:", "archive:")

_PREVIEW_BYTES = 64 << 20
"""Limit for reading a kept preview; far above the size of any."""

CONTENT_GONE = "content_gone"
"""Reason for a thumbnail: the file is missing or has changed, or the image never had one."""


@dataclass(frozen=True, slots=True)
class PreviewPlan:
    """How to make a preview of one image; nothing has been read or downloaded yet.

    Attributes:
        record: The image.
        size: Length of the longer side, a step of ``SIZES``.
        tag: Identifies the preview of this content in this size: 64 hexadecimal digits.
        source: Where the pixels come from; ``thumbnail``: from nowhere else.
        is_current: Whether the source is known to have the content of the record, without reading it.
        url: The web address to download the content from; empty if that is not needed.
        reason: Why the source is the thumbnail.
        item: The file or the archive member.
    """

    record: ImageRecord
    size: int
    tag: str
    source: PreviewSource
    is_current: bool = False
    url: str = ""
    reason: str = ""
    item: SourceItem | None = None


class PreviewMaker:
    """Renders previews for one store, within the limits of the settings."""

    def __init__(self, store: Store, runtime: Runtime, settings: Settings) -> None:
        self._store = store
        self._runtime = runtime
        self._settings = settings

    def kept(self, data: bytes, uri: str, pixels: RgbImage | None) -> dict[KeptKind, bytes]:
        """A preview and, if set, the original, for a collection to keep of a new image that has no file.

        Args:
            data: The encoded image.
            uri: URI that it came from; may be empty.
            pixels: Its pixels in sRGB, which need not be decoded again; ``None`` if they are not known.
        """
        if uri.startswith(_WITH_FILE):
            return {}
        if pixels is None:
            rendered = self._runtime.decoder.render(data, side=DEFAULT_SIZE, **self._limits("original"))
        else:
            rendered = rendering.render_pixels(pixels, side=DEFAULT_SIZE)
        return {"preview": rendered.data, **({"original": data} if self._settings.keep_originals else {})}

    def plan(self, image_id: str, size: int) -> PreviewPlan:
        """Find out where the pixels of a preview come from.

        Args:
            image_id: The stored id.
            size: Wanted length of the longer side in pixels; the next step of ``SIZES`` is used.

        Raises:
            UnknownImageError: no image has this id.
        """
        record = self._store.get(image_id)
        step = min(size_step(size), size_step(max(record.width, record.height)))
        plan = PreviewPlan(record, step, _tag(record, step), "thumbnail", reason=CONTENT_GONE)
        if not record.sha256:
            return plan
        if record.uri.startswith(_WITH_FILE):
            item = self._item(record)
            if item is None:
                return plan
            return replace(
                plan, source="file", reason="", item=item, is_current=is_same_stamp(record.stamp, item.stamp)
            )
        return self._of_upload(plan)

    def _of_upload(self, plan: PreviewPlan) -> PreviewPlan:
        """The plan for an image without a file, which the collection may keep a preview or the original of."""
        record = plan.record
        kept = self._kinds(record.id)
        if "original" in kept:
            return replace(plan, source="original", reason="", is_current=True)
        is_enough = "preview" in kept and plan.size <= DEFAULT_SIZE
        if is_web_address(record.uri) and not is_enough:
            return replace(plan, source="address", reason="", url=record.uri)
        if "preview" in kept:
            return self._of_kept_preview(plan)
        return plan

    def _of_kept_preview(self, plan: PreviewPlan) -> PreviewPlan:
        step = min(plan.size, DEFAULT_SIZE)
        return replace(
            plan, size=step, tag=_tag(plan.record, step), source="preview", reason="", is_current=True, url=""
        )

    def render(self, plan: PreviewPlan, downloaded: bytes | None = None) -> Preview:
        """Render a preview; the thumbnail, with a reason, if its source cannot be used.

        Args:
            plan: The plan.
            downloaded: The content at ``plan.url``.

        Raises:
            CollectionCorruptError: the stored preview or thumbnail is damaged.
        """
        if plan.source == "thumbnail":
            return Preview(self._store.thumbnail(plan.record.id), "thumbnail", plan.reason)
        try:
            return self._rendered(plan, downloaded)
        except SourceError:
            return self.render(self.without_source(plan, CONTENT_GONE))
        except ImageError as error:
            return self.render(self.without_source(plan, error.code))

    def without_source(self, plan: PreviewPlan, reason: str) -> PreviewPlan:
        """The plan for an image whose source cannot be used: its kept preview, or its thumbnail.

        Args:
            plan: The plan.
            reason: Why it cannot be used: the code of an error.
        """
        record = plan.record
        if plan.source in ("address", "original") and "preview" in self._kinds(record.id):
            return self._of_kept_preview(plan)
        return replace(plan, source="thumbnail", reason=reason, is_current=False, url="", item=None)

    def _rendered(self, plan: PreviewPlan, downloaded: bytes | None) -> Preview:
        record, settings, source = plan.record, self._settings, plan.source
        if source == "preview":
            data = self._kept(record.id, "preview")
            if plan.size >= min(DEFAULT_SIZE, size_step(max(record.width, record.height))):
                return Preview(data, source)
        elif source == "original":
            data = self._kept(record.id, "original")
        elif plan.item is not None and plan.item.read is not None:
            data = plan.item.read(settings.max_local_bytes)
        elif downloaded is not None:
            data = downloaded
        else:
            raise SourceError(f"{plan.url} was not downloaded")
        if source != "preview" and hashlib.sha256(data).hexdigest() != record.sha256:
            raise SourceError(f"the content of {record.id!r} has changed")
        rendered = self._runtime.decoder.render(
            data, side=plan.size, page=split_page(record.uri)[1], **self._limits(source)
        )
        return Preview(rendered.data, source)

    def _limits(self, source: PreviewSource) -> dict[str, int]:
        settings = self._settings
        if source == "preview":
            return {"max_bytes": _PREVIEW_BYTES, "max_pixels": DEFAULT_SIZE**2}
        if source != "file":
            return {"max_bytes": settings.max_image_bytes, "max_pixels": settings.max_image_pixels}
        return {
            "max_bytes": settings.max_local_bytes,
            "max_pixels": max(settings.max_local_pixels, settings.max_image_pixels),
            "fit_in": settings.max_image_pixels,
        }

    def _kinds(self, image_id: str) -> frozenset[KeptKind]:
        return frozenset(self._store.kept_sizes([image_id]).get(image_id, {}))

    def _kept(self, image_id: str, kind: KeptKind) -> bytes:
        data = self._store.kept([image_id], kind).get(image_id)
        if data is None:
            raise SourceError(f"the {kind} of {image_id!r} is not in the collection any more")
        return data

    def _item(self, record: ImageRecord) -> SourceItem | None:
        """The file or archive member of an image as it is now; ``None`` if it is missing."""
        uri = split_page(record.uri)[0]
        if uri.startswith("archive:"):
            from imagefinder.indexing.archives import zip_member  # noqa: PLC0415 - searching does not need it

            return zip_member(uri, zip_encoding=self._settings.zip_encoding)
        path = local_path(uri)
        if path is None:
            return None
        try:
            return file_item(path, os.stat(path), record.id, record.source)  # noqa: PTH116 - names may be any bytes
        except (OSError, ValueError):
            return None


def all_tags(record: ImageRecord) -> list[str]:
    """The tags of all previews of an image."""
    return [_tag(record, size) for size in SIZES]


def _tag(record: ImageRecord, size: int) -> str:
    page = split_page(record.uri)[1]
    return hashlib.sha256(f"preview {rendering.VERSION} {record.sha256} {page} {size}".encode()).hexdigest()
