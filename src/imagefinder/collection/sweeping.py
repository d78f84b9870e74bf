"""Sweeps of the objects of collections that keep features in an object store."""

from __future__ import annotations

from collections.abc import Callable

from imagefinder.core.contracts import Store
from imagefinder.core.errors import StoreError
from imagefinder.core.records import SweepReport
from imagefinder.core.store_parts import SupportsSweep


def sweep(store: Store, *, days: float, delete: bool, progress: Callable[[int, int], None]) -> SweepReport | None:
    """Sweep the objects of a store (``SupportsSweep.sweep``).

    Raises:
        StoreError: this kind of store has no objects.
    """
    if not isinstance(store, SupportsSweep):
        raise StoreError(
            f"the collection {store.info().location} has no objects to sweep",
            hint="only collections in a database with the setting objects have any",
        )
    return store.sweep(seconds=days * 86400, delete=delete, progress=progress)
