"""Fingerprints of extractors: features may be compared only if their fingerprints are equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Everything that the features of an extractor depend on.

    Attributes:
        method: Name of the method.
        version: Version of the extraction; raised whenever the same image would give different features.
        parameters: All parameters that affect the features; JSON values.
        weights: SHA-256 of the weight file, hexadecimal; empty for methods without weights.
    """

    method: str
    version: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""

    def to_json(self) -> str:
        """Canonical JSON text (sorted keys, no spaces): equal fingerprints give equal text."""
        return json.dumps(
            {
                "method": self.method,
                "version": self.version,
                "parameters": dict(self.parameters),
                "weights": self.weights,
            },
            sort_keys=True,
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
        """The fingerprint that ``to_json`` returned.

        Raises:
            ValueError: the text is not a fingerprint.
        """
        try:
            data = json.loads(text)
            made = cls(data["method"], data["version"], data["parameters"], data["weights"])
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not a fingerprint: {text[:100]}") from error
        kinds = {"method": str, "version": int, "parameters": dict, "weights": str}
        if not all(isinstance(getattr(made, name), kind) for name, kind in kinds.items()):
            raise ValueError(f"not a fingerprint: {text[:100]}")
        return made

    @property
    def digest(self) -> str:
        """The first 12 hexadecimal digits of the SHA-256 of the canonical text."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def difference(self, other: Fingerprint) -> str:
        """Every differing value as text, that of this fingerprint first; empty if they are equal."""
        parts = []
        for name in ("method", "version", "weights"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                parts.append(f"{name} {ours or 'none'} vs. {theirs or 'none'}")
        for key in sorted({*self.parameters, *other.parameters}):
            ours, theirs = self.parameters.get(key), other.parameters.get(key)
            if ours != theirs:
                parts.append(f"{key} {ours!r} vs. {theirs!r}")
        return "; ".join(parts)
