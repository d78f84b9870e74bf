"""Versions of derived data, shared by all stores."""

from __future__ import annotations

import hashlib

from imagefinder.core.records import DerivedData


def version_of(data: bytes) -> str:
    """The version of derived data: a hash of their content, so equal data have equal versions; 16 characters."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def may_replace(stored: DerivedData | None, replaces: str | None) -> bool:
    """Whether a write with this ``replaces`` (``StoreDerived.put_derived``) may replace the stored data."""
    return replaces is None or replaces == (stored.version if stored else "")
