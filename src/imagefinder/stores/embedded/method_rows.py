"""Read and write the table of methods: fingerprints, feature specs and counts."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from imagefinder.core.errors import MethodNotIndexedError
from imagefinder.core.features import FeatureSpec
from imagefinder.core.fingerprint import Fingerprint
from imagefinder.stores.embedded.connections import DamagedTextError


@dataclass(frozen=True, slots=True)
class MethodRow:
    """A registered method.

    Attributes:
        key: Primary key.
        fingerprint: Fingerprint of the stored features.
        spec: Kind, dimension and type of the stored features.
        images: Number of images with features.
        bytes: Total bytes of the features.
    """

    key: int
    fingerprint: Fingerprint
    spec: FeatureSpec
    images: int
    bytes: int


def read_methods(database: sqlite3.Connection) -> dict[str, MethodRow]:
    """All methods by name, sorted by name.

    Raises:
        DamagedTextError: a row contains no valid fingerprint or spec.
    """
    rows = database.execute(
        "SELECT name, key, fingerprint, kind, dim, dtype, images, bytes FROM methods ORDER BY name"
    )
    try:
        return {
            name: MethodRow(key, Fingerprint.from_json(fingerprint), _spec(kind, dim, dtype), images, size)
            for name, key, fingerprint, kind, dim, dtype, images, size in rows
        }
    except ValueError as error:
        raise DamagedTextError(str(error)) from error


def read_spec(database: sqlite3.Connection, name: str) -> tuple[int, FeatureSpec]:
    """Key and feature spec of a method.

    Raises:
        MethodNotIndexedError: the method is not registered; names those that are.
        DamagedTextError: the spec is not valid.
    """
    # Without the fingerprints: parsing them takes longer than reading the features of an image.
    rows = {row[0]: row[1:] for row in database.execute("SELECT name, key, kind, dim, dtype FROM methods")}
    if name not in rows:
        raise MethodNotIndexedError(name, rows)
    key, *spec = rows[name]
    try:
        return key, _spec(*spec)
    except ValueError as error:
        raise DamagedTextError(str(error)) from error


def write_method(database: sqlite3.Connection, fingerprint: Fingerprint, spec: FeatureSpec) -> None:
    """Insert a method, or update the fingerprint and spec of an existing one."""
    database.execute(
        "INSERT INTO methods (name, fingerprint, kind, dim, dtype) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint, kind = excluded.kind,"
        " dim = excluded.dim, dtype = excluded.dtype",
        (fingerprint.method, fingerprint.to_json(), spec.kind, spec.dim, spec.dtype),
    )


def _spec(kind: str, dim: int, dtype: str) -> FeatureSpec:
    if kind not in ("global", "local") or dtype not in ("float32", "uint8", "int8") or dim < 1:
        raise ValueError(f"invalid feature spec: {kind}, {dim}, {dtype}")
    return FeatureSpec(kind, dim, dtype)  # type: ignore[arg-type]  # checked just now
